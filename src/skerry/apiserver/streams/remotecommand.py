"""exec and attach: a client's WebSocket or SPDY streams on one side, frames to the node agent on the other.

Called by app.py. The node is asked before the client gets its 101, so that it still can be told what is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from skerry.api import frames, status
from skerry.api.wire import Request, Response
from skerry.apiserver import podparts
from skerry.apiserver.streams import channels, negotiate
from skerry.apiserver.streams.negotiate import Agreed
from skerry.apiserver.streams.session import Session, Stream

if TYPE_CHECKING:
    from skerry.api.wire import Duplex
    from skerry.apiserver.podparts import NodeStreams
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server

_OPENING = 30.0
"""Seconds in which the client opens all its streams."""
_NAMES = {
    "stdin": frames.STDIN, "stdout": frames.STDOUT, "stderr": frames.STDERR, "error": frames.STATUS,
    "resize": frames.RESIZE,
}  # fmt: skip


class _Client(Protocol):
    """The client's side, whatever it speaks."""

    async def receive(self) -> frames.Frame | None:
        """STDIN, RESIZE or CLOSE; None when the client has gone away."""

    async def send(self, channel: int, data: bytes) -> None:
        """STDOUT, STDERR or STATUS. ConnectionError."""

    async def finish(self) -> None:
        """Everything was sent."""


async def answer(server: Server, nodes: NodeStreams | None, target: Target, request: Request) -> Response:
    """The 101, or ApiError."""
    node, path = await podparts.container(server, target, request, target.subresource)
    wanted = {name for name in ("stdin", "stdout", "stderr") if request.flag(name)}
    tty = request.flag("tty")
    if not wanted:
        raise status.bad_request("you must specify at least 1 of stdin, stdout, stderr")
    if tty:
        wanted.discard("stderr")
    if target.subresource == "exec" and not request.values("command"):
        raise status.bad_request("you must specify at least 1 command for the container")
    agreed = negotiate.remote_command(request)
    if nodes is None:
        raise status.bad_request(f"pod {target.name} does not have a host assigned")
    asked = Request("POST", path, request.query, raw_query=request.raw_query)
    duplex = await nodes.upgrade(node, asked, frames.PROTOCOL)

    async def upgraded(client: Duplex) -> None:
        try:
            await _serve(client, duplex, agreed, wanted, tty=tty)
        finally:
            await duplex.close()

    return Response(101, headers=agreed.headers(), upgrade=upgraded)


async def _serve(client: Duplex, node: Duplex, agreed: Agreed, wanted: set[str], *, tty: bool) -> None:
    if agreed.transport == "websocket":
        await bridge(await _WebSocket.open(client, agreed.protocol, wanted), node)
        return
    async with Session(client) as session:
        names = wanted | {"error"} | ({"resize"} if tty else set())
        streams: dict[str, Stream] = {}
        async with asyncio.timeout(_OPENING):
            async for stream in session.streams():
                name = stream.headers.get("streamtype", "")
                if name not in names or name in streams:
                    await stream.reset()
                    continue
                streams[name] = stream
                if len(streams) == len(names):
                    break
        if len(streams) == len(names):
            async with _Spdy(session, streams) as spoken:
                await bridge(spoken, node)


async def bridge(client: _Client, node: Duplex) -> None:
    """Carries frames both ways until the node says how it ended, or one side has gone away."""
    inward = asyncio.create_task(_inward(client, node), name="stream to the node")
    outward = asyncio.create_task(_outward(client, node), name="stream to the client")
    try:
        # When the client has gone away the node must hear of it at once: it ends the process.
        await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
        if outward.done():
            outward.result()
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)


async def _inward(client: _Client, node: Duplex) -> None:
    ended = False
    while (frame := await client.receive()) is not None:
        if not ended:
            try:
                await node.write(frames.encode(*frame))
            except ConnectionError:
                ended = True  # what it still said is being sent; the rest of what the client says is read all the same


async def _outward(client: _Client, node: Duplex) -> None:
    decoder = frames.Decoder()
    while data := await node.read():
        for channel, content in decoder.feed(data):
            if channel == frames.CLOSE:
                continue
            await client.send(channel, content)
            if channel == frames.STATUS:
                await client.finish()
                return
    error = status.ApiError(500, "Internal error occurred: the node ended the stream", reason="InternalError")
    from skerry.api import codec

    await client.send(frames.STATUS, codec.encode(error.status()))
    await client.finish()


class _WebSocket:
    def __init__(self, duplex: Duplex, protocol: str, wanted: set[str]) -> None:
        self._duplex, self._protocol = duplex, protocol
        self._out = {_NAMES[name] for name in wanted} | {frames.STATUS}

    @classmethod
    async def open(cls, duplex: Duplex, protocol: str, wanted: set[str]) -> _WebSocket:
        """Tells the client by an empty message that the connection stands, as upstream does."""
        made = cls(duplex, protocol, wanted)
        first = min(one for one in made._out if one != frames.STDIN)
        await duplex.write(channels.outgoing(first, b""))
        return made

    async def receive(self) -> frames.Frame | None:
        while message := await self._duplex.read():
            frame = channels.incoming(message, self._protocol)
            if frame is not None:
                return frame
        return None

    async def send(self, channel: int, data: bytes) -> None:
        if channel in self._out:
            await self._duplex.write(channels.outgoing(channel, data))

    async def finish(self) -> None:
        pass


class _Spdy:
    def __init__(self, session: Session, streams: dict[str, Stream]) -> None:
        self._session = session
        self._streams = {_NAMES[name]: stream for name, stream in streams.items()}
        self._frames: asyncio.Queue[frames.Frame] = asyncio.Queue(1)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Spdy:
        for channel in (frames.STDIN, frames.RESIZE):
            if channel in self._streams:
                self._tasks.append(asyncio.create_task(self._read(channel), name="SPDY stream"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, channel: int) -> None:
        stream = self._streams[channel]
        while data := await stream.read():
            await self._frames.put((channel, data))
        if not self._session.gone.is_set():
            await self._frames.put((frames.CLOSE, bytes([channel])))

    async def receive(self) -> frames.Frame | None:
        getting = asyncio.ensure_future(self._frames.get())
        gone = asyncio.ensure_future(self._session.gone.wait())
        try:
            await asyncio.wait((getting, gone), return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()
            gone.cancel()

    async def send(self, channel: int, data: bytes) -> None:
        stream = self._streams.get(channel)
        if stream is not None:
            await stream.write(data)

    async def finish(self) -> None:
        for channel in (frames.STDOUT, frames.STDERR, frames.STATUS, frames.STDIN, frames.RESIZE):
            if channel in self._streams:
                with contextlib.suppress(ConnectionError):
                    await self._streams[channel].finish()
        # The client closes when it has everything; to close first could lose the end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await self._session.gone.wait()
