"""The bytes of protobuf messages: tags, numbers, lengths. Called by protobuf.py and openapi_v2pb.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned 64-bit number at `at`, and where the next thing starts. ValueError if it ends too early."""
    out = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("unexpected end of data")
        byte = data[at]
        out |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return out & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise ValueError("integer overflow")


def pairs(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and wire values of a message. ValueError if it ends too early or has a wire type nobody knows."""
    at, end = 0, len(data)
    while at < end:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == BYTES:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        elif wire == VARINT:
            value, at = varint(data, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"illegal wire type {wire} of field {number}")
        if at > end or number == 0:
            raise ValueError("unexpected end of data" if number else "illegal tag 0")
        yield number, value


def message(value: Any) -> memoryview:
    """A wire value that must have a length. ValueError if it is a number."""
    if not isinstance(value, memoryview):
        raise ValueError("wrong wire type: a message or text was expected")  # noqa: TRY004 - the sender's fault, not ours
    return value


def number(value: Any) -> int:
    """A wire value that must be a number. ValueError if it has a length."""
    if not isinstance(value, int):
        raise ValueError("wrong wire type: a number was expected")  # noqa: TRY004 - as above
    return value


def write_varint(value: int) -> bytes:
    """A number of up to 64 bits; negative ones take ten bytes."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sized(number: int, data: bytes) -> bytes:
    """A field that has a length: text, bytes or a message."""
    return write_varint(number << 3 | BYTES) + write_varint(len(data)) + data


def counted(number: int, value: int) -> bytes:
    """A field that is a number."""
    return write_varint(number << 3 | VARINT) + write_varint(value)
