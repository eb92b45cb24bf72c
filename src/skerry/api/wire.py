"""The seam between who asks and who answers: a request and a response as plain values, no socket in sight.

The HTTP edge makes Requests out of what it reads; the in-process client makes them itself; the API server's handlers
turn them into Responses; the HTTP client reads Responses off a socket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, after authentication."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


@dataclass(slots=True)
class Request:
    """`path` without its query; `query` with the last of repeated parameters; header names in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    user: User | None = None


@dataclass(slots=True)
class Response:
    """`body` is the whole answer, or an iterator of pieces to be sent as they come."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: Headers = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def streamed(self) -> bool:
        return not isinstance(self.body, bytes)
