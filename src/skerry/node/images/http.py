"""A small HTTP/1.1 client for registries: GET, bodies as streams, connections kept for the next request.

Used by the registry client alone. Sockets come from a function, since the node has no way out of its own: they are born
in the host's network namespace. h11 knows the protocol; here are only the waiting and the limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import h11

from skerry import linux

Connect = Callable[[str, int], Awaitable[socket.socket]]

CONNECT_TIMEOUT = 10.0  # seconds until connected and TLS is agreed
READ_TIMEOUT = 60.0  # seconds of silence in the middle of an answer
_CHUNK = 256 * 1024
_IDLE_PER_ORIGIN = 4


class HttpError(Exception):
    """No answer: cannot connect, TLS failed, the peer broke off or was silent. The text is one plain phrase."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


class Response:
    """Status and headers (names in lower case) of an answer whose body is still to be read, or closed."""

    def __init__(self, client: HttpClient, connection: _Connection, head: h11.Response, url: str) -> None:
        self.status = head.status_code
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        self.url = url
        self._client, self._connection = client, connection

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces. HttpError if it breaks off."""
        while True:
            event = await self._connection.next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._client.keep(self._connection)
                return
            else:
                raise HttpError("the connection was closed in the middle of an answer")

    async def body(self, limit: int) -> bytes:
        """The whole body; HttpError when it has more than `limit` bytes."""
        parts = bytearray()
        async for chunk in self.chunks():
            parts += chunk
            if len(parts) > limit:
                await self.close()
                raise HttpError(f"the answer has more than {limit} bytes")
        return bytes(parts)

    async def close(self) -> None:
        """Gives up on the rest of the body; harmless after its end."""
        if not self._connection.kept:
            self._connection.close()


class HttpClient:
    """`get` and nothing else. Connections are kept while the answers are read to their ends."""

    def __init__(self, connect: Connect | None = None, tls: ssl.SSLContext | None = None) -> None:
        """`connect(host, port)`: a connected non-blocking socket (default: asyncio's own). `tls`: for tests."""
        self._connect = connect
        self._tls = tls
        self._idle: dict[Origin, list[_Connection]] = {}

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """The answer to GET `url` (http or https; redirects are the caller's affair). HttpError if there is none."""
        parts = urlsplit(url)
        origin = origin_of(parts)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [("Host", origin.authority), ("User-Agent", "skerry"), *(headers or {}).items()]
        try:
            request = h11.Request(method="GET", target=target, headers=lines)
        except h11.LocalProtocolError as error:
            raise HttpError(f"the address cannot be asked for: {error}") from None
        while self._idle.get(origin):
            connection = self._idle[origin].pop()
            try:
                return Response(self, connection, await connection.ask(request), url)
            except HttpError:  # a kept connection may have been closed by the peer meanwhile: not news
                connection.close()
        connection = await self._open(origin)
        try:
            return Response(self, connection, await connection.ask(request), url)
        except BaseException:
            connection.close()
            raise

    def keep(self, connection: _Connection) -> None:
        """Puts a connection aside for the next request to the same place."""
        idle = self._idle.setdefault(connection.origin, [])
        if connection.reusable() and len(idle) < _IDLE_PER_ORIGIN:
            idle.append(connection)
        else:
            connection.close()

    async def close(self) -> None:
        """Closes what is kept."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _open(self, origin: Origin) -> _Connection:
        context = None
        if origin.scheme == "https":
            context = self._tls = self._tls or ssl.create_default_context()
        name = origin.host if context is not None else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                if self._connect is None:
                    reader, writer = await asyncio.open_connection(
                        origin.host, origin.port, ssl=context, limit=_CHUNK, server_hostname=name
                    )
                else:
                    sock = await self._connect(origin.host, origin.port)
                    reader, writer = await asyncio.open_connection(
                        sock=sock, ssl=context, limit=_CHUNK, server_hostname=name
                    )
        except TimeoutError:
            raise HttpError(f"no connection to {origin.authority} within {CONNECT_TIMEOUT:.0f} s") from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            raise HttpError(f"TLS with {origin.authority} failed: {reason}") from None
        except OSError as error:
            raise HttpError(f"cannot connect to {origin.authority}: {linux.reason(error)}") from None
        return _Connection(origin, reader, writer)


class _Connection:
    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.origin, self.kept = origin, False
        self._reader, self._writer = reader, writer
        self._h11 = h11.Connection(h11.CLIENT)

    async def ask(self, request: h11.Request) -> h11.Response:
        self.kept = False
        data = self._h11.send(request)
        end = self._h11.send(h11.EndOfMessage())
        assert data is not None
        assert end is not None
        self._writer.write(data + end)
        while True:
            event = await self.next_event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise HttpError(f"{self.origin.authority} closed the connection without an answer")

    async def next_event(self) -> object:
        try:
            while True:
                event = self._h11.next_event()
                if event is not h11.NEED_DATA:
                    return event
                async with asyncio.timeout(READ_TIMEOUT):
                    self._h11.receive_data(await self._reader.read(_CHUNK))
        except TimeoutError:
            self.close()
            raise HttpError(f"{self.origin.authority} was silent for {READ_TIMEOUT:.0f} s") from None
        except (OSError, h11.RemoteProtocolError) as error:
            self.close()
            words = "closed by the other side" if "ConnectionClosed" in str(error) else error
            raise HttpError(f"the connection to {self.origin.authority} broke: {words}") from None

    def reusable(self) -> bool:
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        if self._writer.is_closing() or self._reader.at_eof():
            return False
        self._h11.start_next_cycle()
        self.kept = True
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()


def origin_of(parts: SplitResult) -> Origin:
    """The origin of an absolute URL; HttpError for anything that is not http or https with a host."""
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise HttpError(f"{parts.geturl()!r} is no http or https address")
    return Origin(parts.scheme, parts.hostname, port or {"http": 80, "https": 443}[parts.scheme])


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
