"""The bridges over real sockets: our edge with aiohttp on one side, a node that the test plays on the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.helpers import server as helper

from skerry.api import frames, status
from skerry.api.types import core, meta
from skerry.api.wire import Duplex, Request, Response
from skerry.apiserver.app import App
from skerry.apiserver.edge import Edge
from skerry.apiserver.streams import spdy
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport, StreamDuplex

POD = "/api/v1/namespaces/default/pods/p"
PATIENCE = 10


class Nodes:
    """Plays the node agents: hands the other end of a socketpair to the test."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Request]] = []
        self.ends: asyncio.Queue[Node] = asyncio.Queue()
        self.refuses: status.ApiError | None = None

    async def __call__(self, node: str, request: Request) -> Response:
        raise AssertionError

    async def upgrade(self, node: str, request: Request, protocol: str) -> Duplex:
        self.asked.append((node, request))
        if self.refuses is not None and (request.query or request.path.startswith("/exec")):
            raise self.refuses
        here, there = socket.socketpair()
        await self.ends.put(Node(StreamDuplex(*await asyncio.open_connection(sock=there))))
        return StreamDuplex(*await asyncio.open_connection(sock=here))

    async def next(self) -> Node:
        async with asyncio.timeout(PATIENCE):
            return await self.ends.get()


class Node:
    def __init__(self, duplex: StreamDuplex) -> None:
        self.duplex, self._decoder = duplex, frames.Decoder()
        self._frames: list[frames.Frame] = []

    async def frame(self) -> frames.Frame | None:
        """The next one; None at the end."""
        async with asyncio.timeout(PATIENCE):
            while not self._frames:
                data = await self.duplex.read()
                if not data:
                    return None
                self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    async def say(self, channel: int, data: bytes) -> None:
        await self.duplex.write(frames.encode(channel, data))


class World:
    def __init__(self, nodes: Nodes, path: str, edge: Edge) -> None:
        self.nodes, self.path, self.edge = nodes, path, edge
        self.transport = HttpTransport(Address(unix=path), token="secret")

    async def spdy(self, path: str, query: str, protocol: str) -> Spdy:
        request = Request("POST", POD + path, raw_query=query, headers={"x-stream-protocol-version": protocol})
        return Spdy(await self.transport.upgrade(request, "SPDY/3.1"))

    @contextlib.asynccontextmanager
    async def websocket(self, path: str, *protocols: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        connector = aiohttp.UnixConnector(self.path)
        async with (
            aiohttp.ClientSession(connector=connector, headers={"authorization": "Bearer secret"}) as session,
            session.ws_connect("http://localhost" + POD + path, protocols=protocols) as made,
        ):
            yield made


class Spdy:
    """A SPDY client."""

    def __init__(self, duplex: StreamDuplex) -> None:
        self.duplex, self.codec = duplex, spdy.Codec()
        self._events: list[Any] = []
        self._number = -1

    async def open(self, **headers: str) -> int:
        self._number += 2
        await self.duplex.write(self.codec.open(self._number, headers))
        assert await self.event() == spdy.Data(self._number, b"", fin=False)  # the reply
        return self._number

    async def event(self) -> Any:
        """The next one; None at the end."""
        async with asyncio.timeout(PATIENCE):
            while not self._events:
                data = await self.duplex.read()
                if not data:
                    return None
                self._events += self.codec.feed(data)
        return self._events.pop(0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    before, tasks = _descriptors(), len(asyncio.all_tasks())
    api = await helper.start()
    spec = core.PodSpec(containers=[core.Container(name="c", image="i")], node_name="node-1")
    await api.client.create(core.Pod(metadata=meta.ObjectMeta(name="p", namespace="default"), spec=spec))
    nodes = Nodes()
    app = App(api.app.server, {"secret": helper.ADMIN}.get, nodes)
    app.ready = True
    edge = Edge(app)
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "s")
    listener.bind(path)
    await edge.listen(listener, None)
    made = World(nodes, path, edge)
    yield made
    await made.transport.close()
    await edge.close()
    await api.store.close()
    async with asyncio.timeout(PATIENCE):  # nothing may be left: no descriptor and no task
        while _descriptors() > before or len(asyncio.all_tasks()) > tasks:  # noqa: ASYNC110 - neither says when it is gone
            await asyncio.sleep(0.01)


def _descriptors() -> int:
    """Open sockets and pipes; the event loop keeps a descriptor of /dev/null in reserve."""
    found = []
    for one in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of this list
            found.append(os.readlink(f"/proc/self/fd/{one}"))
    return sum(one.startswith(("socket:", "pipe:")) for one in found)


EXEC = "command=sh&command=-c&command=a%20b&stdin=true&stdout=true&stderr=true"


async def test_exec_over_websocket_v5(world: World) -> None:
    async with world.websocket(f"/exec?{EXEC}", "v5.channel.k8s.io", "v4.channel.k8s.io") as client:
        assert client.protocol == "v5.channel.k8s.io"
        assert await client.receive_bytes() == b"\1"  # it stands
        node = await world.nodes.next()
        name, asked = world.nodes.asked[0]
        assert (name, asked.path, asked.values("command")) == ("node-1", "/exec/default/p/c", ["sh", "-c", "a b"])
        await client.send_bytes(b"\0in")
        await client.send_bytes(b"\xff\0")
        assert [await node.frame(), await node.frame()] == [(frames.STDIN, b"in"), (frames.CLOSE, b"\0")]
        await node.say(frames.STDOUT, b"out")
        await node.say(frames.STDERR, b"err")
        await node.say(frames.STATUS, b"{}")
        assert [await client.receive_bytes() for _ in range(3)] == [b"\1out", b"\2err", b"\3{}"]
        assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE
        assert await node.frame() is None
        await node.duplex.close()


async def test_exec_over_spdy(world: World) -> None:
    client = await world.spdy("/exec", EXEC, "v5.channel.k8s.io, v4.channel.k8s.io")
    node = await world.nodes.next()
    numbers = {name: await client.open(streamtype=name) for name in ("error", "stdin", "stdout", "stderr")}
    await client.duplex.write(spdy.data(numbers["stdin"], b"in", fin=True) + spdy.pong(5))
    assert [await node.frame(), await node.frame()] == [(frames.STDIN, b"in"), (frames.CLOSE, b"\0")]
    assert await client.event() == spdy.Ping(5)
    await node.say(frames.STDOUT, b"out")
    assert await client.event() == spdy.Data(numbers["stdout"], b"out", fin=False)
    await node.say(frames.STATUS, b"{}")
    assert await client.event() == spdy.Data(numbers["error"], b"{}", fin=False)
    ended = {(await client.event()).stream for _ in range(4)}
    assert ended == set(numbers.values())
    await client.duplex.close()
    assert await node.frame() is None
    await node.duplex.close()


@pytest.mark.parametrize("kind", ["spdy", "websocket"])
async def test_a_client_that_goes_away_is_noticed_at_the_node(world: World, kind: str) -> None:
    if kind == "websocket":
        async with world.websocket(f"/exec?{EXEC}", "v4.channel.k8s.io"):
            node = await world.nodes.next()
    else:
        client = await world.spdy("/exec", EXEC, "v4.channel.k8s.io")
        node = await world.nodes.next()
        for name in ("error", "stdin", "stdout", "stderr"):
            await client.open(streamtype=name)
        await client.duplex.close()
    assert await node.frame() is None
    await node.duplex.close()


async def test_a_node_that_goes_away_is_told_to_the_client(world: World) -> None:
    async with world.websocket(f"/exec?{EXEC}", "v5.channel.k8s.io") as client:
        await (await world.nodes.next()).duplex.close()
        await client.receive_bytes()
        said = await client.receive_bytes()
    assert said[0] == 3 and b'"Failure"' in said


async def test_backpressure_reaches_the_node(world: World) -> None:
    """A client that does not read stops the node; nothing grows without bound."""
    client = await world.spdy("/exec", EXEC, "v4.channel.k8s.io")
    node = await world.nodes.next()
    for name in ("error", "stdin", "stdout", "stderr"):
        await client.open(streamtype=name)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 100 << 20:
            async with asyncio.timeout(1):
                await node.say(frames.STDOUT, bytes(1 << 20))
            sent += 1 << 20
    assert sent < 20 << 20
    await client.duplex.close()
    await node.duplex.close()


async def test_refusals_come_before_the_upgrade(world: World) -> None:
    for query, words in (
        ("stdout=true", "at least 1 command"),
        ("command=a", "at least 1 of stdin, stdout, stderr"),
        ("command=a&stdout=true&container=x", "container x is not valid for pod p"),
    ):
        with pytest.raises(status.ApiError, match=words):
            await world.spdy("/exec", query, "v4.channel.k8s.io")
    world.nodes.refuses = status.ApiError(500, 'unable to upgrade connection: container not found ("c")')
    with pytest.raises(status.ApiError, match="container not found"):
        await world.spdy("/exec", EXEC, "v4.channel.k8s.io")
    with pytest.raises(status.ApiError, match='pods "q" not found'):
        await Client(world.transport).raw("POST", POD[:-1] + "q/exec", {"command": "a", "stdout": "true"})


@pytest.mark.parametrize(
    "garbage", [b"\0" * 7, b"\x80\x02\0\1\0\0\0\x0a" + bytes(10), b"\x80\x03\0\1\0\0\0\x0a" + b"\xff" * 10]
)
async def test_nonsense_ends_the_connection(world: World, garbage: bytes) -> None:
    client = await world.spdy("/portforward", "", "portforward.k8s.io")
    pod = await world.nodes.next()
    await client.duplex.write(garbage)
    if len(garbage) == 7:
        await client.duplex.close()
    else:
        assert await client.event() is None
        await client.duplex.close()
    assert await pod.frame() is None
    await pod.duplex.close()


async def test_a_closed_port_gives_a_message_and_the_session_goes_on(world: World) -> None:
    client = await world.spdy("/portforward", "", "portforward.k8s.io")
    pod = await world.nodes.next()
    world.nodes.refuses = status.ApiError(500, "connection refused")
    error = await client.open(streamtype="error", port="81", requestid="0")
    data = await client.open(streamtype="data", port="81", requestid="0")
    events = [await client.event() for _ in range(3)]
    message = b"error forwarding port 81 to pod: connection refused"
    assert spdy.Data(error, message, fin=False) in events
    assert {spdy.Data(data, b"", fin=True), spdy.Data(error, b"", fin=True)} < set(events)
    world.nodes.refuses = None
    error = await client.open(streamtype="error", port="80", requestid="1")
    data = await client.open(streamtype="data", port="80", requestid="1")
    node = await world.nodes.next()
    await client.duplex.write(spdy.data(data, b"hello", fin=True))
    assert [await node.frame(), await node.frame()] == [(frames.STDIN, b"hello"), (frames.CLOSE, b"\0")]
    await node.say(frames.STDOUT, b"world")
    assert await client.event() == spdy.Data(data, b"world", fin=False)
    await node.say(frames.STATUS, b"")
    assert {(await client.event()).stream for _ in range(2)} == {data, error}
    await client.duplex.close()
    for one in (pod, node):
        assert await one.frame() is None
        await one.duplex.close()


async def test_the_pods_end_ends_a_port_forward(world: World) -> None:
    client = await world.spdy("/portforward", "", "portforward.k8s.io")
    await (await world.nodes.next()).duplex.close()
    assert await client.event() is None
    await client.duplex.close()


async def test_port_forward_by_channels(world: World) -> None:
    async with world.websocket("/portforward?ports=80&ports=81", "v4.channel.k8s.io") as client:
        pod = await world.nodes.next()
        greeting = [await client.receive_bytes() for _ in range(4)]
        assert greeting == [bytes([channel]) + struct.pack("<H", 80 + channel // 2) for channel in range(4)]
        first, second = await world.nodes.next(), await world.nodes.next()
        ports = [request.query.get("port") for _, request in world.nodes.asked[1:]]
        if ports == ["81", "80"]:
            first, second = second, first
        await client.send_bytes(b"\2to 81")
        assert await second.frame() == (frames.STDIN, b"to 81")
        await first.say(frames.STDOUT, b"of 80")
        assert await client.receive_bytes() == b"\0of 80"
        await second.say(frames.STATUS, b"it broke")
        assert await client.receive_bytes() == b"\3it broke"
        await first.say(frames.STATUS, b"")
        assert (await client.receive()).type is aiohttp.WSMsgType.CLOSE
    for one in (pod, first, second):
        assert await one.frame() is None
        await one.duplex.close()


async def test_port_forward_by_frames_is_the_nodes_own_connection(world: World) -> None:
    """What `skerry port-forward` asks for: one connection, refused before the upgrade if the pod refuses it."""
    asked = Request("POST", POD + "/portforward", {"ports": "80"})
    client = Node(await world.transport.upgrade(asked, frames.PROTOCOL))
    pod = await world.nodes.next()
    assert world.nodes.asked[-1][1].query == {"port": "80"}
    await client.say(frames.STDIN, b"in")
    assert await pod.frame() == (frames.STDIN, b"in")
    await pod.say(frames.STDOUT, b"x" * 200_000)
    assert await client.frame() == (frames.STDOUT, b"x" * 200_000)
    await pod.duplex.close()
    assert await client.frame() is None
    world.nodes.refuses = status.ApiError(500, "connection refused")
    with pytest.raises(status.ApiError, match="connection refused"):
        await world.transport.upgrade(asked, frames.PROTOCOL)
    with pytest.raises(status.ApiError, match="must be one port"):
        await world.transport.upgrade(Request("POST", POD + "/portforward", {}), frames.PROTOCOL)
    await client.duplex.close()


async def test_the_server_ends_with_streams_open(world: World) -> None:
    client = await world.spdy("/portforward", "", "portforward.k8s.io")
    pod = await world.nodes.next()
    closing = asyncio.create_task(world.edge.close())
    assert await pod.frame() is None
    await pod.duplex.close()
    await client.duplex.close()
    await closing
