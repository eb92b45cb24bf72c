"""One request to the node's server and the ways to answer it. Made by server.py, used by the routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import h11

from skerry.api.status import bad_request
from skerry.api.wire import truth
from skerry.client.http import StreamDuplex

if TYPE_CHECKING:
    from skerry.api.status import ApiError

_READ = 1 << 16


@dataclass
class Call:
    """A request. `path` is split at its slashes and unquoted; `body` can be read once."""

    method: str
    path: list[str]
    query: dict[str, str]
    raw_query: str
    connection: h11.Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answered: bool = field(default=False)

    def flag(self, name: str) -> bool:
        return truth(self.query.get(name))

    def values(self, name: str) -> list[str]:
        """All values of a repeated query parameter, in order."""
        return parse_qs(self.raw_query, keep_blank_values=True).get(name, [])

    async def upgrade(self, protocol: str) -> StreamDuplex:
        """Switches to another protocol. ApiError 400 if that was not asked for."""
        async for _ in self.body():
            pass
        if str(self.connection.their_state) != "MIGHT_SWITCH_PROTOCOL":
            raise bad_request(f"an upgrade to {protocol} is required")
        self.answered = True
        headers = [("connection", "Upgrade"), ("upgrade", protocol)]
        self._send(h11.InformationalResponse(status_code=101, headers=headers))
        return StreamDuplex(self.reader, self.writer, self.connection.trailing_data[0])

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body in pieces. EOFError if it is cut off."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise EOFError("the request was cut off")  # noqa: TRY004 - it is the connection that is wrong

    async def _event(self) -> object:
        while True:
            event = self.connection.next_event()
            if event is h11.NEED_DATA:
                if self.connection.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self.connection.receive_data(await self.reader.read(_READ))
            else:
                return event

    async def answer(self, code: int, body: bytes, content_type: str = "application/json") -> None:
        """A whole answer."""
        headers = [("content-type", content_type), ("content-length", str(len(body)))]
        self.answered = True
        self._send(h11.Response(status_code=code, headers=headers))
        self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())
        await self.writer.drain()

    async def refuse(self, error: ApiError) -> None:
        """A Status."""
        from skerry.api import codec

        await self.answer(error.code, codec.encode(error.status()))

    async def stream(self, pieces: AsyncIterator[bytes], content_type: str = "text/plain") -> None:
        """A chunked answer, until `pieces` ends or nobody listens any more."""
        self.answered = True
        self._send(h11.Response(status_code=200, headers=[("content-type", content_type)]))
        sending = asyncio.ensure_future(self._pieces(pieces))
        gone = asyncio.ensure_future(self.reader.read(1))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise EOFError("nobody listens any more")
            sending.result()
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def _pieces(self, pieces: AsyncIterator[bytes]) -> None:
        await self.writer.drain()
        async for piece in pieces:
            self._send(h11.Data(data=piece))
            await self.writer.drain()
        self._send(h11.EndOfMessage())
        await self.writer.drain()

    def _send(self, event: h11.Event) -> None:
        data = self.connection.send(event)
        if data:
            self.writer.write(data)
