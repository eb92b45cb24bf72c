"""What one connection may take of the server: how long it may dawdle, how long its lines may be. Called by edge.py.

aiohttp bounds what it keeps of a connection, but waits for ever for a request that was begun and for a reader that
does not read. What is no HTTP is answered with a Status here, as everything else is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from skerry.api import codec, status

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)
_LINE = 32 * 1024
"""Bytes of a request's first line (its URL) and of each header."""
_HEADERS = 128
_LINGER = 2.0
"""Seconds in which what nobody wants of a body is thrown away, so that its sender gets to read why."""
_UNBOUND = ("/log", "/proxy")
"""Streams that somebody may look at page by page."""


@dataclass(frozen=True)
class Limits:
    """`body`: bytes of one request's body, and `bodies` of all that are being read or answered; the rest are seconds.

    `headers`: from the connection to its first request; `idle`: from an answer to the end of the next request's head;
    `upload`: for a body; `stalled`: while a reader takes nothing of what is waiting for it.
    """

    body: int = 3 * 1024 * 1024
    bodies: int = 96 * 1024 * 1024
    headers: float = 32.0
    idle: float = 90.0
    upload: float = 60.0
    stalled: float = 60.0


class Connections(web.Server):
    """Makes the protocol of each connection."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limits: Limits) -> None:
        super().__init__(handler)
        self._limits = limits

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._loop, self._limits)


class _Connection(web.RequestHandler):
    __slots__ = ("_due", "_limits", "_unsent")

    def __init__(self, server: Connections, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limits.idle,
            max_line_size=_LINE,
            max_field_size=_LINE,
            max_headers=_HEADERS,
            # Some kilobytes of gzip are gigabytes. No client packs what it sends to this API, and what is sent to a
            # pod through it must arrive as it was sent.
            auto_decompress=False,
            lingering_time=min(_LINGER, limits.upload),
        )
        self._limits = limits
        self._due: asyncio.TimerHandle | None = None
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._due = self._loop.call_later(self._limits.headers, self._no_request)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _cancel(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _no_request(self) -> None:
        self._due = None
        if not self._request_count:
            self.force_close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cancel()
        self._watch_reader()

    def resume_writing(self) -> None:
        self._cancel()
        super().resume_writing()

    def _watch_reader(self) -> None:
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
            self._due = self._loop.call_later(self._limits.stalled, self._look)

    def _look(self) -> None:
        self._due = None
        request = self._current_request
        patient = self._upgraded or (request is not None and any(one in request.path for one in _UNBOUND))
        if self.transport is None or self.transport.is_closing():
            return
        if patient or self.transport.get_write_buffer_size() < self._unsent:
            self._watch_reader()
            return
        _log.debug("a reader took nothing for %g s: its connection is ended", self._limits.stalled)
        self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status_code: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What could not be read, or what went wrong outside of the App, as a Status; then the connection ends."""
        if status_code >= 500:
            _log.error("%s %s", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun, so there is nobody to tell what went wrong")
        code = 431 if isinstance(exc, LineTooLong) else status_code
        text = (message or "").partition("\n")[0].rstrip(":")[:200]  # then comes a picture of the bytes
        said = f"the request cannot be read: {text}" if code < 500 else "Internal error occurred"
        answer = web.Response(
            status=code, body=codec.encode(status.ApiError(code, said).status()), content_type="application/json"
        )
        answer.force_close()
        return answer
