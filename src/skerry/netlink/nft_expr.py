"""The expressions that nf_tables rules are made of, as bytes.

Called by whoever writes rules (proxy/nftables, node/network) and handed to `nft.rule`. One function is one line of what
`nft --debug=netlink` prints for a rule; data flows between expressions through registers. Numbers are those of
linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import ipaddress
import struct
from enum import IntEnum

from skerry.netlink.wire import attribute, be32, be64, nested, string, u8

VERDICT = 0
"""The register that a verdict map writes: what the packet does next."""


def register(index: int) -> int:
    """The number of the index-th (0..15) register of four bytes. Concatenations take neighbours."""
    if not 0 <= index < 16:
        raise ValueError(f"there are 16 registers, asked for {index}")
    return 8 + index


class Meta(IntEnum):
    """What is known about a packet besides its bytes."""

    PRIORITY = 2
    MARK = 3
    IIFNAME = 6
    OIFNAME = 7
    L4PROTO = 16


class Ct(IntEnum):
    """What connection tracking knows about a packet's flow."""

    STATE = 0
    STATUS = 2
    MARK = 3
    PROTO_DST = 12
    DST_IP = 20
    DST_IP6 = 22


CT_STATE_INVALID, CT_STATE_ESTABLISHED, CT_STATE_RELATED, CT_STATE_NEW = 1, 2, 4, 8
CT_STATUS_DNAT = 0x20
LOCAL_ADDRESS = 2
"""The address type that `fib` gives for the machine's own addresses."""

_EXPRESSION = 1
_IPV4, _IPV6 = 2, 10


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(_EXPRESSION, string(1, name), nested(2, *parts))


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(1, data))


def network(offset: int, length: int, target: int) -> bytes:
    """Loads bytes of the network header."""
    return _expression("payload", be32(1, target), be32(2, 1), be32(3, offset), be32(4, length))


def transport(offset: int, length: int, target: int) -> bytes:
    """Loads bytes of the transport header."""
    return _expression("payload", be32(1, target), be32(2, 2), be32(3, offset), be32(4, length))


def source(target: int, *, v6: bool = False) -> bytes:
    """`ip saddr`, or `ip6 saddr`, which takes four registers."""
    return network(8, 16, target) if v6 else network(12, 4, target)


def destination(target: int, *, v6: bool = False) -> bytes:
    """`ip daddr`, or `ip6 daddr`, which takes four registers."""
    return network(24, 16, target) if v6 else network(16, 4, target)


def destination_port(target: int) -> bytes:
    """`th dport`"""
    return transport(2, 2, target)


def meta(key: Meta, target: int) -> bytes:
    return _expression("meta", be32(1, target), be32(2, key))


def set_meta(key: Meta, origin: int) -> bytes:
    return _expression("meta", be32(3, origin), be32(2, key))


def ct(key: Ct, target: int, *, original: bool | None = None) -> bytes:
    """Loads what connection tracking knows; `original` picks a direction where the key has one."""
    direction = b"" if original is None else u8(3, 0 if original else 1)
    return _expression("ct", be32(1, target), be32(2, key), direction)


def compare(origin: int, data: bytes, *, equal: bool = True) -> bytes:
    return _expression("cmp", be32(1, origin), be32(2, 0 if equal else 1), _value(3, data))


def bitwise(origin: int, target: int, mask: bytes, xor: bytes) -> bytes:
    """What `target` gets: (origin & mask) ^ xor."""
    return _expression("bitwise", be32(1, origin), be32(2, target), be32(3, len(mask)), _value(4, mask), _value(5, xor))


def flags(origin: int, bits: int, *, present: bool = True) -> bytes:
    """True where one of the bits of a host-endian word is set (or none, with present=False)."""
    empty = bytes(4)
    return bitwise(origin, origin, struct.pack("=I", bits), empty) + compare(origin, empty, equal=not present)


def in_prefix(origin: int, prefix: str, *, inside: bool = True) -> bytes:
    """True where the address in a register lies in a prefix such as 10.96.0.0/12 (or outside, with inside=False)."""
    found = ipaddress.ip_network(prefix)
    mask = bitwise(origin, origin, found.netmask.packed, bytes(len(found.netmask.packed)))
    if found.prefixlen == found.max_prefixlen:
        mask = b""
    return mask + compare(origin, found.network_address.packed, equal=inside)


def lookup(name: str, origin: int, target: int | None = None, *, inverted: bool = False) -> bytes:
    """Looks the registers from `origin` up in a set, or in a map whose data goes to `target`; a miss ends the rule."""
    parts = [string(1, name), be32(2, origin)]
    if target is not None:
        parts.append(be32(3, target))
    if inverted:
        parts.append(be32(5, 1))
    return _expression("lookup", *parts)


def numgen_random(modulus: int, target: int) -> bytes:
    """A random number below `modulus`, host-endian."""
    return _expression("numgen", be32(1, target), be32(2, modulus), be32(3, 1))


def learn(name: str, key: int, data: int, seconds: int) -> bytes:
    """Adds an element to a map for so many seconds; if its key is there, only its time begins anew."""
    times = be64(6, seconds * 1000)
    return _expression("dynset", string(1, name), be32(3, 1), be32(4, key), be32(5, data), times)


def count(name: str, key: int) -> bytes:
    """Counts in a set whose elements have counters: the element with this key, which is added where there is none."""
    return _expression("dynset", string(1, name), be32(3, 1), be32(4, key))


def unlearn(name: str, key: int, data: int) -> bytes:
    """Deletes an element of a map, by its key; the kernel wants to be told some data, too."""
    return _expression("dynset", string(1, name), be32(3, 2), be32(4, key), be32(5, data))


def load(value: bytes, target: int) -> bytes:
    """A constant."""
    return _expression("immediate", be32(1, target), _value(2, value))


def fib_saddr_type(target: int) -> bytes:
    """The type of the packet's source (LOCAL_ADDRESS, ...), host-endian."""
    return _expression("fib", be32(1, target), be32(2, 3), be32(3, 1))


def fib_daddr_type(target: int) -> bytes:
    """The type of the packet's destination (LOCAL_ADDRESS, ...), host-endian."""
    return _expression("fib", be32(1, target), be32(2, 3), be32(3, 2))


def dnat(address: int, port: int, *, v6: bool = False) -> bytes:
    """The flow goes to the address and port in these registers."""
    return _expression("nat", be32(1, 1), be32(2, _IPV6 if v6 else _IPV4), be32(3, address), be32(5, port))


def masquerade(*, random: bool = True) -> bytes:
    """The flow leaves under this machine's address; `random` picks its source port at random."""
    return _expression("masq", be32(1, 0x10)) if random else _expression("masq")


def counter(packets: int = 0, size: int = 0) -> bytes:
    return _expression("counter", be64(1, size), be64(2, packets))


def counter_of_set() -> bytes:
    """The contents of a set's own EXPR attribute, which gives every element a counter."""
    return counter_contents(0)


def counter_contents(packets: int) -> bytes:
    """A counter that stands at some number, as the EXPR attribute of an element has it."""
    return string(1, "counter") + nested(2, be64(1, 0), be64(2, packets))


def reject_reset() -> bytes:
    """Answers a TCP segment with a reset."""
    return _expression("reject", be32(1, 1), u8(2, 0))


def reject_unreachable(code: int = 3) -> bytes:
    """Answers with ICMP destination unreachable; code 3 is `port unreachable`, that of ICMPv6 is 4."""
    return _expression("reject", be32(1, 0), u8(2, code))


class Code(IntEnum):
    """What a packet does next."""

    DROP = 0
    ACCEPT = 1
    JUMP = -3
    GOTO = -4
    RETURN = -5


def verdict_data(code: Code, chain: str = "") -> bytes:
    """The attribute of a verdict, as an `immediate` or a verdict map's element holds it."""
    return nested(2, attribute(1, struct.pack("!i", code)), *((string(2, chain),) if chain else ()))


def verdict(code: Code, chain: str = "") -> bytes:
    return _expression("immediate", be32(1, VERDICT), nested(2, verdict_data(code, chain)))


def drop() -> bytes:
    return verdict(Code.DROP)


def accept() -> bytes:
    return verdict(Code.ACCEPT)


def jump(chain: str) -> bytes:
    return verdict(Code.JUMP, chain)


def goto(chain: str) -> bytes:
    return verdict(Code.GOTO, chain)
