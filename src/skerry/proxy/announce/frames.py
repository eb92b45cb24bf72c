"""The frames of an announcer: ARP, neighbour discovery and our own hellos, from bytes and to bytes. Pure.

Called by announcer.py. Whatever is malformed is None: nobody answers it. Frames begin with the Ethernet header.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

ARP, IPV6, HELLO = 0x0806, 0x86DD, 0x88B5
"""EtherTypes. The last is the one that IEEE leaves to local experiments."""

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_ICMP = struct.Struct("!BBHI16s")
_MAGIC = b"skerry-announce\x01"
_HELLO = struct.Struct("!16sB16sB")
_NETWORK = struct.Struct("!BB16s")  # family (4 or 6), length of the prefix, address
_MOST_NETWORKS = 64

_BROADCAST, _NOBODY = b"\xff" * 6, b"\0" * 6
_REQUEST, _REPLY = 1, 2
_ICMPV6, _SOLICITATION, _ADVERTISEMENT = 58, 135, 136
_HOPS = 255
"""Of neighbour discovery: a packet with fewer was sent from another network."""
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000
_SOURCE_LINK, _TARGET_LINK = 1, 2
_UNSPECIFIED = b"\0" * 16
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_GROUP = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Asked(NamedTuple):
    """Somebody asks who has `address`. `mac`, `ip`: where the answer goes; `ip` is "" if the asker has none yet."""

    address: str
    mac: bytes
    ip: str


class Claimed(NamedTuple):
    """Somebody with this MAC says that `address` is theirs."""

    address: str
    mac: bytes


class Hello(NamedTuple):
    """An announcer lives. `able`: it answers for the addresses of these networks that fall to it."""

    member: bytes
    able: bool
    networks: tuple[Network, ...] = ()


def member(uid: str) -> bytes:
    """How a node is called in hellos: 16 bytes made of its Node's uid, so that clusters on one network never mix."""
    return hashlib.sha256(uid.encode()).digest()[:16]


def hello(mac: bytes, who: bytes, networks: Sequence[Network] = (), *, able: bool) -> bytes:
    """The frame that says that we live, and which networks the interface has."""
    told = networks[:_MOST_NETWORKS]
    body = _HELLO.pack(_MAGIC, able, who, len(told))
    body += b"".join(_NETWORK.pack(one.version, one.prefixlen, one.network_address.packed) for one in told)
    return (_ETHERNET.pack(_BROADCAST, mac, HELLO) + body).ljust(60, b"\0")


def read_hello(frame: bytes) -> Hello | None:
    """A hello of an announcer, None if it is none."""
    if len(frame) < _ETHERNET.size + _HELLO.size or _ETHERNET.unpack_from(frame)[2] != HELLO:
        return None
    magic, able, who, count = _HELLO.unpack_from(frame, _ETHERNET.size)
    told = frame[_ETHERNET.size + _HELLO.size :][: count * _NETWORK.size]
    if magic != _MAGIC or able > 1 or count > _MOST_NETWORKS or len(told) < count * _NETWORK.size:
        return None
    try:
        return Hello(who, bool(able), tuple(_network(*one) for one in _NETWORK.iter_unpack(told)))
    except ValueError:
        return None


def _network(version: int, length: int, address: bytes) -> Network:
    if version == 4:
        return ipaddress.IPv4Network((address[:4], length))
    if version == 6:
        return ipaddress.IPv6Network((address, length))
    raise ValueError("a family that there is not")


def read(frame: bytes, mac: bytes) -> Asked | Claimed | None:
    """What a frame that came to the interface with this MAC asks or claims by ARP or NDP; None: nothing, or bad."""
    if len(frame) < _ETHERNET.size:
        return None
    to, sender, kind = _ETHERNET.unpack_from(frame)
    if sender == mac or not _station(sender) or not (to == mac or to[0] & 1):
        return None
    if kind == ARP:
        return _read_arp(frame[_ETHERNET.size :], mac)
    return _read_ndp(frame[_ETHERNET.size :], sender) if kind == IPV6 else None


def answer(asked: Asked, mac: bytes) -> bytes:
    """The frame that says to who asked: this MAC has it."""
    if ":" not in asked.address:
        return _arp(_REPLY, asked.mac, mac, asked.address, asked.mac, asked.ip)
    if asked.ip:
        return _advertisement(
            mac, asked.mac, socket.inet_pton(socket.AF_INET6, asked.ip), asked.address, solicited=True
        )
    return claim(asked.address, mac)


def claim(address: str, mac: bytes) -> bytes:
    """The frame that says to everybody, unasked: this MAC has it (gratuitous ARP, unsolicited advertisement)."""
    if ":" not in address:
        return _arp(_REQUEST, _BROADCAST, mac, address, _NOBODY, address)
    return _advertisement(mac, b"\x33\x33" + _ALL_NODES[12:], _ALL_NODES, address, solicited=False)


def group(address: str) -> str:
    """The multicast group in which others ask for an IPv6 address."""
    return socket.inet_ntop(socket.AF_INET6, _GROUP + socket.inet_pton(socket.AF_INET6, address)[13:])


def _station(mac: bytes) -> bool:
    """Is this the MAC of one interface, as senders have?"""
    return mac != _NOBODY and not mac[0] & 1


def _arp(kind: int, to: bytes, mac: bytes, address: str, their_mac: bytes, their_ip: str) -> bytes:
    body = _ARP.pack(1, 0x0800, 6, 4, kind, mac, socket.inet_aton(address), their_mac, socket.inet_aton(their_ip))
    return (_ETHERNET.pack(to, mac, ARP) + body).ljust(60, b"\0")


def _read_arp(body: bytes, mac: bytes) -> Asked | Claimed | None:
    if len(body) < _ARP.size:
        return None
    hardware, protocol, hardware_size, size, kind, sender, source, _, target = _ARP.unpack_from(body)
    if (hardware, protocol, hardware_size, size) != (1, 0x0800, 6, 4) or not _station(sender) or sender == mac:
        return None
    if kind == _REPLY or (kind == _REQUEST and source == target):
        return Claimed(socket.inet_ntoa(source), sender)
    # A source of 0.0.0.0 probes whether the address is free (RFC 5227), and is answered as any other.
    return Asked(socket.inet_ntoa(target), sender, socket.inet_ntoa(source)) if kind == _REQUEST else None


def _read_ndp(packet: bytes, sender: bytes) -> Asked | Claimed | None:
    if len(packet) < _IPV6.size + _ICMP.size:
        return None
    head, length, following, hops, source, to = _IPV6.unpack_from(packet)
    body = packet[_IPV6.size : _IPV6.size + length]
    if head >> 28 != 6 or following != _ICMPV6 or hops != _HOPS or length != len(body) or length < _ICMP.size:
        return None
    kind, code, _, flags, target = _ICMP.unpack_from(body)
    options = _options(body[_ICMP.size :])
    if code or options is None or target[0] == 0xFF or source[0] == 0xFF or _checksum(source, to, body):
        return None
    address = str(ipaddress.IPv6Address(target))
    if kind == _ADVERTISEMENT:
        mac = options.get(_TARGET_LINK, sender)
        return Claimed(address, mac) if _station(mac) and not (flags & _SOLICITED and to[0] == 0xFF) else None
    if kind != _SOLICITATION:
        return None
    if source == _UNSPECIFIED:
        fine = to == _GROUP + target[13:] and _SOURCE_LINK not in options
        return Asked(address, sender, "") if fine else None
    mac = options.get(_SOURCE_LINK, sender)
    return Asked(address, mac, str(ipaddress.IPv6Address(source))) if _station(mac) else None


def _options(data: bytes) -> dict[int, bytes] | None:
    """The link-layer addresses among the options by their type; None if they are malformed."""
    found = {}
    while data:
        size = data[1] * 8 if len(data) > 1 else 0
        if not 0 < size <= len(data):
            return None
        if data[0] in (_SOURCE_LINK, _TARGET_LINK):
            if size != 8:
                return None
            found[data[0]] = data[2:8]
        data = data[size:]
    return found


def _advertisement(mac: bytes, to_mac: bytes, to: bytes, address: str, *, solicited: bool) -> bytes:
    source = socket.inet_pton(socket.AF_INET6, address)
    flags = _OVERRIDE | (_SOLICITED if solicited else 0)
    option = bytes([_TARGET_LINK, 1]) + mac
    body = _ICMP.pack(_ADVERTISEMENT, 0, 0, flags, source) + option
    body = _ICMP.pack(_ADVERTISEMENT, 0, _checksum(source, to, body), flags, source) + option
    return _ETHERNET.pack(to_mac, mac, IPV6) + _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOPS, source, to) + body


def _checksum(source: bytes, to: bytes, body: bytes) -> int:
    """ICMPv6's: what is to be written where there is 0, and 0 of a body that has the right one."""
    data = source + to + struct.pack("!II", len(body), _ICMPV6) + body
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
