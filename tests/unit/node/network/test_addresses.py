"""Which address a new pod gets."""

from __future__ import annotations

import pytest

from skerry.node.network.addresses import Addresses, NoAddress
from skerry.node.network.pods import link_name, pod_mac


def test_the_first_two_and_the_last_are_nobodys() -> None:
    addresses = Addresses(["10.244.1.0/29"])
    assert [addresses.allocate() for _ in range(5)] == [(f"10.244.1.{last}",) for last in range(2, 7)]
    with pytest.raises(NoAddress, match=r"no free address in 10\.244\.1\.0/29: 5 are in use"):
        addresses.allocate()


def test_an_address_that_has_just_gone_is_not_given_again_at_once() -> None:
    addresses = Addresses(["10.244.1.0/24"])
    addresses.release(addresses.allocate())
    assert addresses.allocate() == ("10.244.1.3",)


def test_when_the_end_is_reached_the_search_begins_again() -> None:
    addresses = Addresses(["10.244.1.0/29"])
    given = [addresses.allocate() for _ in range(5)]
    addresses.release(given[3])
    addresses.release(given[1])
    assert [addresses.allocate(), addresses.allocate()] == [given[1], given[3]]
    assert len(addresses) == 5


def test_what_pods_had_before_the_node_started_is_taken_last() -> None:
    addresses = Addresses(["10.244.1.0/29"])
    for one in ("10.244.1.2", "10.244.1.4", "10.243.0.2", "fd00::2", "no address"):
        addresses.avoid(one)
    given = [addresses.allocate() for _ in range(5)]
    assert given == [("10.244.1.3",), ("10.244.1.5",), ("10.244.1.6",), ("10.244.1.2",), ("10.244.1.4",)]


def test_releasing_what_was_not_given_does_nothing() -> None:
    addresses = Addresses(["10.244.1.0/24"])
    addresses.release(("10.244.9.9",))
    assert len(addresses) == 0


def test_a_pod_has_the_same_place_in_both_families() -> None:
    addresses = Addresses(["fd00:10:244:1::/64", "10.244.1.0/24"])
    assert addresses.allocate() == ("fd00:10:244:1::2", "10.244.1.2")
    addresses.avoid("10.244.1.3")
    addresses.avoid("fd00:10:244:1::4")
    assert addresses.allocate() == ("fd00:10:244:1::5", "10.244.1.5")
    addresses.release(("fd00:10:244:1::5", "10.244.1.5"))
    assert len(addresses) == 1


def test_of_two_ranges_the_smaller_one_ends_first() -> None:
    addresses = Addresses(["fd00:10:244:1::/64", "10.244.1.0/30"])
    addresses.allocate()
    with pytest.raises(NoAddress):
        addresses.allocate()


def test_names_and_macs_follow_from_the_pod() -> None:
    assert pod_mac("10.244.1.5") == "0a:58:0a:f4:01:05"
    assert pod_mac("fd00:10:244:1::1:5") == "0a:58:00:01:00:05"
    name = link_name("0b7c0c3e-8a41-4f7a-9d0e-0d6d6c1d2b10")
    assert name.startswith("veth") and len(name) == 12 and name != link_name("another")
