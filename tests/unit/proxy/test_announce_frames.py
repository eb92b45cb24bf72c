"""What an announcer reads and says on the wire: bytes in, bytes out."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.proxy.announce import frames
from skerry.proxy.announce.frames import Asked, Claimed, Hello

OURS, THEIRS = bytes.fromhex("0a0000000001"), bytes.fromhex("0a0000000002")
BROADCAST = b"\xff" * 6
V4, V6 = "192.168.7.200", "fd00:7::c8"
US, THEM = "192.168.7.11", "192.168.7.99"

macs = st.binary(min_size=5, max_size=5).map(lambda rest: b"\x0a" + rest).filter(lambda mac: mac != OURS)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).filter(lambda one: not one.is_multicast and int(one)).map(str)


def arp(kind: int, source: str, target: str, *, mac: bytes = THEIRS, to: bytes = BROADCAST, head: str = "") -> bytes:
    start = bytes.fromhex(head or "0001080006 04".replace(" ", "")) + struct.pack("!H", kind)
    return (
        to + mac + b"\x08\x06" + start + mac + socket.inet_aton(source) + b"\0" * 6 + socket.inet_aton(target)
    ).ljust(60, b"\0")


def solicitation(
    source: str,
    target: str,
    *,
    to: str = "",
    options: bytes = b"\x01\x01" + THEIRS,
    hops: int = 255,
    spoil: int = 0,
) -> bytes:
    there = socket.inet_pton(socket.AF_INET6, to or frames.group(target))
    here, asked = socket.inet_pton(socket.AF_INET6, source), socket.inet_pton(socket.AF_INET6, target)
    body = struct.pack("!BBHI", 135, 0, 0, 0) + asked + options
    data = here + there + struct.pack("!II", len(body), 58) + body
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", (~total & 0xFFFF) ^ spoil) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, hops) + here + there
    return b"\x33\x33" + there[12:] + THEIRS + b"\x86\xdd" + head + body


def test_an_arp_request_is_read_and_answered_to_who_asked() -> None:
    asked = frames.read(arp(1, THEM, V4), OURS)
    assert asked == Asked(V4, THEIRS, THEM)
    said = frames.answer(asked, OURS)
    assert said[:14] == THEIRS + OURS + b"\x08\x06" and len(said) == 60
    assert frames.read(said, THEIRS) == Claimed(V4, OURS)


def test_a_probe_of_somebody_without_an_address_is_answered() -> None:
    assert frames.read(arp(1, "0.0.0.0", V4), OURS) == Asked(V4, THEIRS, "0.0.0.0")


@pytest.mark.parametrize("address", [V4, V6])
def test_a_claim_goes_to_everybody_and_is_read_as_one(address: str) -> None:
    said = frames.claim(address, OURS)
    assert said[0] & 1
    assert frames.read(said, THEIRS) == Claimed(address, OURS)
    assert frames.read(said, OURS) is None  # our own, come back


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        arp(1, THEM, V4)[:41],
        arp(3, THEM, V4),
        arp(1, THEM, V4, to=bytes.fromhex("0a0000000009")),  # to another machine, seen in passing
        arp(1, THEM, V4, mac=b"\x01" + THEIRS[1:]),  # from a group
        arp(1, THEM, V4, mac=b"\0" * 6),
        arp(1, THEM, V4, head="000608000604"),
        arp(1, THEM, V4, head="000186dd0604"),
        arp(1, THEM, V4, head="000108000804"),
        solicitation("fe80::9", V6, hops=64),  # came over a router
        solicitation("fe80::9", V6, spoil=1),
        solicitation("fe80::9", V6)[:-1],
        solicitation("fe80::9", V6, options=b"\x01\x00" + THEIRS),  # an option of no length
        solicitation("fe80::9", V6, options=b"\x01\x02" + THEIRS),  # longer than the packet
        solicitation("fe80::9", V6, options=b"\x01\x01" + BROADCAST),
        solicitation("fe80::9", "ff02::1"),
        solicitation("::", V6),  # whoever has no address gives no link-layer address (RFC 4861, 7.1.1)
        solicitation("::", V6, to="ff02::1", options=b""),
    ],
    ids=range(18),
)
def test_what_is_malformed_or_not_for_us_is_dropped(frame: bytes) -> None:
    assert frames.read(frame, OURS) is None


def test_a_solicitation_is_read_and_answered_to_who_asked() -> None:
    asked = frames.read(solicitation("fe80::9", V6), OURS)
    assert asked == Asked(V6, THEIRS, "fe80::9")
    said = frames.answer(asked, OURS)
    assert said[:14] == THEIRS + OURS + b"\x86\xdd"
    assert said[54] == 136 and said[58] == 0x60  # solicited, override
    assert frames.read(said, THEIRS) == Claimed(V6, OURS)


def test_duplicate_address_detection_is_answered_to_everybody() -> None:
    asked = frames.read(solicitation("::", V6, options=b""), OURS)
    assert asked == Asked(V6, THEIRS, "")
    assert frames.answer(asked, OURS) == frames.claim(V6, OURS)


def test_the_group_of_an_address() -> None:
    assert frames.group("fd00::1:2:abcd") == "ff02::1:ff02:abcd"


def test_hellos() -> None:
    who = frames.member("0b5f2c1e-8d4e-4c5f-9d6e-000000000001")
    networks = (ipaddress.ip_network("192.168.7.0/24"), ipaddress.ip_network("fd00:7::/64"))
    for able in (True, False):
        said = frames.hello(OURS, who, networks, able=able)
        assert frames.read_hello(said) == Hello(who, able, networks)
        assert frames.read_hello(said[:-1]) is None
    assert frames.read_hello(frames.hello(OURS, who, able=True)) == Hello(who, True)
    assert frames.read_hello(frames.hello(OURS, who, able=True)[:40]) is None
    assert frames.read_hello(arp(1, THEM, V4)) is None
    bad = bytearray(frames.hello(OURS, who, networks, able=True))
    bad[49] = 33  # the length of the first prefix
    assert frames.read_hello(bytes(bad)) is None
    many = [ipaddress.ip_network(f"10.{n}.0.0/16") for n in range(200)]
    assert len(frames.hello(OURS, who, many, able=True)) < 1500


@given(st.binary(max_size=128), st.sampled_from([frames.ARP, frames.IPV6, frames.HELLO]))
def test_no_bytes_are_an_error(data: bytes, kind: int) -> None:
    frame = BROADCAST + THEIRS + struct.pack("!H", kind) + data
    frames.read(frame, OURS)
    frames.read_hello(frame)
    frames.read(data, OURS)


@given(st.data(), st.sampled_from([arp(1, THEM, V4), solicitation("fe80::9", V6), frames.claim(V6, THEIRS)]))
def test_no_byte_that_changed_on_the_way_is_an_error(data: st.DataObject, frame: bytes) -> None:
    place = data.draw(st.integers(0, len(frame) - 1))
    found = frames.read(frame[:place] + data.draw(st.binary(max_size=4)) + frame[place + 1 :], OURS)
    if isinstance(found, Asked):
        frames.answer(found, OURS)


@given(macs, v6, v6)
def test_every_solicitation_gets_an_advertisement_that_others_take(mac: bytes, address: str, source: str) -> None:
    assert frames.read(frames.answer(Asked(address, mac, source), OURS), mac) == Claimed(address, OURS)


@given(macs, v4, v4)
def test_every_request_gets_a_reply_that_others_take(mac: bytes, address: str, source: str) -> None:
    assert frames.read(frames.answer(Asked(address, mac, source), OURS), mac) == Claimed(address, OURS)
