"""An OpenAPI version 2 document as protobuf, the only form in which kubectl reads it. Called by openapi.py.

kubectl needs it to check a body of kind `List` before it sends the items. The field numbers are those of the message
types that clients know as openapi.v2; only what openapi.py writes is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

_JSON = msgspec.json.Encoder()


def document(value: dict[str, Any]) -> bytes:
    """The bytes of a document as openapi.v2_document makes it."""
    info = _text(1, value["info"]["title"]) + _text(2, value["info"]["version"])
    paths = b"".join(_part(2, _named(path, _path(one))) for path, one in value["paths"].items())
    return _text(1, value["swagger"]) + _part(2, info) + _part(8, paths) + _part(9, _schemas(value["definitions"]))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _part(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, value: str) -> bytes:
    return _part(number, value.encode()) if value else b""


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_part(number, one.encode()) for one in values)


def _true(number: int, value: bool) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _named(name: str, data: bytes) -> bytes:
    return _text(1, name) + _part(2, data)


def _extensions(number: int, value: dict[str, Any]) -> bytes:
    """What starts with x-: its value as YAML, of which JSON is a part."""
    return b"".join(
        _part(number, _named(key, _part(2, _JSON.encode(one)))) for key, one in value.items() if key.startswith("x-")
    )


def _schemas(values: dict[str, Any]) -> bytes:
    return b"".join(_part(1, _named(name, _schema(one))) for name, one in values.items())


def _schema(value: dict[str, Any]) -> bytes:
    out = _text(1, value.get("$ref", "")) + _text(2, value.get("format", "")) + _texts(19, value.get("required", ()))
    if "additionalProperties" in value:
        out += _part(21, _part(1, _schema(value["additionalProperties"])))
    if "type" in value:
        out += _part(22, _text(1, value["type"]))
    if "items" in value:
        out += _part(23, _part(1, _schema(value["items"])))
    if "properties" in value:
        out += _part(25, _schemas(value["properties"]))
    return out + _extensions(31, value)


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path(value: dict[str, Any]) -> bytes:
    out = b"".join(_part(_METHODS[key], _operation(one)) for key, one in value.items() if key in _METHODS)
    return out + b"".join(_part(9, _parameter(one)) for one in value.get("parameters", ()))


def _operation(value: dict[str, Any]) -> bytes:
    responses = b"".join(
        _part(1, _named(code, _part(1, _text(1, one["description"]) + _part(2, _part(1, _schema(one["schema"]))))))
        for code, one in value["responses"].items()
    )
    return b"".join(
        (
            _texts(1, value["tags"]),
            _text(5, value["operationId"]),
            _texts(6, value["produces"]),
            _texts(7, value["consumes"]),
            *(_part(8, _parameter(one)) for one in value["parameters"]),
            _part(9, responses),
            _extensions(13, value),
        )
    )


def _parameter(value: dict[str, Any]) -> bytes:
    """A ParametersItem: in a body, in the query or in the path."""
    if value["in"] == "body":
        made = _text(2, value["name"]) + _text(3, "body") + _true(4, value["required"])
        return _part(1, _part(1, made + _part(5, _schema(value["schema"]))))
    made = _true(1, value.get("required", False)) + _text(2, value["in"])
    if value["in"] == "query":
        made += _text(4, value["name"]) + _text(6, value["type"]) + _true(20, True)
        return _part(1, _part(2, _part(3, made)))
    made += _text(4, value["name"]) + _text(5, value["type"]) + _true(19, True)
    return _part(1, _part(2, _part(4, made)))
