"""The sockets: aiohttp in, Request out, Response in, bytes out. Called by cluster/.

Only this file, connections.py and upgrades.py know of aiohttp.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict

from skerry.api import codec, status
from skerry.api.wire import Pieces, Request, Response
from skerry.apiserver import auth, compression, observed, upgrades
from skerry.apiserver.connections import Connections, Limits

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterable, Callable

    from skerry.api.wire import User
    from skerry.apiserver.app import App

_PATIENCE = 0.1
"""Seconds that requests in flight get when the server closes; watches never end by themselves."""
_log = logging.getLogger(__name__)
DEFAULT_LIMITS = Limits()


class Edge:
    """Serves an App on sockets that somebody else bound."""

    def __init__(self, app: App, audit: Callable[[bytes], None] | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        """`audit` gets a line for each request (observed.py)."""
        self._app, self._audit, self._limits = app, audit, limits
        self._held = 0
        """Bytes of bodies in memory."""
        self._server = Connections(self._handle, limits)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_PATIENCE)
        self._ready = False

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answers on a bound socket; a backlog of 1024."""
        if not self._ready:
            await self._runner.setup()
            self._ready = True
        listener.setblocking(False)
        await web.SockSite(self._runner, listener, ssl_context=tls, backlog=1024).start()

    async def close(self) -> None:
        """Stops listening and ends what streams."""
        if self._ready:
            await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        pieces: list[bytes] = []
        try:
            await self._read(http, pieces)
            body = b"".join(pieces)
            return await self._answer(http, body)
        except status.ApiError as error:
            refused = web.Response(
                status=error.code, body=codec.encode(error.status()), content_type="application/json"
            )
            refused.force_close()  # what was sent of the body is in the way of another request
            return refused
        finally:
            self._held -= sum(map(len, pieces))
            pieces.clear()  # what went wrong refers to itself, and to them, until the collector comes

    async def _read(self, http: web.BaseRequest, pieces: list[bytes]) -> None:
        """The body. ApiError 408, 413 or 429 for one that is too slow, too large, or one too many."""
        if not http.body_exists:
            return
        limit, size = self._limits.body, http.content_length or 0
        large = status.ApiError(413, f"Request entity too large: limit is {limit}")
        if size > limit:
            raise large
        if http.headers.get("Expect", "").lower() == "100-continue" and http.transport is not None:
            http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        size = 0

        def take(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            self._held += len(piece)
            pieces.append(piece)
            if size > limit:
                raise large
            if self._held > self._limits.bodies:
                raise status.ApiError(429, "Too many requests, please try again later.")

        if http.content.is_eof() and http.content.exception() is None:  # most bodies are there with their header
            take(http.content.read_nowait())
            return
        try:
            async with asyncio.timeout(self._limits.upload):
                async for piece in http.content.iter_any():
                    take(piece)
        except TimeoutError:
            raise status.ApiError(
                408, f"the body of the request did not come within {self._limits.upload:g} s"
            ) from None
        except web.RequestPayloadError as error:
            raise status.bad_request(f"the body of the request cannot be read: {error}") from None

    async def _answer(self, http: web.BaseRequest, body: bytes) -> web.StreamResponse:
        query = http.rel_url.raw_query_string
        request = Request(
            http.method,
            http.path if http.path.isascii() else _text(http.path),
            dict(http.query) if query else {},
            _headers(http),
            body,
            _certified(http),
            raw_query=query,
        )
        seen = observed.Seen(request, http.remote or "", self._audit, self._app.server.served.by_path)
        try:
            response = await self._app(request)
        except asyncio.CancelledError:
            seen.answered(Response(499))  # nobody reads it
            raise
        seen.answered(response)
        headers = [("Audit-Id", seen.id), *response.headers.items()]
        if isinstance(response.body, bytes | Pieces) and compression.wanted(request, response):
            response.body = await compression.packed(response.body)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        for text in response.warnings:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            headers.append(("Warning", f'299 - "{quoted}"'))
        try:
            if response.upgrade is not None:
                return await upgrades.switch(http, response)
            if isinstance(response.body, bytes):
                return _whole(response, headers)
            return await _stream(http, response, response.body, headers)
        finally:
            seen.streamed(response)


def _text(given: str) -> str:
    """What aiohttp read, with what is no UTF-8 replaced: it comes as surrogates, which nothing behind us can write."""
    return given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _certified(http: web.BaseRequest) -> User | None:
    """Whom the connection's client certificate stands for; TLS has looked who signed it, until when, and what for."""
    shown = http.get_extra_info("peercert")
    if not shown:
        return None
    found: User | None = auth.of_certificate(shown["subject"], http.get_extra_info("ssl_object").getpeercert(True))
    return found


def _headers(http: web.BaseRequest) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, given in http.headers.items():
        key, value = name.lower(), given if given.isascii() else _text(given)
        # What repeats is one list (RFC 9110 5.2): client-go offers its protocols so.
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _whole(response: Response, headers: list[tuple[str, str]]) -> web.Response:
    body = response.body if isinstance(response.body, bytes) else b""
    return web.Response(status=response.status, body=body, headers=CIMultiDict(headers))


async def _stream(
    http: web.BaseRequest, response: Response, body: AsyncIterable[bytes], headers: list[tuple[str, str]]
) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=CIMultiDict(headers))
    if isinstance(body, Pieces):
        stream.content_length = len(body)
    elif http.version >= HttpVersion11:
        stream.enable_chunked_encoding()
    else:
        stream.force_close()  # that is how its reader knows that this was all
    await stream.prepare(http)
    pieces = aiter(body)
    try:
        async for piece in pieces:
            if http.method == "HEAD":
                break  # it was begun, so that it can clean up
            if piece:
                await stream.write(piece)
        await stream.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        _log.debug("%s %s: the client went away", http.method, http.path)
    finally:
        with contextlib.suppress(Exception):
            await pieces.aclose()  # type: ignore[attr-defined]
    return stream
