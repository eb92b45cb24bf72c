"""Socket filters: which clients' packets a listening socket sees. What does not pass is dropped, as a firewall does.

Called by backend.py: a listener whose clients are to hear nothing at all (P12, P13, P20) never even gets their first
packet. Classic BPF, which needs no privilege. `program` is pure. Numbers are those of linux/filter.h and bpf_common.h.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

_ATTACH, _DETACH = 26, 27
_LOAD, _AND, _EQUAL, _JUMP, _RETURN = 0x20, 0x54, 0x15, 0x05, 0x06
_NETWORK_HEADER = 0xFFF00000  # -0x100000: offsets from here on are those of the IP header
_SOURCE = {4: 12, 6: 8}
_ALL, _NOTHING = 0xFFFFFFFF, 0
_MOST = 4096

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


def program(family: int, stages: Iterable[Sequence[str]]) -> bytes:
    """A filter that a packet (of IP version `family`) passes if its source is in a prefix of each stage.

    A stage without prefixes of that family lets nothing through. ValueError if it is longer than the kernel takes.
    """
    code: list[Instruction] = []
    for stage in stages:
        tests = [list(_test(one)) for one in map(ipaddress.ip_network, stage) if one.version == family]
        length = sum(len(one) + 1 for one in tests) + 1
        start = len(code)
        for test in tests:
            # Each load's comparison jumps over what is left of the test and the jump to the stage's end behind it.
            for position, (operation, yes, _, operand) in enumerate(test):
                no = len(test) - position if operation == _EQUAL else 0
                code.append((operation, yes, no, operand))
            code.append((_JUMP, 0, 0, start + length - len(code) - 1))
        code.append((_RETURN, 0, 0, _NOTHING))
    code.append((_RETURN, 0, 0, _ALL))
    if len(code) > _MOST:
        raise ValueError(f"{len(code)} instructions, the kernel takes {_MOST}")
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _test(prefix: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Iterator[Instruction]:
    """Compares the source's words with a prefix; goes on behind if they are equal."""
    address, mask = prefix.network_address.packed, prefix.netmask.packed
    for offset in range(0, len(address), 4):
        word, bits = (int.from_bytes(one[offset : offset + 4], "big") for one in (address, mask))
        if bits:
            yield _LOAD, 0, 0, _NETWORK_HEADER + _SOURCE[prefix.version] + offset
            yield _AND, 0, 0, bits
            yield _EQUAL, 0, 0, word


def attach(sock: socket.socket, code: bytes) -> None:
    """From now on the socket sees only what passes. OSError where the machine knows no filters."""
    buffer = ctypes.create_string_buffer(code, len(code))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)))


def detach(sock: socket.socket) -> None:
    """It sees everything again."""
    sock.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
