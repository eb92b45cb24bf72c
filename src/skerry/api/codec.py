"""Objects to JSON bytes and back. Called by whoever stores, sends or receives an object."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_plain = msgspec.json.Decoder()


_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}
# msgspec works out how to read a Struct when it is first asked to, and must not be asked by two threads at once.
_first_use = threading.Lock()


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    found = _decoders.get(kind)
    if found is None:
        with _first_use:
            found = _decoders[kind] = msgspec.json.Decoder(kind)
    return found


def encode(value: Any) -> bytes:
    """JSON of a Struct or of plain values, zero values left out as the API leaves them out."""
    return _encoder.encode(value)


def decode(kind: type[T], data: bytes) -> T:
    """A typed object from JSON. msgspec.ValidationError if a field has the wrong type; unknown fields are dropped."""
    return _decoder(kind).decode(data)


def parse(data: bytes | str) -> Any:
    """JSON as plain values. msgspec.DecodeError if it is none."""
    return _plain.decode(data)


def plain(value: Any) -> Any:
    """A Struct as plain values (dicts, lists, strings, numbers), as its JSON would say."""
    return msgspec.to_builtins(value)


def convert(kind: type[T], value: Any) -> T:
    """A typed object from plain values. msgspec.ValidationError if a field has the wrong type."""
    _decoder(kind)
    return msgspec.convert(value, kind)


def copy(value: T) -> T:
    """A deep copy of a Struct."""
    return _decoder(type(value)).decode(_encoder.encode(value))
