"""Bands and pickers of cluster IPs and node ports: S38, S39, S42, G5."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.allocation import PortRange, ServiceRange


@pytest.mark.parametrize(
    ("cidr", "offset", "static_first", "automatic_first", "last"),
    [
        ("10.96.0.0/12", 256, "10.96.0.1", "10.96.1.1", "10.111.255.254"),
        ("10.0.0.0/16", 256, "10.0.0.1", "10.0.1.1", "10.0.255.254"),
        ("10.0.0.0/20", 256, "10.0.0.1", "10.0.1.1", "10.0.15.254"),
        ("10.0.0.0/24", 16, "10.0.0.1", "10.0.0.17", "10.0.0.254"),
        ("10.0.0.0/27", 16, "10.0.0.1", "10.0.0.17", "10.0.0.30"),
        ("10.0.0.0/28", 0, "10.0.0.1", "10.0.0.1", "10.0.0.14"),
        ("fd00::/112", 256, "fd00::1", "fd00::101", "fd00::ffff"),
    ],
)
def test_g5_bands(cidr: str, offset: int, static_first: str, automatic_first: str, last: str) -> None:
    one = ServiceRange(cidr)
    assert (one.offset, one.first, one.dynamic_first, one.last) == (offset, static_first, automatic_first, last)


def test_g5_port_bands() -> None:
    ports = PortRange()
    assert ports.offset == 86
    upper = set(range(30086, 32768))
    picked = {ports.pick(upper - {one}, random.Random(1)) for one in (30086, 31000, 32767)}
    assert picked == {30086, 31000, 32767}
    # The lower band is used only when the upper one is full.
    assert ports.pick(upper, random.Random(1)) in range(30000, 30086)
    assert ports.pick(set(range(30000, 32768)), random.Random(1)) is None
    assert 30000 in ports and 32767 in ports and 29999 not in ports and 32768 not in ports


@pytest.mark.parametrize(
    ("ip", "good"),
    [
        ("10.96.0.0", False),  # S38: the network's own address
        ("10.96.0.1", True),
        ("10.111.255.254", True),
        ("10.111.255.255", False),  # S38: broadcast
        ("10.112.0.1", False),
        ("fd00::1", False),
        ("nonsense", False),
    ],
)
def test_s38_valid(ip: str, good: bool) -> None:
    assert ServiceRange("10.96.0.0/12").valid(ip) is good


def test_s38_ipv6_uses_64_bits_and_no_first_address() -> None:
    one = ServiceRange("fd00:10:96::/48")
    assert not one.valid("fd00:10:96::") and one.valid("fd00:10:96::1")
    assert one.last == "fd00:10:96:0:ffff:ffff:ffff:ffff"


@given(seed=st.integers(), cidr=st.sampled_from(["10.0.0.0/28", "10.0.0.0/27", "10.0.0.0/26"]))
def test_s39_upper_band_first_then_lower_then_full(seed: int, cidr: str) -> None:
    one, chance = ServiceRange(cidr), random.Random(seed)
    used: set[int] = set()
    order = []
    while (ip := one.pick(used, chance)) is not None:
        assert one.valid(ip)
        number = one.number(ip)
        assert number not in used
        used.add(number)
        order.append(number)
    size = one.number(one.last) - one.number(one.first) + 1
    assert len(order) == size
    border = one.number(one.dynamic_first)
    uppers = [number >= border for number in order]
    assert uppers == sorted(uppers, reverse=True)


def test_too_small_a_range_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        ServiceRange("10.0.0.0/32")
