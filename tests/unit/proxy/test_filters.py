"""Socket filters let pass exactly the sources that they are to: asked of the kernel, on sockets of loopback."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.proxy.userspace import filters


def passes(code: bytes, source: str) -> bool:
    """Runs a program on a packet with this source, as the kernel would; ValueError for what is no program."""
    packed = ipaddress.ip_address(source).packed
    packet = bytes(12 if len(packed) == 4 else 8) + packed
    program = list(struct.iter_unpack("=HBBI", code))
    at, register = 0, 0
    while True:
        operation, yes, no, operand = program[at]
        at += 1
        match operation:
            case 0x20:
                offset = operand - 0xFFF00000
                register = int.from_bytes(packet[offset : offset + 4], "big")
            case 0x54:
                register &= operand
            case 0x15:
                at += yes if register == operand else no
            case 0x05:
                at += operand
            case 0x06:
                return operand != 0
            case _:
                raise ValueError(operation)


@pytest.mark.parametrize(
    ("stages", "through", "dropped"),
    [
        ([], ["192.0.2.1"], []),
        ([["192.0.2.0/24"]], ["192.0.2.0", "192.0.2.255"], ["192.0.3.0", "192.0.1.255"]),
        ([["192.0.2.7/32", "10.0.0.0/8"]], ["192.0.2.7", "10.9.9.9"], ["192.0.2.8", "11.0.0.0"]),
        ([["10.0.0.0/8"], ["10.244.0.0/16"]], ["10.244.1.1"], ["10.1.1.1", "11.244.1.1"]),
        ([[]], [], ["192.0.2.1", "0.0.0.0"]),
        ([["fd00::/8"]], [], ["192.0.2.1"]),
        ([["0.0.0.0/0"]], ["192.0.2.1"], []),
    ],
)
def test_p20_stages_of_prefixes(stages: Sequence[Sequence[str]], through: list[str], dropped: list[str]) -> None:
    code = filters.program(4, stages)
    assert [passes(code, one) for one in through + dropped] == [True] * len(through) + [False] * len(dropped)


_V4 = st.ip_addresses(v=4).map(str)
_V6 = st.ip_addresses(v=6).map(str)


@given(st.lists(st.lists(st.tuples(_V6, st.integers(0, 128)), max_size=4), max_size=3), _V6, st.integers(0, 128))
def test_p20_ipv6_as_python_has_it(stages: list[list[tuple[str, int]]], base: str, keep: int) -> None:
    """The source is any address, or one that shares some first bits with a prefix of the filter."""
    found = [[str(ipaddress.ip_network(one, strict=False)) for one in stage] for stage in stages]
    sources = [base] + [_near(one, base, keep) for stage in stages for one, _ in stage]
    code = filters.program(6, found)
    for source in sources:
        address = ipaddress.ip_address(source)
        assert passes(code, source) == all(
            any(address in ipaddress.ip_network(one) for one in stage) for stage in found
        )


def _near(one: str, other: str, keep: int) -> str:
    mask = (1 << 128) - (1 << 128 - keep)
    return str(
        ipaddress.IPv6Address(int(ipaddress.IPv6Address(one)) & mask | int(ipaddress.IPv6Address(other)) & ~mask)
    )


def test_the_kernel_takes_them_and_does_as_they_say() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        for stages, heard in (([["192.0.2.0/24"]], False), ([["127.0.0.1/32", "10.0.0.0/8"]], True), ([[]], False)):
            filters.attach(server, filters.program(4, stages))
            client.sendto(b"?", server.getsockname())
            if heard:
                assert server.recv(10) == b"?"
            else:
                with pytest.raises(BlockingIOError):
                    server.recv(10)
        filters.detach(server)
        client.sendto(b"?", server.getsockname())
        assert server.recv(10) == b"?"


def test_too_many_prefixes_are_an_error() -> None:
    with pytest.raises(ValueError, match="the kernel takes 4096"):
        filters.program(4, [[f"10.{number >> 8}.{number & 255}.0/24" for number in range(1100)]])
