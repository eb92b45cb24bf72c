"""Long answers made short for clients that read gzip, as client-go does. Called by edge.py."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.api.wire import Request, Response

LEAST = 128 * 1024
"""Bytes below which compressing costs more than it saves: upstream's limit."""
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


def wanted(request: Request, response: Response) -> bool:
    """Is this a whole, long answer to a reader that takes gzip?"""
    body = response.body
    if request.method != "GET" or not isinstance(body, bytes) or len(body) < LEAST or response.status != 200:
        return False
    return "Content-Encoding" not in response.headers and accepted(request.headers.get("accept-encoding", ""))


def accepted(header: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with the weight 0."""
    for part in header.lower().split(","):
        name, *parameters = (one.strip() for one in part.split(";"))
        if name == "gzip":
            return not any(one.replace(" ", "").rstrip("0.") == "q=" for one in parameters)
    return False


async def packed(body: bytes) -> bytes:
    """The body as gzip; made in a thread, for a list of thousands takes a tenth of a second."""
    return await asyncio.to_thread(_gzip, body)


def _gzip(body: bytes) -> bytes:
    maker = zlib.compressobj(_LEVEL, wbits=_GZIP)
    return maker.compress(body) + maker.flush()
