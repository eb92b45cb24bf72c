"""What a body may hold: plain JSON checked against the table of types, before anything typed is made of it.

Called by the API server for every body and for the outcome of every patch. It says what upstream's decoder says:
the first wrong type refuses the body (TypeMismatch); unknown and duplicate fields are listed and left out, and the
server refuses or warns as the request's `fieldValidation` wants. Amounts and times come out in the form the API shows.

The checks of a struct are closures made from its row when it is first met, so a process that only sees Services
never builds those of a Pod.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from skerry.api import quantity
from skerry.api.types import _build

MAX_DEPTH = 250  # levels of nesting; the deepest field of any kind has about 20
_MAX_UNKNOWN = 100  # listed at most, as upstream

Run = Callable[[Any, str, list[str]], Any]


class TypeMismatch(ValueError):
    """A field has the wrong type, or a text that its type cannot read. `str()` is upstream's sentence."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A body's value, clean, and the paths of fields that no type knows (`spec.containers[0].imagee`)."""

    value: dict[str, Any]
    unknown: list[str]


class Wrong(Exception):
    """A wrong type, on its way up; each struct adds its name. `text` is set where Go's decoder adds no path."""

    def __init__(self, found: str, wanted: str, text: str = "") -> None:
        super().__init__(text)
        self.found, self.wanted, self.text = found, wanted, text
        self.struct, self.path = "", ""


def parse(data: bytes) -> Any:
    """JSON as plain values. ValueError if it is none, or nested deeper than MAX_DEPTH."""
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise ValueError("exceeded max depth") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        limit_depth(value)
    return value


def limit_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """ValueError if plain values are nested deeper than `limit`. Never recurses."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError("exceeded max depth")


def check(module: str, name: str, value: Any) -> Checked:
    """A body of the struct `name` of `module` (`core`, `Pod`): see the module's text.

    Nulls are left out except inside free-form fields. The value is new; the argument is not changed. TypeMismatch.
    """
    unknown: list[str] = []
    try:
        clean = _struct(module, name)(value, "", unknown)
    except Wrong as error:
        if error.text:
            raise TypeMismatch(error.text) from None
        where = f"struct field {error.struct}.{error.path}" if error.struct else "value"
        raise TypeMismatch(f"json: cannot unmarshal {error.found} into Go {where} of type {error.wanted}") from None
    return Checked(clean, list(dict.fromkeys(unknown))[:_MAX_UNKNOWN])


def _has_no_duplicates(data: bytes, value: Any) -> bool:
    """Whether a text surely has no key twice: then it has as many colons as what was read from it.

    Those inside strings are in both, unless one is written with an escape.
    """
    return b"\\u00" not in data and data.count(b":") == msgspec.json.encode(value).count(b":")


def duplicates(data: bytes, value: Any) -> list[str]:
    """Keys that a JSON text gives twice in one object: `duplicate field "spec.replicas"`; `value` is what it says."""
    if _has_no_duplicates(data, value):
        return []
    marked: dict[int, list[str]] = {}
    kept: list[Any] = []  # alive, so that no id is used twice

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            seen: set[str] = set()
            marked[id(made)] = [key for key, _ in found if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
            kept.append(made)
        return made

    try:
        whole = json.loads(data, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    if not marked:
        return []
    out: list[str] = []
    queue = [("", whole)]
    for path, one in queue:
        if isinstance(one, dict):
            prefix = f"{path}." if path else ""
            out += [f'duplicate field "{prefix}{key}"' for key in marked.get(id(one), ())]
            queue += [(prefix + key, inner) for key, inner in one.items() if isinstance(inner, dict | list)]
        elif isinstance(one, list):
            queue += [(f"{path}[{at}]", inner) for at, inner in enumerate(one) if isinstance(inner, dict | list)]
    return list(dict.fromkeys(out))[:_MAX_UNKNOWN]


# Scalars. Each takes (value, path, unknown) and returns the clean value.


def found_kind(value: Any) -> str:
    """What Go's decoder calls a JSON value of the wrong type."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"


def _exactly(kind: type[Any], wanted: str) -> Run:
    def run(value: Any, _at: str, _unknown: list[str]) -> Any:
        if type(value) is not kind:
            raise Wrong(found_kind(value), wanted)
        return value

    return run


def _integer(bits: int) -> Run:
    low, high, wanted = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, f"int{bits}"

    def run(value: Any, _at: str, _unknown: list[str]) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        raise Wrong(f"number {value}" if found_kind(value) == "number" else found_kind(value), wanted)

    return run


def _float(value: Any, _at: str, _unknown: list[str]) -> Any:
    if type(value) is not float and type(value) is not int:
        raise Wrong(found_kind(value), "float64")
    return value


def _int_or_string(value: Any, _at: str, _unknown: list[str]) -> Any:
    return value if type(value) is str else _INT32(value, _at, _unknown)


_INT32 = _integer(32)


def _quantity(value: Any, _at: str, _unknown: list[str]) -> Any:
    if type(value) not in (str, int, float):
        raise Wrong("", "", quantity.SAYS)
    try:
        return quantity.canonical(value if type(value) is str else _number_text(value))
    except ValueError as error:
        raise Wrong("", "", str(error)) from None


def _number_text(value: float) -> str:
    """1e+20 and 1e-07 are how Python writes floats; amounts want 1e20 and 1e-7, which mean the same."""
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].replace("+", ""), repr(value))


def _bytes(value: Any, _at: str, _unknown: list[str]) -> Any:
    if type(value) is not str:
        raise Wrong(found_kind(value), "[]uint8")
    text = value.replace("\n", "").replace("\r", "") if "\n" in value or "\r" in value else value
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        bad = re.search(r"[^A-Za-z0-9+/]", text)
        at = bad.start() if bad else len(text) // 4 * 4
        raise Wrong("", "", f"illegal base64 data at input byte {at}") from None
    return text


_TIME = re.compile(r"\d{4}-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _time(layout: str, micro: bool) -> Run:
    def run(value: Any, _at: str, _unknown: list[str]) -> Any:
        if type(value) is not str:
            raise Wrong(found_kind(value), "string")
        match = _TIME.fullmatch(value)
        if match is None or (micro and len(match[6] or "") != 6):
            raise Wrong("", "", f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"')
        try:
            moment = datetime.fromisoformat(value.replace(",", "."))
            if match[7] != "Z":
                moment = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Wrong("", "", f'parsing time "{value}": out of range') from None
        if micro:
            return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
        return value if match[7] == "Z" and not match[6] else moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")

    return run


_DURATION = re.compile(r"[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)


def _duration(value: Any, _at: str, _unknown: list[str]) -> Any:
    if type(value) is not str:
        raise Wrong(found_kind(value), "string")
    if _DURATION.fullmatch(value) is None:
        raise Wrong("", "", f'time: invalid duration "{value}"')
    return value


def _raw(value: Any, _at: str, _unknown: list[str]) -> Any:
    if type(value) is not dict:
        raise Wrong(found_kind(value), "map[string]interface {}")
    return value


_SCALARS: dict[str, Run] = {
    "str": _exactly(str, "string"),
    "bool": _exactly(bool, "bool"),
    "int32": _INT32,
    "int64": _integer(64),
    "float": _float,
    "bytes": _bytes,
    "Time": _time("2006-01-02T15:04:05Z07:00", micro=False),
    "MicroTime": _time("2006-01-02T15:04:05.000000Z07:00", micro=True),
    "Duration": _duration,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "Raw": _raw,
}
_GO = {
    "str": "string",
    "float": "float64",
    "bytes": "[]uint8",
    "Time": "v1.Time",
    "MicroTime": "v1.MicroTime",
    "Duration": "v1.Duration",
    "Quantity": "resource.Quantity",
    "IntOrString": "intstr.IntOrString",
    "Raw": "runtime.RawExtension",
    "JSONSchemaProps": "v1.JSONSchemaProps",
}
_ZEROS: dict[str, Any] = {"str": "", "bool": False, "Quantity": "0", "bytes": ""}
# Types for which being of this Python type is all there is to check: no call is made for them.
_PLAIN = {"str": str, "bool": bool}


def _go(entry: str) -> str:
    """A type as Go writes it: []v1.Container, map[string]string."""
    if entry.startswith("[]"):
        return "[]" + _go(entry[2:])
    if entry.startswith("map:"):
        return "map[string]" + _go(entry[4:])
    if entry.startswith("items:"):
        return _go(entry[6:])
    if "." in entry:
        return "v1." + entry.split(".", 1)[1]
    return _GO.get(entry, entry)


def _zero(entry: str) -> Any:
    """What a null inside a list or a map stands for."""
    if entry.startswith("[]"):
        return []
    if "." in entry or entry.startswith("map:"):
        return {}
    return _ZEROS.get(entry, 0)


@functools.cache
def entry_of(entry: str) -> Run:
    """The check of a type of the table."""
    if entry == "JSONSchemaProps":
        from skerry.api import schemaprops  # for CustomResourceDefinitions only

        return schemaprops.check
    if entry.startswith("items:"):
        return entry_of(entry[6:])
    if entry.startswith("[]"):
        return _list(entry)
    if entry.startswith("map:"):
        return _map(entry)
    if "." in entry:
        return _struct(*entry.split(".", 1))
    return _SCALARS[entry]


def _list(entry: str) -> Run:
    wanted, inner = _go(entry), entry[2:]
    run_one, zero, plain = entry_of(inner), _zero(inner), _PLAIN.get(inner)

    def run(value: Any, at: str, unknown: list[str]) -> Any:
        if type(value) is not list:
            raise Wrong(found_kind(value), wanted)
        if plain is not None:
            return [zero if one is None else one if type(one) is plain else run_one(one, at, unknown) for one in value]
        return [
            run_one(_zero(inner) if one is None else one, f"{at}[{index}]", unknown) for index, one in enumerate(value)
        ]

    return run


def _map(entry: str) -> Run:
    wanted, inner = _go(entry), entry[4:]
    run_one, plain = entry_of(inner), _PLAIN.get(inner)

    def run(value: Any, at: str, unknown: list[str]) -> Any:
        if type(value) is not dict:
            raise Wrong(found_kind(value), wanted)
        out = {}
        for key, one in value.items():
            if type(one) is plain:
                out[key] = one
            else:
                out[key] = run_one(_zero(inner) if one is None else one, f"{at}.{key}", unknown)
        return out

    return run


def _rows(module: str, name: str) -> dict[str, tuple[type[Any] | None, Run]]:
    """Of each field by its JSON name: the Python type that is always right, if any, and the check."""
    rows = {one.json: (_PLAIN.get(one.type), entry_of(one.type)) for one in _build.fields(module, name)}
    if name in _build.table()[module].kinds:
        rows["apiVersion"] = rows["kind"] = (str, _SCALARS["str"])
    return rows


@functools.cache
def _struct(module: str, name: str) -> Run:
    rows: dict[str, tuple[type[Any] | None, Run]] = {}
    wanted = f"v1.{name}"

    def run(value: Any, at: str, unknown: list[str]) -> Any:
        if not rows:
            rows.update(_rows(module, name))
        if type(value) is not dict:
            raise Wrong(found_kind(value), wanted)
        out = {}
        prefix = f"{at}." if at else ""
        key = ""
        try:
            for key, one in value.items():
                row = rows.get(key)
                if row is None:
                    unknown.append(prefix + key)
                elif type(one) is row[0]:
                    out[key] = one
                elif one is not None:
                    out[key] = row[1](one, prefix + key, unknown)
        except Wrong as error:
            error.struct = error.struct or name
            error.path = f"{key}.{error.path}" if error.path else key
            raise
        return out

    return run
