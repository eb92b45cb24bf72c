"""Objects to JSON bytes and back. Called by whoever stores, sends or receives an object."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from skerry.api.rawfields import packed
from skerry.api.types._build import understood
from skerry.api.unstructured import Unstructured

T = TypeVar("T")


def _fields(value: Any) -> Any:
    """What msgspec asks for values that it does not know."""
    if isinstance(value, Unstructured):
        return value.fields()
    if isinstance(value, msgspec.Raw):
        return _plain.decode(value)
    raise NotImplementedError(type(value))


_encoder = msgspec.json.Encoder(enc_hook=_fields)
_plain = msgspec.json.Decoder()


_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    found = _decoders.get(kind)
    if found is None:
        found = _decoders[kind] = msgspec.json.Decoder(understood(kind))
    return found


def encode(value: Any) -> bytes:
    """JSON of a Struct or of plain values, zero values left out as the API leaves them out."""
    return _encoder.encode(value)


def decode(kind: type[T], data: bytes) -> T:
    """A typed object from JSON. msgspec.ValidationError if a field has the wrong type; unknown fields are dropped."""
    if issubclass(kind, Unstructured):
        return kind.of(_plain.decode(data))
    return _decoder(kind).decode(data)


def parse(data: bytes | str) -> Any:
    """JSON as plain values. msgspec.DecodeError if it is none."""
    return _plain.decode(data)


def plain(value: Any) -> Any:
    """A Struct as plain values (dicts, lists, strings, numbers), as its JSON would say."""
    return msgspec.to_builtins(value, enc_hook=_fields)


def convert(kind: type[T], value: Any) -> T:
    """A typed object from plain values. msgspec.ValidationError if a field has the wrong type."""
    if issubclass(kind, Unstructured):
        return kind.of(value)
    return msgspec.convert(packed(value), understood(kind))


def copy(value: T) -> T:
    """A deep copy of an object."""
    return decode(type(value), _encoder.encode(value))


def replace(value: T, **changes: Any) -> T:
    """A shallow copy of an object with some attributes changed."""
    if isinstance(value, Unstructured):
        metadata, content = changes.get("metadata", value.metadata), changes.get("content", value.content)
        return type(value)(metadata, content)
    made: T = msgspec.structs.replace(value, **changes)  # type: ignore[type-var]
    return made
