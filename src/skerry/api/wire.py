"""The seam between who asks and who answers: a request and a response as plain values, no socket in sight.

The HTTP edge makes Requests out of what it reads; the in-process client makes them itself; the API server's handlers
turn them into Responses; the HTTP client reads Responses off a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs

T = TypeVar("T")
Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, after authentication. `extra`: what else is known of how they logged in, in lists by name."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


def truth(text: str | None) -> bool:
    """What a boolean query parameter says, as upstream takes it: anything but 0 and false, even nothing, is true.

    Clients write it as their language does: `true`, `True`, `1`.
    """
    return text is not None and text.lower() not in ("0", "false")


@dataclass(slots=True)
class Request:
    """`path` without its query; `query` with the last of repeated parameters; header names in lower case.

    `raw_query` is the query as it was sent, for parameters that repeat; a client that sets it need not set `query`.
    `shares`: the asker is in this process and takes and gives objects as they are, which nobody changes afterwards;
    `object` is then what the body would be the JSON of.
    `target`: what the path means to the server, if its edge has looked already.
    """

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    user: User | None = None
    raw_query: str = ""
    shares: bool = False
    object: Any = None
    target: Any = None

    def flag(self, name: str) -> bool:
        """A boolean query parameter."""
        return truth(self.query.get(name))

    def values(self, name: str) -> list[str]:
        """All values of a repeated query parameter, in order."""
        if not self.raw_query:
            return [self.query[name]] if name in self.query else []
        return parse_qs(self.raw_query, keep_blank_values=True).get(name, [])


class Duplex(Protocol):
    """What a connection becomes by an upgrade: bytes both ways, or over WebSocket messages (never empty ones)."""

    async def read(self) -> bytes:
        """What has come, as soon as there is something; b"" when nothing more comes. Reads no further than asked."""

    async def write(self, data: bytes) -> None:
        """Returns when there is room for more. ConnectionError if nobody reads any more."""

    async def close(self) -> None:
        """Sends what was written, then ends both directions; waits a bounded time for the other side to do so."""


_PIECE = 1 << 18


def batches(items: Sequence[T], size: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """The same items, of a long answer, in the parts in which it is put together: of a quarter of a megabyte, about."""
    begin = room = 0
    for at, one in enumerate(items):
        if room <= 0:
            if at:
                yield items[begin:at]
            begin, room = at, _PIECE
        room -= size(one)
    if items:
        yield items[begin:]


@dataclass(slots=True)
class Pieces:
    """A long answer of `size` bytes that nobody need hold whole: it is put together as it is sent."""

    size: int
    pieces: Iterable[bytes]

    def __len__(self) -> int:
        return self.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for one in self.pieces:
            yield one
            await asyncio.sleep(0)  # others have their turn, also when the reader is fast


@dataclass(slots=True)
class Response:
    """`body` is the whole answer, or what gives pieces to be sent as they come.

    Who shares objects may get `object` instead, or of a watch `events`: (type, object) each.

    With status 101, `upgrade` is called with the connection once the header is sent; the header `upgrade` says what it
    becomes: `websocket` means messages, anything else bytes.
    """

    status: int = 200
    body: bytes | AsyncIterable[bytes] = b""
    headers: Headers = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    object: Any = None
    events: AsyncIterator[tuple[str, Any]] | None = None
    upgrade: Callable[[Duplex], Awaitable[None]] | None = None
