"""What a proxy's clients say before there is a connection, and what they are told: SOCKS5, HTTP CONNECT, plain HTTP.

Called by main.py for each connection, with a function that dials. One port speaks all: the first byte says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

PATIENCE = 30.0
"""Seconds for a client to say where it wants to go."""
_HEAD = 64 * 1024
_CHUNK = 64 * 1024
_HOP = (b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive")


class Why(enum.Enum):
    """Why there is no connection: SOCKS5's code (RFC 1928) and HTTP's status."""

    FAILED = (1, "502 Bad Gateway")
    UNREACHABLE = (3, "502 Bad Gateway")
    NO_NAME = (4, "502 Bad Gateway")
    REFUSED = (5, "502 Bad Gateway")
    TIMEOUT = (6, "504 Gateway Timeout")


class DialError(Exception):
    """`why` for programs, the text for people."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why = why


Dial = Callable[[str, int], Awaitable[socket.socket]]
"""`await dial(host, port)`: a connected, non-blocking socket. DialError if there is none to be had."""


class _Malformed(Exception):
    """A client that speaks something else; the bytes are its answer."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__()
        self.answer = answer


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dial: Dial) -> None:
    """Everything about one client, until both sides have ended."""
    try:
        async with asyncio.timeout(PATIENCE):
            first = await reader.readexactly(1)
        if first == b"\5":
            await _socks(reader, writer, dial)
        elif first == b"\4":
            writer.write(b"\0\x5b" + bytes(6))  # SOCKS4 has no names that we could look up
        else:
            await _http(first, reader, writer, dial)
    except _Malformed as malformed:
        writer.write(malformed.answer)
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError, ValueError):
        pass  # the client's own affair
    finally:
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


async def _socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dial: Dial) -> None:
    async with asyncio.timeout(PATIENCE):
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if 0 not in methods:
            raise _Malformed(b"\5\xff")
        writer.write(b"\5\0")
        version, command, _, kind = await reader.readexactly(4)
        if version != 5:
            raise _Malformed(_socks_reply(1))
        if kind == 1:
            host = socket.inet_ntoa(await reader.readexactly(4))
        elif kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("ascii", "replace")
        elif kind == 4:
            host = socket.inet_ntop(socket.AF_INET6, await reader.readexactly(16))
        else:
            raise _Malformed(_socks_reply(8))
        (port,) = struct.unpack("!H", await reader.readexactly(2))
    if command != 1:
        raise _Malformed(_socks_reply(7))  # BIND and UDP ASSOCIATE are not offered
    try:
        onward = await dial(host, port)
    except DialError as error:
        raise _Malformed(_socks_reply(error.why.value[0])) from error
    writer.write(_socks_reply(0))
    await carry(reader, writer, onward)


def _socks_reply(code: int) -> bytes:
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])


async def _http(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dial: Dial) -> None:
    async with asyncio.timeout(PATIENCE):
        head = first + await reader.readuntil(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    words = lines[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Malformed(_http_reply("400 Bad Request", "This is a proxy: SOCKS5, HTTP CONNECT and http:// URLs."))
    method, target, version = words
    parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or (method == "CONNECT" and not port) or (method != "CONNECT" and parts.scheme != "http"):
        raise _Malformed(_http_reply("400 Bad Request", "This is a proxy: ask it for http:// URLs, or CONNECT."))
    try:
        onward = await dial(host, port or 80)
    except DialError as error:
        raise _Malformed(_http_reply(error.why.value[1], str(error))) from error
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await carry(reader, writer, onward)
        return
    path = parts.path or "/"
    asked = f"{method} {path}{'?' + parts.query if parts.query else ''} {version}".encode("latin-1")
    # One request a connection, so that the next one may go to another host.
    upgrade = any(line.lower().startswith(b"upgrade:") for line in lines[1:])
    kept = [line for line in lines[1:] if line.split(b":")[0].strip().lower() not in _HOP]
    kept.append(b"Connection: Upgrade" if upgrade else b"Connection: close")
    await carry(reader, writer, onward, b"\r\n".join([asked, *kept, b"", b""]))


def _http_reply(status: str, text: str) -> bytes:
    body = (text + "\n").encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + body


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, onward: socket.socket, first: bytes = b""
) -> None:
    """What one side says the other is told, until both have said all."""
    theirs, ours = await asyncio.open_connection(sock=onward, limit=_HEAD)
    try:
        ours.write(first)
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, ours))
            group.create_task(_copy(theirs, writer))
    except* OSError:
        for one in (ours, writer):
            one.transport.abort()
    finally:
        ours.close()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        to.write(data)
        await to.drain()
    if to.can_write_eof():
        to.write_eof()


def is_address(host: str) -> bool:
    """Is this an address rather than a name?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
