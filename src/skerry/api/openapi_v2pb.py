"""An OpenAPI version 2 document as protobuf, the only form in which kubectl reads it. Called by openapi.py.

kubectl needs it to check a body of kind `List` before it sends the items. The field numbers are those of the message
types that clients know as openapi.v2; only what openapi.py writes is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from skerry.api.protowire import counted, sized

_JSON = msgspec.json.Encoder()


def document(value: dict[str, Any]) -> bytes:
    """The bytes of a document as openapi.v2_document makes it."""
    info = _text(1, value["info"]["title"]) + _text(2, value["info"]["version"])
    paths = b"".join(sized(2, _named(path, _path(one))) for path, one in value["paths"].items())
    return _text(1, value["swagger"]) + sized(2, info) + sized(8, paths) + sized(9, _schemas(value["definitions"]))


def _text(number: int, value: str) -> bytes:
    return sized(number, value.encode()) if value else b""


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(sized(number, one.encode()) for one in values)


def _true(number: int, value: bool) -> bytes:
    return counted(number, 1) if value else b""


def _named(name: str, data: bytes) -> bytes:
    return _text(1, name) + sized(2, data)


def _extensions(number: int, value: dict[str, Any]) -> bytes:
    """What starts with x-: its value as YAML, of which JSON is a part."""
    return b"".join(
        sized(number, _named(key, sized(2, _JSON.encode(one)))) for key, one in value.items() if key.startswith("x-")
    )


def _schemas(values: dict[str, Any]) -> bytes:
    return b"".join(sized(1, _named(name, _schema(one))) for name, one in values.items())


def _schema(value: dict[str, Any]) -> bytes:
    out = _text(1, value.get("$ref", "")) + _text(2, value.get("format", "")) + _texts(19, value.get("required", ()))
    if "additionalProperties" in value:
        out += sized(21, sized(1, _schema(value["additionalProperties"])))
    if "type" in value:
        out += sized(22, _text(1, value["type"]))
    if "items" in value:
        out += sized(23, sized(1, _schema(value["items"])))
    if "properties" in value:
        out += sized(25, _schemas(value["properties"]))
    return out + _extensions(31, value)


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path(value: dict[str, Any]) -> bytes:
    out = b"".join(sized(_METHODS[key], _operation(one)) for key, one in value.items() if key in _METHODS)
    return out + b"".join(sized(9, _parameter(one)) for one in value.get("parameters", ()))


def _operation(value: dict[str, Any]) -> bytes:
    responses = b"".join(
        sized(1, _named(code, sized(1, _text(1, one["description"]) + sized(2, sized(1, _schema(one["schema"]))))))
        for code, one in value["responses"].items()
    )
    return b"".join(
        (
            _texts(1, value["tags"]),
            _text(5, value["operationId"]),
            _texts(6, value["produces"]),
            _texts(7, value["consumes"]),
            *(sized(8, _parameter(one)) for one in value["parameters"]),
            sized(9, responses),
            _extensions(13, value),
        )
    )


def _parameter(value: dict[str, Any]) -> bytes:
    """A ParametersItem: in a body, in the query or in the path."""
    if value["in"] == "body":
        made = _text(2, value["name"]) + _text(3, "body") + _true(4, value["required"])
        return sized(1, sized(1, made + sized(5, _schema(value["schema"]))))
    made = _true(1, value.get("required", False)) + _text(2, value["in"])
    if value["in"] == "query":
        made += _text(4, value["name"]) + _text(6, value["type"]) + _true(20, True)
        return sized(1, sized(2, sized(3, made)))
    made += _text(4, value["name"]) + _text(5, value["type"]) + _true(19, True)
    return sized(1, sized(2, sized(4, made)))
