"""Builds msgspec Structs from the table, on demand. Called by the modules beside it and by api.schema.

Zero values are Go's, because that is what the wire knows: a scalar that is no pointer is never None; a struct that is
no pointer is always there and is written as `{}`; an empty list or map is left out unless the field says otherwise.
"""

from __future__ import annotations

import functools
import keyword
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from skerry.api.rawfields import UNMANAGED

T = TypeVar("T")
_SCALARS: dict[str, tuple[Any, Any]] = {
    "str": (str, ""),
    "bool": (bool, False),
    "int32": (int, 0),
    "int64": (int, 0),
    "float": (float, 0.0),
    "bytes": (str, ""),
    "Time": (str, ""),
    "MicroTime": (str, ""),
    "Duration": (str, ""),
    "Quantity": (str, ""),
    "IntOrString": (int | str, 0),
    "Raw": (dict[str, Any], None),
    "JSONSchemaProps": (dict[str, Any], None),
}


class Field(msgspec.Struct, array_like=True, frozen=True):
    """One row of the table. `flags`: p pointer, o left out when empty, r required, i inlined; a taken as a whole by
    server-side apply, g field by field though its struct is taken as a whole.

    `keys` of a list: those that tell its elements apart, or ["set"]; `default` is that of a field that is such a key.
    """

    json: str
    type: str
    number: int
    flags: str
    patch: str
    keys: list[str]
    default: str | None = None


class Module(msgspec.Struct, frozen=True):
    """All structs of one API group and version."""

    group: str
    version: str
    definitions: str
    kinds: list[str]
    atomic: list[str]
    structs: dict[str, list[Field]]


_building = threading.RLock()
_understood: set[type[Any]] = set()


def understood(kind: type[T]) -> type[T]:
    """The type, once msgspec knows how to read it.

    It works that out when it is first asked, and a process whose threads ask at once may end by a signal.
    """
    if kind not in _understood:
        with _building:
            msgspec.json.Decoder(kind)
            _understood.add(kind)
    return kind


def table() -> dict[str, Module]:
    """The whole table, by module name."""
    with _building:
        return _table()


@functools.cache
def _table() -> dict[str, Module]:
    return msgspec.json.decode((Path(__file__).parent / "table.json").read_bytes(), type=dict[str, Module])


def snake(name: str) -> str:
    """The attribute for a JSON name, as the official Python client has it: clusterIPs -> cluster_i_ps."""
    out = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name.replace("$", "_").replace("-", "_"))
    out = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", out).lower()
    return out + "_" if keyword.iskeyword(out) else out


@functools.cache
def fields(module: str, name: str) -> tuple[Field, ...]:
    """The fields of a struct as JSON has them, inlined structs opened up."""
    out: list[Field] = []
    for one in table()[module].structs[name]:
        if "i" in one.flags:
            out += fields(*one.type.split(".", 1))
        else:
            out.append(one)
    return tuple(out)


def _empty_list() -> list[Any]:
    return []


def _empty_map() -> dict[str, Any]:
    return {}


def _constant(value: Any) -> Callable[[], Any]:
    """A factory: msgspec never leaves out what a factory made, so the field is written even when empty."""
    return lambda: value


def _annotation(entry: str) -> tuple[Any, Any]:
    """The Python type of a table entry and its zero value (None: a struct, made by its class)."""
    if entry.startswith("[]"):
        return list[_annotation(entry[2:])[0]], list  # type: ignore[misc]
    if entry.startswith("map:"):
        return dict[str, _annotation(entry[4:])[0]], dict  # type: ignore[misc]
    if entry.startswith("items:"):
        return _annotation(entry[6:])
    if "." in entry:
        return build(*entry.split(".", 1)), None
    return _SCALARS[entry]


def build(module: str, name: str) -> type[msgspec.Struct]:
    """The Struct class of a row, the same one for all threads. KeyError if the table has none."""
    with _building:
        return _build(module, name)


@functools.cache
def _build(module: str, name: str) -> type[msgspec.Struct]:
    content = table()[module]
    made: list[tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    if name in content.kinds:
        version = f"{content.group}/{content.version}" if content.group else content.version
        made += [("kind", str, msgspec.field(default_factory=lambda: name))]
        made += [("api_version", str, msgspec.field(default_factory=lambda: version))]
        rename["api_version"] = "apiVersion"
    for one in fields(module, name):
        kind, zero = _annotation(one.type)
        attribute = snake(one.json)
        rename[attribute] = one.json
        default: Any
        if one.json == "managedFields":
            kind, default = msgspec.Raw, UNMANAGED
        elif "p" in one.flags:
            kind, default = kind | None, None
        elif zero is None:
            default = msgspec.field(default_factory=kind)
        elif zero is list or zero is dict:
            kept = _empty_list if zero is list else _empty_map
            default = msgspec.field(default_factory=zero if "o" in one.flags else kept)
        elif "o" in one.flags:
            default = zero
        else:
            default = msgspec.field(default_factory=_constant(zero))
        made.append((attribute, kind, default))
    return msgspec.defstruct(
        name,
        made,
        kw_only=True,
        omit_defaults=True,
        rename=rename,
        module=f"skerry.api.types.{module}",
        weakref=name in content.kinds,  # for apiserver/known.py; what can be referred to so must be collectable
        # Objects are trees: the collector would find nothing, and a list of a thousand would wake it.
        gc=name in content.kinds,
    )


def lazy(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a module of types."""

    def get(name: str) -> Any:
        if name.startswith("__") or name not in table()[module].structs:
            raise AttributeError(f"module 'skerry.api.types.{module}' has no attribute {name!r}")
        made = build(module, name)
        setattr(sys.modules[f"skerry.api.types.{module}"], name, made)
        return made

    return get, lambda: list(table()[module].structs)
