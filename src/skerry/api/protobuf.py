"""Kubernetes' protobuf bodies to plain JSON values and back, driven by the table of types.

Called by the API server: kubectl create, controller-runtime and upstream's controllers send
`application/vnd.kubernetes.protobuf`. There is no generated code; the table has every field's number.

A body is four magic bytes and a runtime.Unknown { typeMeta 1 { apiVersion 1, kind 2 }, raw 2, contentEncoding 3,
contentType 4 }. Senders write the zero values of what is no pointer; those come out as absent, as JSON has them.
"""

from __future__ import annotations

import base64
import calendar
import functools
import struct
import time
from collections.abc import Callable
from typing import Any

from skerry.api import protowire
from skerry.api.types import _build

MAGIC = b"k8s\x00"
_ABSENT: Any = object()  # what a zero value decodes to where a field is no pointer

# Each reads a wire value (int, or memoryview for what has a length) into a JSON value.
Read = Callable[[Any], Any]
Write = Callable[[Any], bytes]


def decode(body: bytes) -> tuple[str, str, dict[str, Any]]:
    """apiVersion, kind and the plain JSON value (which has both as well) of a body. ValueError if it is malformed."""
    if not body.startswith(MAGIC):
        raise ValueError("provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00")
    version = kind = ""
    raw: memoryview = memoryview(b"")
    for number, value in protowire.pairs(memoryview(body)[len(MAGIC) :]):
        if number == 1:
            for inner, text in protowire.pairs(protowire.message(value)):
                if inner == 1:
                    version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2:
            raw = protowire.message(value)
        elif number == 3 and len(protowire.message(value)):
            raise ValueError(f"unsupported content encoding {_text(value)!r}")
    module = _module(version, kind)
    if module is None:
        raise ValueError(f'no kind "{kind}" is registered for version "{version}"')
    return version, kind, {"kind": kind, "apiVersion": version, **_struct(module, kind)(raw)}


def encode(module: str, name: str, value: dict[str, Any]) -> bytes:
    """The body for a plain JSON value of a kind. ValueError or TypeError if the value does not fit the table."""
    content = _build.table()[module]
    own = f"{content.group}/{content.version}" if content.group else content.version
    sized = protowire.sized
    meta = sized(1, str(value.get("apiVersion") or own).encode()) + sized(2, str(value.get("kind") or name).encode())
    raw = _write_struct(module, name)(value)
    return MAGIC + sized(1, meta) + sized(2, raw) + sized(3, b"") + sized(4, b"")


def _module(version: str, kind: str) -> str | None:
    """The module that holds a kind. Options of requests are known in every group."""
    for name, content in _build.table().items():
        own = f"{content.group}/{content.version}" if content.group else content.version
        if kind in content.kinds and (own == version or name == "meta"):
            return name
    return None


# Scalars.


def _text(value: Any) -> str:
    return str(protowire.message(value), "utf-8")  # UnicodeDecodeError is a ValueError


def _signed(value: Any) -> int:
    found = protowire.number(value)
    return found - (1 << 64) if found >> 63 else found


def _int32(value: Any) -> int:
    found = protowire.number(value) & 0xFFFFFFFF
    return found - (1 << 32) if found >> 31 else found


def _double(value: Any) -> float:
    if len(protowire.message(value)) != 8:
        raise ValueError("wrong wire type: a double was expected")
    found: float = struct.unpack("<d", value)[0]
    return found


def _timestamp(value: Any) -> tuple[int, int] | None:
    """Seconds and nanoseconds; None if nothing is written, which is the zero time."""
    data = protowire.message(value)
    if not len(data):
        return None
    seconds = nanos = 0
    for number, inner in protowire.pairs(data):
        if number == 1:
            seconds = _signed(inner)
        elif number == 2:
            nanos = _int32(inner)
    if not -62135596800 <= seconds <= 253402300799 or not 0 <= nanos < 10**9:
        raise ValueError("a time is out of range")
    return seconds, nanos


def _moment(seconds: int) -> str:
    found = time.gmtime(seconds)
    return f"{found.tm_year:04}-" + time.strftime("%m-%dT%H:%M:%S", found)


def _time(value: Any) -> Any:
    found = _timestamp(value)
    return None if found is None else _moment(found[0]) + "Z"


def _micro_time(value: Any) -> Any:
    found = _timestamp(value)
    return None if found is None else f"{_moment(found[0])}.{found[1] // 1000:06}Z"


def _write_time(value: str) -> bytes:
    whole, _, fraction = value.removesuffix("Z").partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return protowire.counted(1, seconds) + protowire.counted(2, int(fraction.ljust(9, "0")) if fraction else 0)


def _only(number: int) -> Callable[[Any], memoryview]:
    """Of a message with one field, that field's bytes."""

    def read(value: Any) -> memoryview:
        out = memoryview(b"")
        for found, inner in protowire.pairs(protowire.message(value)):
            if found == number:
                out = protowire.message(inner)
        return out

    return read


_first = _only(1)


def _int_or_string(value: Any) -> Any:
    kind, number, text = 0, 0, ""
    for field, inner in protowire.pairs(protowire.message(value)):
        if field == 1:
            kind = _signed(inner)
        elif field == 2:
            number = _int32(inner)
        elif field == 3:
            text = _text(inner)
    return text if kind else number


def _write_int_or_string(value: int | str) -> bytes:
    kind, number, text = (1, 0, value) if isinstance(value, str) else (0, value, "")
    return protowire.counted(1, kind) + protowire.counted(2, number) + protowire.sized(3, text.encode())


def _raw(value: Any) -> Any:
    from skerry.api import schema  # it knows the limits of free-form JSON

    data = bytes(_first(value))
    return schema.parse(data) if data else None


def _write_raw(value: Any) -> bytes:
    from skerry.api import codec

    return protowire.sized(1, codec.encode(value))


def _schema(_: Any) -> Any:
    raise ValueError("a schema is read as JSON or YAML only")


_READ: dict[str, Read] = {
    "str": _text,
    "bool": lambda value: protowire.number(value) != 0,
    "int32": _int32,
    "int64": _signed,
    "float": _double,
    "bytes": lambda value: base64.b64encode(protowire.message(value)).decode(),
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": lambda value: str(_first(value), "utf-8"),
    "IntOrString": _int_or_string,
    "Raw": _raw,
    "JSONSchemaProps": _schema,
}
_WRITE: dict[str, Write] = {
    "str": str.encode,
    "bytes": base64.b64decode,
    "Time": _write_time,
    "MicroTime": _write_time,
    "Quantity": lambda value: protowire.sized(1, value.encode()),
    "IntOrString": _write_int_or_string,
    "Raw": _write_raw,
}


def _zero(entry: str) -> Any:
    """What an absent element of a list or map stands for."""
    if "." in entry or entry.startswith("map:"):
        return {}
    if entry.startswith(("[]", "items:")):
        return []
    return {"bool": False, "int32": 0, "int64": 0, "float": 0.0, "IntOrString": 0}.get(entry, "")


# Reading structs.


def _reader(entry: str) -> Read:
    """How one value of a type of the table is read."""
    if entry.startswith("items:"):
        inner = _reader(entry[8:])  # items:[]str: a message whose field 1 repeats
        return lambda value: [inner(one) for number, one in protowire.pairs(protowire.message(value)) if number == 1]
    if "." in entry:
        return _struct(*entry.split(".", 1))
    return _READ[entry]


def _entry_reader(entry: str) -> Callable[[Any], tuple[str, Any]]:
    """How one entry of a map is read."""
    read, zero = _reader(entry), _zero(entry)

    def run(value: Any) -> tuple[str, Any]:
        key, out = "", zero
        for number, inner in protowire.pairs(protowire.message(value)):
            if number == 1:
                key = _text(inner)
            elif number == 2:
                out = read(inner)
        return key, out

    return run


def _add_list(name: str, entry: str) -> Callable[[dict[str, Any], Any], None]:
    read = _reader(entry)
    packs = entry in ("int32", "int64", "bool")

    def add(out: dict[str, Any], value: Any) -> None:
        into = out.setdefault(name, [])
        if packs and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                number, at = protowire.varint(value, at)
                into.append(read(number))
        else:
            into.append(read(value))

    return add


def _add_map(name: str, entry: str) -> Callable[[dict[str, Any], Any], None]:
    read = _entry_reader(entry)

    def add(out: dict[str, Any], value: Any) -> None:
        key, found = read(value)
        out.setdefault(name, {})[key] = found

    return add


def _add_one(name: str, entry: str, pointer: bool) -> Callable[[dict[str, Any], Any], None]:
    read = _reader(entry)

    def add(out: dict[str, Any], value: Any) -> None:
        found = read(value)
        if found or (pointer and found is not None):
            out[name] = found
        else:
            out.pop(name, None)

    return add


def _add_inlined(entry: str) -> Callable[[dict[str, Any], Any], None]:
    read = _reader(entry)

    def add(out: dict[str, Any], value: Any) -> None:
        out.update(read(value))

    return add


def _adder(one: _build.Field) -> Callable[[dict[str, Any], Any], None]:
    if "i" in one.flags:
        return _add_inlined(one.type)
    if one.type.startswith("[]"):
        return _add_list(one.json, one.type[2:])
    if one.type.startswith("map:"):
        return _add_map(one.json, one.type[4:])
    return _add_one(one.json, one.type, "p" in one.flags)


@functools.cache
def _struct(module: str, name: str) -> Read:
    rows: dict[int, Callable[[dict[str, Any], Any], None]] = {}

    def run(value: Any) -> dict[str, Any]:
        if not rows:
            rows.update((one.number, _adder(one)) for one in _build.table()[module].structs[name])
        out: dict[str, Any] = {}
        for number, inner in protowire.pairs(protowire.message(value)):
            add = rows.get(number)
            if add is not None:
                add(out, inner)
        return out

    return run


# Writing structs.


def _writer(entry: str) -> Callable[[int, Any], bytes]:
    """How one value of a type of the table is written, with its tag."""
    if entry in ("bool", "int32", "int64"):
        return lambda number, value: protowire.counted(number, int(value))
    if entry == "float":
        return lambda number, value: protowire.write_varint(number << 3 | protowire.FIXED64) + struct.pack("<d", value)
    if entry.startswith("[]"):
        inner = _writer(entry[2:])
        return lambda number, value: b"".join(inner(number, one) for one in value)
    if entry.startswith("map:"):
        of = _writer(entry[4:])
        return lambda number, value: b"".join(
            protowire.sized(number, protowire.sized(1, key.encode()) + of(2, one)) for key, one in sorted(value.items())
        )
    if entry.startswith("items:"):
        within = _writer(entry[6:])
        return lambda number, value: protowire.sized(number, within(1, value))
    make = _write_struct(*entry.split(".", 1)) if "." in entry else _WRITE[entry]
    return lambda number, value: protowire.sized(number, make(value))


@functools.cache
def _write_struct(module: str, name: str) -> Write:
    rows: list[tuple[_build.Field, Callable[[int, Any], bytes]]] = []

    def run(value: dict[str, Any]) -> bytes:
        if not rows:
            rows.extend((one, _writer(one.type)) for one in _build.table()[module].structs[name])
        out = []
        for one, write in rows:
            if "i" in one.flags:
                out.append(write(one.number, value))
            elif value.get(one.json) is not None:
                out.append(write(one.number, value[one.json]))
        return b"".join(out)

    return run
