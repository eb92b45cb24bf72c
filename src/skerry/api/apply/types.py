"""What server-side apply knows of a kind: which lists have keys, what is taken as a whole. Pure.

`of(module, name)` makes it from the table of types; `structural(schema)` from the schema of a custom resource. Without
a schema everything is DEDUCED: maps field by field, lists as a whole.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from skerry.api.types import _build


@dataclass(slots=True, eq=False)
class Type:
    """How values at one place are merged and owned.

    `kind`: scalar; atomic (owned as a whole, of any form); struct (`fields` and, for other names, `inner`, if any);
    map (of `inner`); list (of `inner`, elements told apart by `keys`); set (of scalars); deduced.
    `accepts`: what a scalar may be: string, numeric, boolean, untyped. `defaults` of the keys.
    """

    kind: str
    accepts: str = "untyped"
    fields: dict[str, Type] = field(default_factory=dict)
    inner: Type | None = None
    keys: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)

    def at(self, name: str) -> Type | None:
        """The type of a field or of a map's value; None if there is no such field."""
        return self.fields.get(name, self.inner)


STRING = Type("scalar", "string")
NUMERIC = Type("scalar", "numeric")
BOOLEAN = Type("scalar", "boolean")
UNTYPED = Type("scalar")
ATOMIC_LIST = Type("atomic", "list")
ATOMIC_MAP = Type("atomic", "map")
DEDUCED = Type("deduced")
DEDUCED.inner = DEDUCED
_LISTS = {"map", "set"}
_SCALARS = {
    "str": STRING,
    "bytes": STRING,
    "Time": STRING,
    "MicroTime": STRING,
    "Duration": STRING,
    "bool": BOOLEAN,
    "int32": NUMERIC,
    "int64": NUMERIC,
    "float": NUMERIC,
    "Quantity": UNTYPED,
    "IntOrString": UNTYPED,
}
_ZERO = {"str": "", "int32": 0, "int64": 0, "bool": False}


@functools.cache
def of(module: str, name: str) -> Type:
    """The type of a struct of the table, by its module and name. KeyError if there is none."""
    content = _build.table()[module]
    if name in content.atomic:
        return ATOMIC_MAP
    return _fields(module, name)


@functools.cache
def _fields(module: str, name: str) -> Type:
    made = {one.json: _field(one) for one in _build.fields(module, name)}
    if name in _build.table()[module].kinds:
        made["apiVersion"] = made["kind"] = STRING
    return Type("struct", "map", made)


def _field(one: _build.Field) -> Type:
    entry = one.type.removeprefix("items:")
    if "a" in one.flags:
        return ATOMIC_LIST if entry.startswith("[]") else ATOMIC_MAP
    if "g" in one.flags and "." in entry and ":" not in entry:
        return _fields(*entry.split(".", 1))
    if not entry.startswith("[]"):
        return _entry(entry)
    keys = one.keys
    if not keys and "merge" in one.patch.split(","):
        words = [word for word in one.patch.split(",") if word not in ("merge", "replace", "retainKeys")]
        keys = words or ["set"]
    if not keys:
        return ATOMIC_LIST
    inner = entry[2:]
    if keys == ["set"]:
        return Type("set", "list", inner=_entry(inner))
    return Type("list", "list", inner=_entry(inner), keys=tuple(keys), defaults=_defaults(inner, keys))


def _defaults(entry: str, keys: list[str]) -> dict[str, Any]:
    """What the keys of a list's element are where it does not say."""
    out: dict[str, Any] = {}
    for one in _build.fields(*entry.split(".", 1)):
        if one.json not in keys:
            continue
        if one.default is not None:
            out[one.json] = one.default
        elif "p" not in one.flags and "o" not in one.flags and one.type in _ZERO:
            out[one.json] = _ZERO[one.type]
    return out


@functools.cache
def _entry(entry: str) -> Type:
    if entry in _SCALARS:
        return _SCALARS[entry]
    if entry.startswith("items:"):
        return _entry(entry[6:])
    if entry.startswith("[]"):
        return ATOMIC_LIST
    if entry.startswith("map:"):
        return Type("map", "map", inner=_entry(entry[4:]))
    if "." in entry:
        return of(*entry.split(".", 1))
    return DEDUCED  # Raw, JSONSchemaProps: free-form


def custom(schema: dict[str, Any] | None) -> Type:
    """The type of a custom resource whose structural schema (openAPIV3Schema as plain values) this is.

    Its metadata is that of every object. None: no schema.
    """
    found = structural(schema) if schema else Type("struct", "map", inner=DEDUCED)
    if found.kind != "struct":
        found = Type("struct", "map", inner=DEDUCED)
    fields = {**found.fields, "apiVersion": STRING, "kind": STRING, "metadata": of("meta", "ObjectMeta")}
    return Type("struct", "map", fields, found.inner)


def structural(schema: dict[str, Any]) -> Type:
    """The type that a structural schema describes; places of which it says nothing are DEDUCED."""
    if schema.get("x-kubernetes-int-or-string"):
        return UNTYPED
    match schema.get("type"):
        case "string":
            return STRING
        case "integer" | "number":
            return NUMERIC
        case "boolean":
            return BOOLEAN
        case "array":
            return _structural_list(schema)
        case "object":
            return _structural_map(schema)
    return DEDUCED


def _structural_list(schema: dict[str, Any]) -> Type:
    items = schema.get("items")
    kind = schema.get("x-kubernetes-list-type", "atomic")
    if kind not in _LISTS or not isinstance(items, dict):
        return ATOMIC_LIST
    if kind == "set":
        return Type("set", "list", inner=structural(items))
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    fields = items.get("properties") or {}
    defaults = {key: fields[key]["default"] for key in keys if "default" in fields.get(key, {})}
    return Type("list", "list", inner=structural(items), keys=keys, defaults=defaults)


def _structural_map(schema: dict[str, Any]) -> Type:
    if schema.get("x-kubernetes-map-type") == "atomic":
        return ATOMIC_MAP
    fields = {name: structural(one) for name, one in (schema.get("properties") or {}).items()}
    inner: Type | None = None
    if schema.get("x-kubernetes-embedded-resource"):
        fields |= {"apiVersion": STRING, "kind": STRING, "metadata": of("meta", "ObjectMeta")}
    values = schema.get("additionalProperties")
    if schema.get("x-kubernetes-preserve-unknown-fields") or values is True:
        inner = DEDUCED
    elif isinstance(values, dict):
        inner = structural(values)
    if not fields and inner is not None and inner is not DEDUCED:
        return Type("map", "map", inner=inner)
    return Type("struct", "map", fields, inner)
