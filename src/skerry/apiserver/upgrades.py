"""Upgraded connections: aiohttp's WebSocket or its bare transport becomes a wire.Duplex. Called by edge.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web
from multidict import CIMultiDict

if TYPE_CHECKING:
    from skerry.api.wire import Response

_READ = 1 << 16
_LONGEST = 64 << 20
"""Bytes in one WebSocket message."""
_PATIENCE = 5.0
"""Seconds that the other side gets to end the connection after us."""
_log = logging.getLogger(__name__)


async def switch(http: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Sends the 101 and runs the handler; then the connection is closed, whatever happened."""
    assert response.upgrade is not None
    if response.headers.get("Upgrade", "") == "websocket":
        protocols = [one for one in (response.headers.get("Sec-WebSocket-Protocol"),) if one]
        socket = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=_LONGEST, timeout=_PATIENCE)
        await socket.prepare(http)
        stream: web.StreamResponse = socket
        duplex: _Messages | _Bytes = _Messages(socket)
    else:
        stream = web.StreamResponse(status=101, headers=CIMultiDict(response.headers))
        stream.force_close()
        duplex = _Bytes(http)
        await stream.prepare(http)
    try:
        await response.upgrade(duplex)
    except (ConnectionError, EOFError):
        _log.debug("%s: the client went away", http.path)
    except Exception:  # noqa: BLE001 - the answer was begun, there is nobody left to tell
        _log.exception("%s", http.path)
    finally:
        with contextlib.suppress(ConnectionError, RuntimeError):
            await duplex.close()
    return stream


class _Messages:
    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY and message.data:
                return bytes(message.data)
            if message.type is WSMsgType.TEXT and message.data:
                return str(message.data).encode()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()


class _Bytes:
    """Takes the bytes that follow the request's header away from aiohttp's parser."""

    def __init__(self, http: web.BaseRequest) -> None:
        assert http.transport is not None
        self._transport, self._protocol = http.transport, http.protocol
        self._reader = asyncio.StreamReader(limit=_READ)
        self._reader.set_transport(self._transport)
        self._protocol.set_parser(self)  # type: ignore[arg-type]  # it only asks for the two methods below

    # For aiohttp.

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    # For us.

    async def read(self) -> bytes:
        return await self._reader.read(_READ)

    async def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client went away")
        self._transport.write(data)
        await self._protocol._drain_helper()  # noqa: SLF001 - it has no public name, and StreamWriter uses it too

    async def close(self) -> None:
        # To close with something unread would reset the connection, and what we sent last would be lost.
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():  # TLS cannot, but its close waits for the other side's
            self._transport.write_eof()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    while await self._reader.read(_READ):
                        pass
        self._transport.close()
