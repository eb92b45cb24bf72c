"""nf_tables sets and maps: their definition, and their elements as bytes and back.

Called by whoever keeps sets (proxy/nftables). Keys and data are bytes in the kernel's layout: every field of a
concatenation padded to four bytes, addresses and ports big-endian, marks host-endian (any number of the host's byte
order can be kept as a `mark`, which makes the nft program print it).
"""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from skerry.netlink import nft_expr
from skerry.netlink.nft import DELETE_ELEMENT, GET_ELEMENT, NEW_ELEMENT, NEW_SET, Nft, Request, counter_of, udata
from skerry.netlink.wire import CREATE, NetlinkError, attribute, attributes, be32, be64, nested, string, table

ASKED_AT_ONCE = 250
"""Elements that are asked for at once: the answers wait in a socket buffer that an ordinary user cannot make bigger."""

ELEMENTS_MAX = 60_000
"""Bytes of one element list: its length has 16 bits."""


class Type(IntEnum):
    """Data types as the nft program numbers them; it keeps them with a set so that it can print the elements."""

    IPV4 = 7
    IPV6 = 8
    PROTOCOL = 12
    SERVICE = 13
    MARK = 19


_LENGTH = {Type.IPV4: 4, Type.IPV6: 16, Type.PROTOCOL: 1, Type.SERVICE: 2, Type.MARK: 4}
_HOST, _BIG = 1, 2
_INTERVAL_FLAG, _MAP_FLAG, _TIMEOUT_FLAG, _DYNAMIC_FLAG, _CONCAT_FLAG = 0x4, 0x8, 0x10, 0x20, 0x80
_VERDICT_TYPE = 0xFFFFFF00
_LIST_NESTED = 0x8000


@dataclass(frozen=True, slots=True)
class Set:
    """A set's definition. A map has `data` or `verdicts`; `counters` gives each element a counter of its own.

    `ranges`: elements are ranges of a concatenation's keys. `learns`: how many elements packets may add, 0 if only we
    add any. Those go by themselves when their time is over, if they are `passing`.
    """

    name: str
    key: tuple[Type, ...]
    data: tuple[Type, ...] = ()
    verdicts: bool = False
    counters: bool = False
    ranges: bool = False
    learns: int = 0
    passing: bool = False
    comment: str = ""

    @property
    def flags(self) -> int:
        """As the kernel has them."""
        found = _MAP_FLAG if self.data or self.verdicts else 0
        if self.ranges:
            found |= _INTERVAL_FLAG | _CONCAT_FLAG
        if self.passing:
            found |= _TIMEOUT_FLAG
        return found | (_DYNAMIC_FLAG if self.learns else 0)


class Element(NamedTuple):
    """An element as the kernel has it: `data` is empty for plain sets, `chain` is where a verdict goes, `last` the end
    of a range, `expires` the milliseconds that one has left which packets added.
    """

    key: bytes
    data: bytes
    chain: str
    packets: int
    last: bytes = b""
    expires: int = 0


def define(owner: str, one: Set, identity: int) -> Request:
    """The message that makes a set in a table. `identity` is any number that is unique within the transaction."""
    parts = [string(1, owner), string(2, one.name), be32(3, one.flags)]
    parts += [be32(4, _type_number(one.key)), be32(5, _length(one.key))]
    notes = udata(0, struct.pack("=I", _byte_order(one.key)))
    if one.verdicts:
        parts += [be32(6, _VERDICT_TYPE), be32(7, 16)]
        notes += udata(1, struct.pack("=I", 0))
    elif one.data:
        parts += [be32(6, _type_number(one.data)), be32(7, _length(one.data))]
        notes += udata(1, struct.pack("=I", _byte_order(one.data)))
    if one.comment:
        notes += udata(7, one.comment.encode() + b"\0")
    if one.learns:
        parts.append(nested(9, be32(1, one.learns)))
    elif one.ranges:
        fields = (nested(1, be32(1, _LENGTH[each])) for each in one.key)
        parts.append(nested(9, nested(2, *fields)))
    parts += [be32(10, identity), attribute(13, notes)]
    if one.counters:
        parts.append(nested(17, nft_expr.counter_of_set()))
    return Request(NEW_SET, CREATE, b"".join(parts), f"set {one.name}")


def _type_number(types: Sequence[Type]) -> int:
    """Concatenated types, six bits each, the first one highest."""
    return functools.reduce(lambda number, one: number << 6 | one, types, 0)


def _length(types: Sequence[Type]) -> int:
    return _LENGTH[types[0]] if len(types) == 1 else sum((_LENGTH[one] + 3) & ~3 for one in types)


def _byte_order(types: Sequence[Type]) -> int:
    """What the nft program notes: nothing for concatenations, whose fields have each their own."""
    if len(types) != 1:
        return 0
    return _HOST if types[0] in (Type.MARK, Type.PROTOCOL) else _BIG


@functools.cache
def _layout(key: int, data: int) -> struct.Struct:
    """One element with key and data of these lengths (multiples of four), as one struct: elements come by thousands."""
    return struct.Struct(f"=HHHHHH{key}s" + (f"HHHH{data}s" if data else ""))


def element(key: bytes, data: bytes = b"") -> bytes:
    """An element of a set, or of a data map. Both are padded to four bytes by the caller."""
    size, more = len(key), len(data)
    if not data:
        whole = 12 + size
        return _layout(size, 0).pack(whole, 1 | _LIST_NESTED, 8 + size, 1 | _LIST_NESTED, 4 + size, 1, key)
    left = (20 + size + more, 1 | _LIST_NESTED, 8 + size, 1 | _LIST_NESTED, 4 + size, 1, key)
    return _layout(size, more).pack(*left, 8 + more, 2 | _LIST_NESTED, 4 + more, 1, data)


def frame(key: int, data: int) -> tuple[bytes, bytes]:
    """What stands before the key and before the data of an element with both, of these lengths (multiples of four)."""
    made = element(bytes(key), bytes(data))
    return made[:12], made[12 + key : 20 + key]


def passing_element(key: bytes, data: bytes, seconds: int, expires: int) -> bytes:
    """An element as packets add it: for so many seconds, of which so many milliseconds are left."""
    times = be64(4, seconds * 1000) + be64(5, expires)
    return nested(1, nested(1, attribute(1, key)), nested(2, attribute(1, data)), times)


def counted_element(key: bytes, packets: int) -> bytes:
    """An element of a set with counters that has counted some packets."""
    return nested(1, nested(1, attribute(1, key)), nested(7, nft_expr.counter_contents(packets)))


def range_element(first: bytes, last: bytes) -> bytes:
    """An element of a set of ranges."""
    return nested(1, nested(1, attribute(1, first)), nested(10, attribute(1, last)))


def verdict_element(key: bytes, code: nft_expr.Code, chain: str = "") -> bytes:
    """An element of a verdict map."""
    return nested(1, nested(1, attribute(1, key)), nested(2, nft_expr.verdict_data(code, chain)))


def add_elements(owner: str, name: str, elements: Sequence[bytes]) -> Iterator[Request]:
    """Requests that add elements, as many as their size needs."""
    return _elements(NEW_ELEMENT, CREATE, owner, name, elements, "add to")


def delete_elements(owner: str, name: str, elements: Sequence[bytes]) -> Iterator[Request]:
    """Requests that delete elements (their keys are enough); a missing one makes the transaction fail."""
    return _elements(DELETE_ELEMENT, 0, owner, name, elements, "delete from")


def _elements(kind: int, flags: int, owner: str, name: str, elements: Sequence[bytes], verb: str) -> Iterator[Request]:
    head = string(1, owner) + string(2, name)
    start, size = 0, 0
    for at, one in enumerate(elements):
        if size + len(one) > ELEMENTS_MAX:
            yield Request(kind, flags, head + nested(3, *elements[start:at]), f"{verb} {name}")
            start, size = at, 0
        size += len(one)
    if start < len(elements):
        yield Request(kind, flags, head + nested(3, *elements[start:]), f"{verb} {name}")


def dump_elements(nft: Nft, owner: str, name: str) -> list[Element]:
    """All elements of a set. A missing table or set has none."""
    try:
        found = nft.dump(GET_ELEMENT, string(1, owner) + string(2, name))
    except NetlinkError as error:
        if error.errno == errno.ENOENT:
            return []
        raise
    elements: list[Element] = []
    for part in found:
        several = table(part).get(3, memoryview(b""))
        elements += _alike(several) or [_parse(one) for _, one in attributes(several)]
    return elements


_COUNTER = bytes.fromhex("2c000700 0c000100 636f756e74657200 1c000200 0c000100")
"""What stands before the two numbers of an element's counter, bytes and packets, in the host's byte order."""


def _alike(several: memoryview) -> list[Element] | None:
    """Elements that follow each other and differ in nothing but key, data and count: in one go, since they come by
    hundreds of thousands. None for any others.
    """
    if len(several) < 12:
        return None
    whole, _, _, kind, size, _ = struct.unpack_from("=6H", several)
    size -= 4
    at = 12 + size
    if kind & 0x3FFF != 1 or whole < at or len(several) % whole or size % 4:
        return None
    first = bytes(several[:whole])
    more = count = 0
    if whole > at:
        outer, kind, inner, inner_kind = struct.unpack_from("=4H", first, at)
        more = inner - 4
        if (kind & 0x3FFF, inner_kind & 0x3FFF) != (2, 1) or outer != 8 + more or more % 4:
            return None
        at += 8 + more
    if whole > at:
        if whole != at + 44 or first[at : at + 24] != _COUNTER:
            return None
        count = 1
    shape = f">12s{size}s" + (f"8s{more}s" if more else "") + ("24s8x4sQ" if count else "")
    found: list[Element] = []
    constants = struct.unpack_from(shape, first)[::2]
    if count:
        for head, key, middle, data, tail, _, packets in struct.iter_unpack(shape, several):
            found.append(Element(key, data, "", packets))
            if (head, middle, tail) != constants[:3]:
                return None
    elif more:
        for head, key, middle, data in struct.iter_unpack(shape, several):
            found.append(Element(key, data, "", 0))
            if (head, middle) != constants:
                return None
    else:
        for head, key in struct.iter_unpack(shape, several):
            found.append(Element(key, b"", "", 0))
            if head != constants[0]:
                return None
    return found


def get_elements(nft: Nft, owner: str, name: str, keys: Sequence[bytes]) -> list[Element]:
    """The elements with these keys, without reading the others. NetlinkError (ENOENT) if one is not there."""
    found: list[Element] = []
    head = string(1, owner) + string(2, name)
    for start in range(0, len(keys), ASKED_AT_ONCE):
        part = nested(3, *(element(key) for key in keys[start : start + ASKED_AT_ONCE]))
        answers = nft.ask_many(GET_ELEMENT, head + part)
        # Each answer says whose set it is and then its one element: of all alike, the elements alone.
        begin = len(head) + 4
        same = {(len(one), one[:begin]) for one in answers}
        alike = _alike(memoryview(b"".join([one[begin:] for one in answers]))) if len(same) == 1 else None
        if alike is None:
            several = [table(one).get(3, memoryview(b"")) for one in answers]
            alike = [_parse(one) for each in several for _, one in attributes(each)]
        found += alike
    return found


def _parse(one: memoryview) -> Element:
    parts = table(one)
    key = bytes(table(parts[1])[1])
    data, chain, packets = b"", "", 0
    if 2 in parts:
        value = table(parts[2])
        data = bytes(value.get(1, b""))
        if 2 in value:
            target = table(value[2]).get(2)
            chain = bytes(target).rstrip(b"\0").decode() if target is not None else ""
    if 7 in parts:
        packets = counter_of(parts[7])[1]
    last = bytes(table(parts[10])[1]) if 10 in parts else b""
    expires = int.from_bytes(parts[5], "big") if 5 in parts else 0
    return Element(key, data, chain, packets, last, expires)
