"""SCTP through the kernel table, made by hand: few kernels come with it, but connection tracking knows it (P11, P14).

The first two packets of an association go over raw sockets: INIT to a cluster IP, INIT ACK back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import IPV6, Host, Network, over
from tests.unit.proxy.build import port, service

from skerry.api.types import discovery

VIP = "10.96.0.9"
INIT, INIT_ACK = 1, 2
TAG = 0x5EED
BOTH = pytest.mark.parametrize("mode", ["nftables", "nftables IPv6"])


def crc32c(data: bytes) -> int:
    """The checksum of SCTP: connection tracking ignores packets that have another one."""
    found = 0xFFFFFFFF
    for one in data:
        found ^= one
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    return found ^ 0xFFFFFFFF


def packet(kind: int, origin: int, destination: int, tag: int) -> bytes:
    """The only chunk of an INIT or INIT ACK, in its packet."""
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, TAG, 65536, 1, 1, 1)
    head = struct.pack("!HHI", origin, destination, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


class Raw:
    """SCTP packets as they come, on one host."""

    def __init__(self, host: Host) -> None:
        self._v6 = host.family == IPV6
        family = socket.AF_INET6 if self._v6 else socket.AF_INET
        self.sock = host.do(lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP))
        self.sock.setblocking(False)

    async def receive(self, kind: int, seconds: float = 5) -> tuple[str, int, int]:
        """From where a packet of this kind came: address and port; and to which port."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while True:
                data, peer = await loop.sock_recvfrom(self.sock, 2048)
                body = data if self._v6 else data[(data[0] & 15) * 4 :]
                if body[12] == kind:
                    origin, destination = struct.unpack_from("!HH", body)
                    return str(peer[0]), origin, destination


@BOTH
@in_network_namespace
async def test_p14_the_first_packet_reaches_an_endpoint_and_the_answer_comes_from_the_cluster_ip(mode: str) -> None:
    network = Network(mode=mode)
    client, pod = network.pod(), network.pod()
    network.service(service("web", VIP, port(80, "s", "SCTP"), port(80, "t", "TCP")))
    network.endpoints(pod, ports=[discovery.EndpointPort(name="s", protocol="SCTP", port=3868)])
    ours, theirs = Raw(client), Raw(pod)
    address = over(client.family, VIP)
    ours.sock.sendto(packet(INIT, 5001, 80, 0), (address, 0))
    assert await theirs.receive(INIT) == (over(client.family, client.ip), 5001, 3868)
    theirs.sock.sendto(packet(INIT_ACK, 3868, 5001, TAG), (over(client.family, client.ip), 0))
    assert await ours.receive(INIT_ACK) == (address, 80, 5001)
    assert [(one.protocol, one.total) for one in network.kernel.connections()] == [("SCTP", 1)]
    with pytest.raises(ConnectionRefusedError):  # the same port over TCP has no endpoints
        await client.connect(VIP, 80)
    network.finish()


@BOTH
@in_network_namespace
async def test_p11_without_endpoints_the_sender_hears_that_nobody_is_there(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    network.service(service("web", VIP, port(80, "s", "SCTP")))
    ours = Raw(client)
    ours.sock.connect((over(client.family, VIP), 0))

    async def ask() -> None:
        """Again and again, as a sender does: one packet, or the kernel's word on it, may be lost."""
        for _ in range(5):
            ours.sock.send(packet(INIT, 5001, 80, 0))
            with suppress(TimeoutError):
                await ours.receive(INIT_ACK, seconds=1)

    with pytest.raises(ConnectionRefusedError):
        await ask()
    network.finish()
