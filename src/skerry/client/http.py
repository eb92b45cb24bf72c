"""The client's sockets: HTTP/1.1 over TCP, TLS or a unix socket, by h11. Called by whoever lives outside the server.

h11 rather than a whole HTTP library because every node process loads this: it imports in milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import h11

from skerry.api.status import ApiError, from_status
from skerry.api.wire import Request, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

_READ = 1 << 16
_IDLE = 16


@dataclass(frozen=True)
class Address:
    """Where the server is: a unix socket's path, or host and port with a TLS context or None for plain HTTP.

    `server_name` is the name that the certificate is for, where it is not the host's; `prefix` goes before every path.
    """

    unix: str = ""
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    prefix: str = ""

    @property
    def text(self) -> str:
        return self.unix or f"{self.host}:{self.port}"


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.protocol = h11.Connection(h11.CLIENT)
        self.used = False

    def close(self) -> None:
        self.writer.close()

    async def event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self.protocol.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            self.protocol.receive_data(await self.reader.read(_READ))

    async def next(self) -> h11.Event | type[h11.PAUSED]:
        """The next event of an answer that has begun. EOFError if it breaks off."""
        try:
            return await self.event()
        except h11.RemoteProtocolError as error:
            raise EOFError(f"the answer broke off: {error}") from None


class StreamDuplex:
    """A wire.Duplex of asyncio's streams. `begin`: bytes that were read already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: bytes = b"") -> None:
        self._reader, self._writer, self._begin = reader, writer, begin

    async def read(self) -> bytes:
        begin, self._begin = self._begin, b""
        try:
            return begin or await self._reader.read(_READ)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _keep_alive(channel: socket.socket) -> None:
    """A watch only listens: without this it would never learn that a server has gone without a word."""
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        channel.setsockopt(socket.IPPROTO_TCP, option, value)


class HttpTransport:
    """A client.Transport. Connections are kept and used again; `token`, which may change, goes with every request."""

    def __init__(self, address: Address, *, token: str = "") -> None:
        self._address, self.token = address, token
        self._idle: list[_Connection] = []

    async def close(self) -> None:
        """Closes the connections that are not in use."""
        idle, self._idle = self._idle, []
        for one in idle:
            one.close()
            with contextlib.suppress(OSError):
                await one.writer.wait_closed()

    async def __call__(self, request: Request) -> Response:
        """ApiError 503 if the server cannot be reached."""
        head = self._head(request)
        while True:
            connection = await self._connection()
            again = connection.used
            try:
                response = await self._exchange(connection, head, request.body)
            except (OSError, h11.RemoteProtocolError, EOFError) as error:
                connection.close()
                # A kept connection may have been closed by the server meanwhile: nothing was answered, ask again.
                if again:
                    continue
                raise ApiError(
                    503, f"the API server at {self._address.text} does not answer: {error}", reason="ServiceUnavailable"
                ) from error
            except BaseException:
                connection.close()
                raise
            return response

    async def upgrade(self, request: Request, protocol: str) -> StreamDuplex:
        """Asks for another protocol; its connection, the caller's to close. ApiError as the server says, or 503."""
        request.headers |= {"connection": "Upgrade", "upgrade": protocol}
        connection = await self._connection()
        try:
            response = await self._exchange(connection, self._head(request), b"")
            if response.status == 101:
                return StreamDuplex(connection.reader, connection.writer, connection.protocol.trailing_data[0])
            body = response.body
            whole = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
        except (OSError, h11.RemoteProtocolError, EOFError) as error:
            connection.close()
            text = f"{self._address.text} does not answer: {error}"
            raise ApiError(503, text, reason="ServiceUnavailable") from error
        except BaseException:
            connection.close()
            raise
        try:
            said = json.loads(whole)
        except ValueError:
            said = whole.decode(errors="replace")
        raise from_status(response.status, said)

    def _head(self, request: Request) -> h11.Request:
        target = self._address.prefix + quote(request.path, safe="/:@!$&'()*+,;=~%")
        if request.raw_query or request.query:
            target += "?" + (request.raw_query or urlencode(request.query))
        headers = [("host", self._address.host or "localhost"), *request.headers.items()]
        if self.token:
            headers.append(("authorization", f"Bearer {self.token}"))
        headers.append(("content-length", str(len(request.body))))
        return h11.Request(method=request.method, target=target, headers=headers)

    async def _connection(self) -> _Connection:
        if self._idle:
            return self._idle.pop()
        address = self._address
        try:
            if address.unix:
                streams = await asyncio.open_unix_connection(address.unix, limit=1 << 20)
            else:
                name = address.server_name or None
                streams = await asyncio.open_connection(
                    address.host, address.port, ssl=address.tls, server_hostname=name, limit=1 << 20
                )
        except OSError as error:
            from skerry import linux

            text = f"the API server at {address.text} cannot be reached: {linux.reason(error)}"
            raise ApiError(503, text, reason="ServiceUnavailable") from error
        if not address.unix:
            _keep_alive(streams[1].get_extra_info("socket"))
        return _Connection(*streams)

    async def _exchange(self, connection: _Connection, head: h11.Request, body: bytes) -> Response:
        connection.used = True
        protocol = connection.protocol
        data = protocol.send(head) or b""
        if body:
            data += protocol.send(h11.Data(data=body)) or b""
        data += protocol.send(h11.EndOfMessage()) or b""
        if connection.writer.is_closing():  # uvloop's cannot be written to then
            raise ConnectionResetError("the connection is closed")
        connection.writer.write(data)
        await connection.writer.drain()
        event = await connection.event()
        while isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                return Response(101)
            event = await connection.event()
        if not isinstance(event, h11.Response):  # the end of the connection is an event too
            raise EOFError("the connection was closed before the answer came")  # noqa: TRY004
        headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
        pieces = self._pieces(connection)
        if "content-length" in headers:
            return Response(event.status_code, b"".join([piece async for piece in pieces]), headers)
        return Response(event.status_code, pieces, headers)

    async def _pieces(self, connection: _Connection) -> AsyncIterator[bytes]:
        try:
            while True:
                event = await connection.next()
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    raise EOFError("the connection was closed in the middle of an answer")  # noqa: TRY004
        except BaseException:
            connection.close()
            raise
        if connection.protocol.our_state is h11.DONE and connection.protocol.their_state is h11.DONE:
            connection.protocol.start_next_cycle()
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.close()
