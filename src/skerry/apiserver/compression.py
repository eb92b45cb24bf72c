"""Long answers made short for clients that read gzip, as client-go does. Called by edge.py."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from skerry.api.wire import Pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.api.wire import Request, Response

LEAST = 128 * 1024
"""Bytes below which compressing costs more than it saves: upstream's limit."""
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


def wanted(request: Request, response: Response) -> bool:
    """Is this a long answer, no stream, to a reader that takes gzip?"""
    body = response.body
    if not isinstance(body, bytes | Pieces) or len(body) < LEAST:
        return False
    if request.method != "GET" or response.status != 200:
        return False
    return "Content-Encoding" not in response.headers and accepted(request.headers.get("accept-encoding", ""))


def accepted(header: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with the weight 0."""
    for part in header.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        if name == "gzip":
            return not any(one.replace(" ", "").rstrip("0.") == "q=" for one in parameters)
    return False


async def packed(body: bytes | Pieces) -> bytes | AsyncIterator[bytes]:
    """The body as gzip; made in a thread, for a list of thousands takes a tenth of a second."""
    maker = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return _pieces(body, maker) if isinstance(body, Pieces) else await asyncio.to_thread(_all, body, maker)


def _all(body: bytes, maker: zlib._Compress) -> bytes:
    return maker.compress(body) + maker.flush()


async def _pieces(body: Pieces, maker: zlib._Compress) -> AsyncIterator[bytes]:
    async for piece in body:
        yield await asyncio.to_thread(maker.compress, piece)
    yield maker.flush()
