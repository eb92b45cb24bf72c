"""port-forward: many connections to ports of one pod, in one connection of the client's.

Over SPDY (by itself or inside of WebSocket messages) each forwarded connection is a pair of streams with one request
id, an error stream and a data stream; over plain WebSocket there is one connection a port, on channels 2n and 2n+1.
Each forwarded connection is one connection to the node agent, and one more stands for the pod: when it ends, the pod
has. `skerry port-forward` asks for each connection by itself and gets the node's own, whole. Called by app.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from skerry.api import frames, status
from skerry.api.numerals import whole
from skerry.api.wire import Request, Response
from skerry.apiserver import podparts
from skerry.apiserver.streams import channels, negotiate
from skerry.apiserver.streams.session import Session, Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from skerry.api.wire import Duplex
    from skerry.apiserver.podparts import NodeStreams
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server

    Connect = Callable[[int], Awaitable[Duplex]]

_OPENING = 30.0
"""Seconds in which a client opens both streams of a pair."""
_MOST_PORTS = 128


async def answer(server: Server, nodes: NodeStreams | None, target: Target, request: Request) -> Response:
    """The 101, or ApiError."""
    node, path = await podparts.whole_pod(server, target, "portForward")
    agreed = negotiate.port_forward(request)
    ports = [_port(text) for value in request.values("ports") for text in value.split(",")]
    if agreed.transport == "websocket" and not 0 < len(ports) <= _MOST_PORTS:
        raise status.bad_request('query parameter "ports" is required')
    if nodes is None:
        raise status.bad_request(f"pod {target.name} does not have a host assigned")
    if agreed.transport == "frames":
        if len(ports) != 1:
            raise status.bad_request('query parameter "ports" must be one port')
        node_end = await nodes.upgrade(node, Request("POST", path, {"port": str(ports[0])}), frames.PROTOCOL)
        return Response(101, headers=agreed.headers(), upgrade=lambda client: _splice(client, node_end))
    pod = await nodes.upgrade(node, Request("POST", path), frames.PROTOCOL)

    async def connect(port: int) -> Duplex:
        # At any refusal kubectl ends all that it forwards: while a container is starting again, its port is waited for.
        query = {"port": str(port), "patient": "true"}
        return await nodes.upgrade(node, Request("POST", path, query), frames.PROTOCOL)

    async def upgraded(client: Duplex) -> None:
        work = _channels(client, ports, connect) if agreed.transport == "websocket" else _spdy(client, connect)
        serving = asyncio.create_task(work, name="port-forward")
        ended = asyncio.create_task(_until_the_end(pod), name="port-forward: pod")
        try:
            await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            for task in (serving, ended):
                task.cancel()
            await asyncio.gather(serving, ended, return_exceptions=True)
            await pod.close()

    return Response(101, headers=agreed.headers(), upgrade=upgraded)


def _port(text: str) -> int:
    number = whole(text)
    if number is not None and 0 < number < 65536:
        return number
    raise status.bad_request(f"unable to parse {text!r} as a port")


async def _splice(client: Duplex, node: Duplex) -> None:
    """Carries bytes both ways until one side has ended."""

    async def copy(source: Duplex, target: Duplex) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read():
                await target.write(data)

    tasks = [asyncio.create_task(copy(*ends), name="forwarded connection") for ends in ((client, node), (node, client))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await node.close()


async def _until_the_end(pod: Duplex) -> None:
    while await pod.read():
        pass


# SPDY


class Pairs:
    """Streams become pairs: pure, but that it holds streams."""

    def __init__(self) -> None:
        self._waiting: dict[str, Stream] = {}

    def add(self, stream: Stream) -> tuple[Stream, Stream] | None:
        """(error, data) if the other one is there already. ValueError that says what is wrong with its headers."""
        kind, request = stream.headers.get("streamtype", ""), stream.headers.get("requestid", "")
        if kind not in ("error", "data"):
            raise ValueError(f"invalid stream type {kind!r}")
        if not request:
            raise ValueError('"requestID" header is required')
        _port(stream.headers.get("port", ""))
        other = self._waiting.pop(request, None)
        if other is None:
            self._waiting[request] = stream
            return None
        if other.headers["streamtype"] == kind:
            raise ValueError(f"request {request} has two streams of type {kind}")
        return (other, stream) if kind == "data" else (stream, other)

    def forget(self, stream: Stream) -> bool:
        """A stream whose other one did not come; False if it did."""
        request = stream.headers.get("requestid", "")
        return self._waiting.get(request) is stream and self._waiting.pop(request) is stream


async def _spdy(client: Duplex, connect: Connect) -> None:
    pairs = Pairs()
    loop = asyncio.get_running_loop()
    async with Session(client) as session, _Tasks() as tasks:
        async for stream in session.streams():
            try:
                pair = pairs.add(stream)
            except (ValueError, status.ApiError):
                await stream.reset()
                continue
            if pair is not None:
                tasks.add(_pair(*pair, connect))
            else:
                tasks.timers.append(loop.call_later(_OPENING, _lonely, pairs, stream, tasks))
                tasks.timers = [one for one in tasks.timers if one.when() > loop.time()]


def _lonely(pairs: Pairs, stream: Stream, tasks: _Tasks) -> None:
    if pairs.forget(stream):
        tasks.add(stream.reset())


class _Tasks:
    """What runs beside, ended together."""

    def __init__(self) -> None:
        self.timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            with contextlib.suppress(ConnectionError):
                await work

        task = asyncio.create_task(run(), name="forwarded connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __aenter__(self) -> _Tasks:
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self.timers:
            timer.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pair(error: Stream, data: Stream, connect: Connect) -> None:
    try:
        problem = await forward(int(data.headers["port"]), connect, data.read, data.write, data.finish)
        if problem:
            await error.write(problem)
    finally:
        # Both streams end on our side, so that the client can count this connection as done.
        with contextlib.suppress(ConnectionError):
            await data.finish()
        with contextlib.suppress(ConnectionError):
            await error.finish()


async def forward(
    port: int,
    connect: Connect,
    read: Callable[[], Awaitable[bytes]],
    write: Callable[[bytes], Awaitable[None]],
    finish: Callable[[], Awaitable[None]],
) -> bytes:
    """Joins a client's half to a port of the pod until the pod's side ends; what went wrong, for people, or b"".

    `finish` tells the client that nothing more comes from the pod, which may still be reading.
    """
    try:
        node = await connect(port)
    except status.ApiError as refusal:
        return f"error forwarding port {port} to pod: {refusal.message}".encode()

    async def inward() -> None:
        try:
            while data := await read():
                await node.write(frames.encode(frames.STDIN, data))
            await node.write(frames.encode(frames.CLOSE, bytes([frames.STDIN])))
        except ConnectionError:
            pass

    task = asyncio.create_task(inward(), name="forwarded connection, inward")
    try:
        decoder = frames.Decoder()
        while data := await node.read():
            for channel, content in decoder.feed(data):
                match channel:
                    case frames.STDOUT:
                        await write(content)
                    case frames.CLOSE:
                        await finish()
                    case frames.STATUS:
                        return content
        return b"lost connection to the pod"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await node.close()


# Plain WebSocket


async def _channels(client: Duplex, ports: list[int], connect: Connect) -> None:
    for index, port in enumerate(ports):
        for message in channels.port_greeting(index, port):
            await client.write(message)
    # A queue a port: a pod that does not read holds up the others only when its queue is full.
    queues: list[asyncio.Queue[bytes]] = [asyncio.Queue(64) for _ in ports]
    async with _Tasks() as tasks:
        left = asyncio.Event()
        running = set(range(len(ports)))

        async def one(index: int, port: int) -> None:
            async def write(data: bytes) -> None:
                await client.write(channels.outgoing(2 * index, data))

            async def finish() -> None:
                await queues[index].put(b"")  # this protocol cannot say it: one direction's end is the other's

            problem = await forward(port, connect, queues[index].get, write, finish)
            if problem:
                await client.write(channels.outgoing(2 * index + 1, problem))
            running.discard(index)
            while not queues[index].empty():
                queues[index].get_nowait()
            if not running:
                left.set()

        async def receive() -> None:
            while message := await client.read():
                index, odd = divmod(message[0], 2)
                if index in running and not odd and len(message) > 1:
                    await queues[index].put(message[1:])
            left.set()

        for index, port in enumerate(ports):
            tasks.add(one(index, port))
        tasks.add(receive())
        await left.wait()
