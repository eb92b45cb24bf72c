"""NodePorts on the host's loopback: another namespace plays the host, the kernel's table picks the backends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import NODE_IP, Host, Network, bound
from tests.unit.proxy.build import port, service

from skerry.api.types import core, discovery
from skerry.clock import Clock, FakeClock, SystemClock
from skerry.netlink import namespace
from skerry.proxy.hostports import HostPort, HostPorts, target
from skerry.proxy.relay import tcp
from skerry.proxy.relay.udp import UDP_IDLE_SECONDS

HOST = "127.0.0.1"
VIP = "10.96.0.9"


class Rig:
    """A network, a host, and the host ports of a Service informer that the test plays."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.network = Network()
        self.host = Host(HOST, namespace.new())
        self.errors: list[str] = []
        self._subscribers: list[Callable[[Any, Any], None]] = []
        self._known: core.Service | None = None
        self._opened = asyncio.Event()
        made: Any = self
        self.ports = HostPorts(made, [NODE_IP], self._open, clock or SystemClock(), self._error)
        self.ports.start()

    def subscribe(self, call: Callable[[Any, Any], None]) -> None:
        self._subscribers.append(call)

    async def _open(self, kind: str, address: str, port: int) -> socket.socket:
        await asyncio.sleep(0)
        made = self.host.socket(socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        return bound(made, kind, address, port)

    def _error(self, found: core.Service, message: str) -> None:
        self.errors.append(f"{found.metadata.name}: {message}")

    async def put(self, found: core.Service | None, *pods: Host, **kwargs: Any) -> None:
        """The Service is now this one, in the kernel and in the informer; returns when the host's ports follow."""
        self.network.kernel.program(self.network.brain.table, self.network.brain.apply_service("default/web", found))
        self.network.endpoints(*pods, **kwargs)
        old, self._known = self._known, found
        for call in self._subscribers:
            call(old, found)
        for _ in range(20):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        await self.ports.close()
        self.network.finish()


def web(name: str = "web") -> core.Service:
    return service(name, VIP, port(80, node_port=30080), type="NodePort")


@in_network_namespace
async def test_opened_when_the_service_appears_and_closed_when_it_goes() -> None:
    rig = Rig()
    pods = [rig.network.pod() for _ in range(2)]
    for pod in pods:
        await pod.serve()
    with pytest.raises(ConnectionRefusedError):
        await rig.host.connect(HOST, 30080)
    await rig.put(web(), *pods)
    assert rig.ports.ports == [("127.0.0.1", "TCP", 30080)]
    found = await rig.host.spread(HOST, 30080, 30)
    assert set(found) == {one.ip for one in pods}
    await rig.put(service("web", VIP, port(80)), *pods)
    assert rig.ports.ports == []
    with pytest.raises(ConnectionRefusedError):
        await rig.host.connect(HOST, 30080)
    await rig.put(web(), *pods)
    assert (await rig.host.connect(HOST, 30080))[0] in found
    await rig.put(None)
    with pytest.raises(ConnectionRefusedError):
        await rig.host.connect(HOST, 30080)
    await rig.finish()


@in_network_namespace
async def test_p11_without_a_ready_endpoint_the_client_is_reset_at_once() -> None:
    rig = Rig()
    await rig.put(web())
    for _ in range(10):
        with pytest.raises(ConnectionError):
            await rig.host.connect(HOST, 30080, seconds=0.9)
    await rig.finish()


@pytest.mark.parametrize("pipe", [tcp._PIPE, 1 << 30], ids=["spliced", "copied, where nobody may have such pipes"])
@in_network_namespace
async def test_half_close_and_bulk_go_through_both_ways(pipe: int) -> None:
    tcp._PIPE = pipe  # in a process of its own
    rig = Rig()
    pod = rig.network.pod()
    total = 8_000_000

    async def echo_when_all_is_there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(-1)  # until the client's half-close
        writer.write(data)
        await writer.drain()
        writer.close()

    made = pod.do(lambda: socket.create_server(("0.0.0.0", 8080)))
    await asyncio.start_server(echo_when_all_is_there, sock=made)
    await rig.put(web(), pod)
    client = rig.host.socket()
    await asyncio.get_running_loop().sock_connect(client, (HOST, 30080))
    reader, writer = await asyncio.open_connection(sock=client)
    sent = bytes(range(256)) * (total // 256)
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()
    await rig.finish()


@in_network_namespace
async def test_a_reader_that_waits_makes_the_writer_wait() -> None:
    rig = Rig()
    pod = rig.network.pod()
    sent = 0

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000

    made = pod.do(lambda: socket.create_server(("0.0.0.0", 8080)))
    await asyncio.start_server(write, sock=made)
    await rig.put(web(), pod)
    client = rig.host.socket()
    await asyncio.get_running_loop().sock_connect(client, (HOST, 30080))
    last = -1
    while sent != last or not sent:  # until it stands still for a while
        last = sent
        await asyncio.sleep(0.2)
        assert sent < 64_000_000
    client.close()
    await rig.finish()


@in_network_namespace
async def test_a_backends_reset_reaches_the_client() -> None:
    rig = Rig()
    pod = rig.network.pod()
    made = pod.do(lambda: socket.create_server(("0.0.0.0", 8080)))
    made.setblocking(False)
    await rig.put(web(), pod)
    loop = asyncio.get_running_loop()
    with rig.host.socket() as client:
        await loop.sock_connect(client, (HOST, 30080))
        theirs, _ = await loop.sock_accept(made)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(loop.sock_recv(client, 10), 2)
    await rig.finish()


@in_network_namespace
async def test_connections_outlive_the_port_but_not_the_proxy() -> None:
    rig = Rig()
    pod = rig.network.pod()
    made = pod.do(lambda: socket.create_server(("0.0.0.0", 8080)))
    made.setblocking(False)
    await rig.put(web(), pod)
    loop = asyncio.get_running_loop()
    with rig.host.socket() as client:
        await loop.sock_connect(client, (HOST, 30080))
        theirs, _ = await loop.sock_accept(made)
        theirs.setblocking(False)
        await rig.put(service("web", VIP, port(80)), pod)
        await loop.sock_sendall(theirs, b"still here")
        assert await asyncio.wait_for(loop.sock_recv(client, 10), 2) == b"still here"
        await rig.ports.close()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(loop.sock_recv(client, 10), 2)
        theirs.close()
    await rig.finish()


@in_network_namespace
async def test_a_port_that_the_host_has_taken_is_told_and_tried_again_when_the_service_changes() -> None:
    rig = Rig()
    pod = rig.network.pod()
    await pod.serve()
    taken = await rig.host.serve(30080)
    await rig.put(web(), pod)
    assert rig.errors == ["web: node port 30080/TCP cannot be opened on 127.0.0.1: Address already in use"]
    assert rig.ports.ports == []
    taken.close()
    await rig.put(web(), pod)
    assert (await rig.host.connect(HOST, 30080))[0] == pod.ip
    assert len(rig.errors) == 1
    await rig.finish()


@in_network_namespace
async def test_datagrams_and_their_answers() -> None:
    clock = FakeClock()
    rig = Rig(clock)
    pod = rig.network.pod()
    await pod.serve_udp(5353)
    found = service("web", VIP, port(53, "dns", "UDP", 30053), type="NodePort")
    ports = [discovery.EndpointPort(name="dns", protocol="UDP", port=5353)]
    await rig.put(found, pod, ports=ports)
    for _ in range(3):
        assert (await rig.host.ask(HOST, 30053))[0] == pod.ip
    with rig.host.socket(socket.SOCK_DGRAM) as client:
        await asyncio.get_running_loop().sock_connect(client, (HOST, 30053))
        for _ in range(3):
            assert (await rig.host.ask(HOST, 30053, client))[0] == pod.ip
    relay = rig.ports._relays[HostPort(HOST, "UDP", 30053)]
    assert relay.connections == 4
    await clock.advance(UDP_IDLE_SECONDS)
    assert relay.connections == 0
    assert (await rig.host.ask(HOST, 30053))[0] == pod.ip
    await rig.put(None)
    with pytest.raises(ConnectionRefusedError):
        await rig.host.ask(HOST, 30053)
    await rig.finish()


@in_network_namespace
async def test_what_a_client_says_before_the_backend_is_reached_is_kept() -> None:
    rig = Rig()
    pod = rig.network.pod()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(-1))
        writer.close()

    made = pod.do(lambda: socket.create_server(("0.0.0.0", 8080)))
    await asyncio.start_server(echo, sock=made)
    await rig.put(web(), pod)
    loop = asyncio.get_running_loop()
    for said in (b"", b"x", bytes(100_000)):
        # All of it is in the kernel, the end as well, before the relay's first turn.
        client = rig.host.do(lambda: socket.create_connection((HOST, 30080)))
        client.setblocking(False)
        await asyncio.gather(loop.sock_sendall(client, said))
        client.shutdown(socket.SHUT_WR)
        reader, writer = await asyncio.open_connection(sock=client)
        assert await asyncio.wait_for(reader.read(-1), 5) == said
        writer.close()
    await rig.finish()


@pytest.mark.parametrize(
    ("service_ips", "node_ips", "leads"),
    [
        (["10.96.0.9"], ["10.243.0.2"], {"127.0.0.1": "10.243.0.2"}),
        (["fd00::9"], ["fd00:243::2"], {"127.0.0.1": "fd00:243::2", "::1": "fd00:243::2"}),
        (["fd00::9"], ["10.243.0.2", "fd00:243::2"], {"127.0.0.1": "fd00:243::2", "::1": "fd00:243::2"}),
        (["10.96.0.9"], ["10.243.0.2", "fd00:243::2"], {"127.0.0.1": "10.243.0.2", "::1": "10.243.0.2"}),
        (["10.96.0.9", "fd00::9"], ["10.243.0.2", "fd00:243::2"], {"127.0.0.1": "10.243.0.2", "::1": "fd00:243::2"}),
        (["fd00::9"], ["10.243.0.2"], {"127.0.0.1": ""}),
    ],
)
def test_a_loopback_leads_to_its_own_family_where_the_service_has_it_else_to_the_other(
    service_ips: list[str], node_ips: list[str], leads: dict[str, str]
) -> None:
    found = service("web", service_ips[0], cluster_i_ps=service_ips)
    assert {address: target(found, address, node_ips) for address in leads} == leads
