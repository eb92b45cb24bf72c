"""A SPDY connection as the server sees it: streams that the client opens, each read and written by itself.

Called by remotecommand.py and portforward.py over any wire.Duplex. One stream that nobody reads holds at most ROOM
bytes; then the whole connection waits, which is all the flow control that this client understands.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from skerry.apiserver.streams import spdy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.api.wire import Duplex

ROOM = 1 << 20
MOST_STREAMS = 4096
_WAITING = 64
"""Streams that are open but not accepted yet; then the connection waits."""


class Stream:
    """One stream. `headers`: names in lower case."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.number, self.headers = number, headers
        self.finished = False
        """Whether our side has ended."""
        self._session = session
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = self._reset = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        """The next piece; b"" at the end, also if the client reset it or went away."""
        while not self._pieces:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._held -= len(piece)
        self._session.room()
        return piece

    @property
    def full(self) -> bool:
        return self._held > ROOM

    async def write(self, data: bytes) -> None:
        """ConnectionError if the client reset the stream or went away."""
        if self._reset or self.finished:
            raise ConnectionResetError("the stream is closed")
        for start in range(0, len(data), spdy.LONGEST):
            await self._session.send(spdy.data(self.number, data[start : start + spdy.LONGEST]))

    async def finish(self) -> None:
        """Nothing more comes from us; the other direction stays."""
        if not self.finished:
            self.finished = True
            if not self._reset:
                await self._session.send(spdy.data(self.number, b"", fin=True))
            self._session.settle(self)

    async def reset(self) -> None:
        """Ends both directions at once."""
        self.finished = True
        self.end(reset=True)
        await self._session.send(spdy.reset(self.number, spdy.CANCEL))

    # For the session.

    def feed(self, data: bytes, *, fin: bool) -> None:
        if data and not self._ended:
            self._pieces.append(data)
            self._held += len(data)
        if fin:
            self.end()
        self._changed.set()

    def end(self, *, reset: bool = False) -> None:
        if reset:
            self._reset = self.finished = True
            self._pieces.clear()
            self._held = 0
            self._session.room()
        self._ended = True
        self._changed.set()
        self._session.settle(self)

    @property
    def over(self) -> bool:
        return self._ended and self.finished


class Session:
    """`async with Session(duplex) as session`: reads in the background until the connection ends."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._codec = spdy.Codec()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue(_WAITING)
        self._lock = asyncio.Lock()
        self._room = asyncio.Event()
        self.gone = asyncio.Event()
        """The client has gone away."""
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Session:
        self._reading = asyncio.create_task(self._read(), name="SPDY session")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._over()

    async def streams(self) -> AsyncIterator[Stream]:
        """The streams that the client opens, until it has gone away."""
        while not (self.gone.is_set() and self._opened.empty()):
            stream = await self._opened.get()
            if stream is None:
                return
            yield stream

    async def send(self, data: bytes) -> None:
        """Sends whole frames. ConnectionError."""
        async with self._lock:
            if self.gone.is_set():
                raise ConnectionResetError("the client went away")
            await self._duplex.write(data)

    def settle(self, stream: Stream) -> None:
        """Forgets a stream whose both directions have ended."""
        if stream.over:
            self._streams.pop(stream.number, None)

    def room(self) -> None:
        """Somebody has read."""
        self._room.set()

    async def _read(self) -> None:
        try:
            while data := await self._duplex.read():
                for event in self._codec.feed(data):
                    await self._handle(event)
        except (ConnectionError, spdy.SpdyError):
            pass
        finally:
            self._over()

    def _over(self) -> None:
        self.gone.set()
        for stream in list(self._streams.values()):
            stream.finished = True
            stream.end()
        self._streams.clear()
        with contextlib.suppress(asyncio.QueueFull):
            self._opened.put_nowait(None)

    async def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened():
                await self._open(event)
            case spdy.Data():
                stream = self._streams.get(event.stream)
                if stream is not None:
                    stream.feed(event.data, fin=event.fin)
                    while stream.full:
                        self._room.clear()
                        await self._room.wait()
            case spdy.Reset():
                stream = self._streams.pop(event.stream, None)
                if stream is not None:
                    stream.end(reset=True)
            case spdy.Ping():
                await self.send(spdy.pong(event.id))
            case spdy.GoAway():
                pass  # it still reads what it has opened

    async def _open(self, event: spdy.Opened) -> None:
        if event.stream in self._streams or event.stream % 2 == 0:
            raise spdy.SpdyError(f"stream {event.stream} cannot be opened")
        if len(self._streams) >= MOST_STREAMS:
            await self.send(spdy.reset(event.stream, spdy.REFUSED_STREAM))
            return
        stream = self._streams[event.stream] = Stream(self, event.stream, event.headers)
        async with self._lock:
            await self._duplex.write(self._codec.reply(event.stream))
        if event.fin:
            stream.end()
        await self._opened.put(stream)
