"""nf_tables messages: what they are as bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.netlink import nft, nft_set, wire
from skerry.netlink.nft_set import Set, Type

COUNTS = Set("counts", (Type.IPV4, Type.PROTOCOL, Type.SERVICE), (Type.MARK,), comment="how many")


def test_an_element_is_nested_attributes() -> None:
    one = nft_set.element(b"k" * 12, b"d" * 8)
    assert one == wire.nested(
        1, wire.nested(1, wire.attribute(1, b"k" * 12)), wire.nested(2, wire.attribute(1, b"d" * 8))
    )
    assert nft_set.element(b"key4") == wire.nested(1, wire.nested(1, wire.attribute(1, b"key4")))


@given(st.integers(0, 5000))
def test_element_lists_stay_below_64_kilobytes_and_lose_nothing(count: int) -> None:
    elements = [nft_set.element(struct.pack("=I", one)) for one in range(count)]
    requests = list(nft_set.add_elements("t", "s", elements))
    held = b""
    for one in requests:
        found = wire.table(one.payload)[3]
        assert len(found) < 1 << 16
        held += bytes(found)
    assert held == b"".join(elements)


def test_transactions_are_split_in_order_and_fit() -> None:
    requests = [nft.Request(nft.NEW_ELEMENT, 0, bytes(100), str(one)) for one in range(50)]
    batches = list(nft.split(requests, 1000))
    assert [one for batch in batches for one in batch] == requests
    assert all(sum(one.size for one in batch) + 40 <= 1000 for batch in batches)
    with pytest.raises(ValueError, match="alone"):
        list(nft.split(requests, 100))


def test_a_concatenated_type_takes_six_bits_a_part() -> None:
    number = wire.table(nft_set.define("t", COUNTS, 1).payload)[4]
    assert int.from_bytes(number, "big") == 7 << 12 | 12 << 6 | 13
