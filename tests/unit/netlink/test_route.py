"""How addresses become the numbers of a netlink message."""

from __future__ import annotations

import socket

import pytest

from skerry.netlink import route, wire


def test_a_prefix_is_an_address_and_a_length() -> None:
    assert route._prefix("10.243.0.1/24") == (socket.AF_INET, bytes([10, 243, 0, 1]), 24)


def test_a_bare_address_has_its_full_length() -> None:
    assert route._prefix("10.244.1.2")[2] == 32
    assert route._prefix("fd00::1")[2] == 128


def test_default_is_everything() -> None:
    assert route._prefix("default") == (socket.AF_INET, bytes(4), 0)


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        route._prefix("10.243.0/24")


def test_a_mac_address() -> None:
    assert route.mac_bytes("ee:ee:ee:ee:ee:01") == b"\xee\xee\xee\xee\xee\x01"


def test_a_link_is_read_from_its_message() -> None:
    info = wire.nested(18, wire.string(1, "veth"))
    body = b"".join((wire.string(3, "eth0"), wire.attribute(1, b"\xee" * 6), wire.u32(4, 1500), wire.u32(10, 3), info))
    assert route._parse_link(route._LINK.pack(0, 0, 7, 1, 0) + body) == route.Link(
        index=7, name="eth0", mac="ee:ee:ee:ee:ee:ee", mtu=1500, up=True, master=3, kind="veth"
    )
