"""Ports of LoadBalancers on the machine's loopback, on real sockets: this machine plays both sides."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.proxy.net import bound
from tests.unit.proxy.build import port, service

from skerry.api.types import core, meta
from skerry.clock import SystemClock
from skerry.proxy.balancers import BalancerPorts, Place, Told, admits, places

CLUSTER_IP = "127.88.0.1"
"""Stands for the Service's cluster IP."""


class Rig:
    """The ports of a Service informer that the test plays; ports below 1024 are refused, as to most users."""

    def __init__(self) -> None:
        self.address = f"127.{64 + os.getpid() % 128}.{os.getpid() >> 8 & 127}.7"
        self.told: list[tuple[str, Told]] = []
        self._known: dict[str, core.Service] = {}
        self._subscribers: list[Callable[[Any, Any], None]] = []
        made: Any = self
        self.ports = BalancerPorts(made, self._open, SystemClock(), self._tell)
        self.ports.start()

    def subscribe(self, call: Callable[[Any, Any], None]) -> None:
        self._subscribers.append(call)

    def get(self, key: str) -> core.Service | None:
        return self._known.get(key)

    async def _open(self, kind: str, address: str, number: int) -> socket.socket:
        if 0 < number < 1024:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        return bound(made, kind, address, number)

    async def _tell(self, found: core.Service, told: Told) -> None:
        self.told.append((found.metadata.name, told))

    def make(self, *ports: core.ServicePort, name: str = "web", **spec: Any) -> core.Service:
        made = service(name, CLUSTER_IP, *ports, type="LoadBalancer", **spec)
        made.metadata.uid = f"uid-{name}"
        made.status.load_balancer.ingress = [core.LoadBalancerIngress(ip=self.address, ip_mode="Proxy")]
        return made

    async def put(self, found: core.Service | None, name: str = "web") -> None:
        """The Service is now this one; returns when the ports follow."""
        key = f"default/{name}"
        old = self._known.pop(key, None)
        if found is not None:
            self._known[key] = found
        for call in self._subscribers:
            call(old, found)
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def rig() -> Any:
    made = Rig()
    yield made
    await made.ports.close()


async def serve(number: int, says: bytes) -> asyncio.Server:
    async def one(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    return await asyncio.start_server(one, CLUSTER_IP, number)


async def hear(address: str, number: int, source: str = "127.0.0.1") -> bytes:
    reader, writer = await asyncio.open_connection(address, number, local_addr=(source, 0))
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def closed(call: Awaitable[bytes]) -> bool:
    try:
        return await call == b""
    except OSError:
        return True


async def test_a_port_opens_with_the_address_and_closes_with_the_service(rig: Rig) -> None:
    async with await serve(8080, b"eight"):
        await rig.put(rig.make(port(8080)))
        assert await hear(rig.address, 8080) == b"eight"
        text = f"8080/TCP is open on {rig.address}"
        assert rig.told == [("web", Told("True", "Open", text))]
        await rig.put(None)
        assert await closed(hear(rig.address, 8080))
        ending = rig.make(port(8080))
        ending.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
        await rig.put(ending)
        assert rig.ports.ports == {}


async def test_a_refused_port_is_opened_above_30000_and_told(rig: Rig) -> None:
    async with await serve(80, b"low") if os.getuid() == 0 else await serve(8081, b"low"):
        await rig.put(rig.make(port(80)))
        assert rig.ports.ports == {Place(rig.address, "TCP", 80): 30080}
        if os.getuid() == 0:
            assert await hear(rig.address, 30080) == b"low"
        moved = f"80/TCP is open as {rig.address}:30080"
        why = ", because this user may not open ports below 1024"
        assert rig.told == [("web", Told("True", "PortMoved", moved, moved + why))]


async def test_a_moved_port_that_is_taken_goes_to_any_free_one(rig: Rig) -> None:
    with socket.create_server((rig.address, 30080)):
        await rig.put(rig.make(port(80)))
        (number,) = rig.ports.ports.values()
        assert number not in (80, 30080) and number > 1023


async def test_a_port_that_somebody_has_is_told_and_tried_again_with_the_service(rig: Rig) -> None:
    async with await serve(8080, b"eight"):
        with socket.create_server((rig.address, 8080)):
            await rig.put(rig.make(port(8080)))
            text = "8080/TCP is not open: Address already in use"
            assert rig.told == [("web", Told("False", "PortUnavailable", text, text))]
        await rig.put(rig.make(port(8080), session_affinity="ClientIP"))
        assert await hear(rig.address, 8080) == b"eight"
        assert rig.told[-1][1].reason == "Open"


async def test_a_port_that_is_never_opened_is_told(rig: Rig) -> None:
    await rig.put(rig.make(port(8080, "a"), port(8081, "b", "SCTP")))
    (_, told), *_ = rig.told
    assert (told.status, told.reason) == ("False", "PortUnavailable")
    assert told.event == "8081/SCTP is not open: SCTP is not carried from this machine into the cluster"
    assert "8080/TCP is open on " in told.message


async def test_only_clients_of_the_source_ranges_come_through(rig: Rig) -> None:
    async with await serve(8080, b"eight"):
        await rig.put(rig.make(port(8080), load_balancer_source_ranges=["127.5.0.0/16"]))
        assert await closed(hear(rig.address, 8080))
        assert await hear(rig.address, 8080, "127.5.1.1") == b"eight"
        await rig.put(rig.make(port(8080)))
        assert await hear(rig.address, 8080) == b"eight"


def test_source_ranges_may_be_an_annotation_and_what_is_none_opens_nothing() -> None:
    made = service("web", CLUSTER_IP, port(80), type="LoadBalancer")
    assert admits(made, "127.0.0.1")
    made.metadata.annotations = {"service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8, 127.0.0.0/8"}
    assert admits(made, "127.0.0.1") and not admits(made, "192.0.2.1")
    made.metadata.annotations = {"service.beta.kubernetes.io/load-balancer-source-ranges": "nonsense"}
    assert not admits(made, "127.0.0.1")


def test_only_proxied_loopback_addresses_are_opened_here() -> None:
    made = service("web", CLUSTER_IP, port(80), type="LoadBalancer")
    made.status.load_balancer.ingress = [
        core.LoadBalancerIngress(ip="192.0.2.1", ip_mode="VIP"),
        core.LoadBalancerIngress(ip="127.3.0.1", ip_mode="VIP"),
        core.LoadBalancerIngress(hostname="lb.example"),
    ]
    assert places(made) == {}
    made.metadata = meta.ObjectMeta(name="web", namespace="default")
    made.status.load_balancer.ingress[1].ip_mode = "Proxy"
    assert places(made) == {Place("127.3.0.1", "TCP", 80): (CLUSTER_IP, 80)}


async def test_datagrams_and_their_answers(rig: Rig) -> None:
    loop = asyncio.get_running_loop()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(b"echo " + data, addr)

    transport, _ = await loop.create_datagram_endpoint(Echo, (CLUSTER_IP, 5353))
    await rig.put(rig.make(port(5353, "dns", "UDP")))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, (rig.address, 5353))
        await loop.sock_sendall(client, b"a")
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"echo a"
    transport.close()


async def test_two_services_on_one_address_have_their_own_ports(rig: Rig) -> None:
    async with await serve(8080, b"eight"), await serve(8081, b"nine"):
        await rig.put(rig.make(port(8080)))
        await rig.put(rig.make(port(8081), name="beside"), "beside")
        assert (await hear(rig.address, 8080), await hear(rig.address, 8081)) == (b"eight", b"nine")
        await rig.put(None)
        assert await hear(rig.address, 8081) == b"nine"
