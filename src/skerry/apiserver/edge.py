"""The sockets: aiohttp in, Request out, Response in, bytes out. Called by cluster/.

Only this file and upgrades.py know of aiohttp.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import sslproto
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from skerry.api import codec, status
from skerry.api.wire import Request, Response
from skerry.apiserver import auth, compression, observed, upgrades

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Callable

    from skerry.api.wire import User
    from skerry.apiserver.app import App

LIMIT = 3 * 1024 * 1024
_TLS_BUFFER = 1 << 15
"""Bytes read at once from a TLS connection. asyncio's 256 KiB are allocated whole for each, most of which are watches."""
_PATIENCE = 0.1
"""Seconds that requests in flight get when the server closes; watches never end by themselves."""
_log = logging.getLogger(__name__)


class Edge:
    """Serves an App on sockets that somebody else bound."""

    def __init__(self, app: App, audit: Callable[[bytes], None] | None = None) -> None:
        """`audit` gets a line for each request (observed.py)."""
        self._app, self._audit = app, audit
        self._server = web.Server(self._handle, access_log=None)
        self._runner = web.ServerRunner(self._server, access_log=None, shutdown_timeout=_PATIENCE)
        self._ready = False

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Answers on a bound socket; a backlog of 1024."""
        if not self._ready:
            await self._runner.setup()
            self._ready = True
        listener.setblocking(False)
        sslproto.SSLProtocol.max_size = _TLS_BUFFER
        await web.SockSite(self._runner, listener, ssl_context=tls, backlog=1024).start()

    async def close(self) -> None:
        """Stops listening and ends what streams."""
        if self._ready:
            await self._runner.cleanup()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await _body(http)
        except status.ApiError as error:
            return web.Response(status=error.code, body=codec.encode(error.status()), content_type="application/json")
        request = Request(
            http.method,
            http.path,
            dict(http.query),
            _headers(http),
            body,
            _certified(http),
            raw_query=http.rel_url.raw_query_string,
        )
        seen = observed.Seen(request, http.remote or "", self._audit, self._app.server.served.by_path)
        try:
            response = await self._app(request)
        except asyncio.CancelledError:
            seen.answered(Response(499))  # nobody reads it
            raise
        seen.answered(response)
        headers = [("Audit-Id", seen.id), *response.headers.items()]
        if isinstance(response.body, bytes) and compression.wanted(request, response):
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


def _certified(http: web.BaseRequest) -> User | None:
    """Whom the connection's client certificate stands for; TLS has looked who signed it, until when, and what for."""
    shown = http.get_extra_info("peercert")
    if not shown:
        return None
    found: User | None = auth.of_certificate(shown["subject"], http.get_extra_info("ssl_object").getpeercert(True))
    return found


def _headers(http: web.BaseRequest) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in http.headers.items():
        key = name.lower()
        # What repeats is one list (RFC 9110 5.2): client-go offers its protocols so.
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _whole(response: Response, headers: list[tuple[str, str]]) -> web.Response:
    body = response.body if isinstance(response.body, bytes) else b""
    return web.Response(status=response.status, body=body, headers=CIMultiDict(headers))


async def _body(http: web.BaseRequest) -> bytes:
    if not http.body_exists:
        return b""
    pieces: list[bytes] = []
    size = 0
    async for piece in http.content.iter_any():
        size += len(piece)
        if size > LIMIT:
            raise status.ApiError(413, f"Request entity too large: limit is {LIMIT}")
        pieces.append(piece)
    return b"".join(pieces)


async def _stream(
    http: web.BaseRequest, response: Response, body: AsyncIterator[bytes], headers: list[tuple[str, str]]
) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=CIMultiDict(headers))
    stream.enable_chunked_encoding()
    await stream.prepare(http)
    try:
        async for piece in body:
            if piece:
                await stream.write(piece)
        await stream.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        _log.debug("%s %s: the client went away", http.method, http.path)
    finally:
        with contextlib.suppress(Exception):
            await body.aclose()  # type: ignore[attr-defined]
    return stream
