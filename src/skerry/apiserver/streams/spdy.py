"""SPDY/3.1 as client-go speaks it after `Upgrade: SPDY/3.1`: frames from bytes and bytes of frames. Pure.

Of the protocol only what that client uses: streams that it opens, headers, data, pings, resets, goaway. There is no
flow control per stream, since the other side has none. Called by session.py.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 1
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5
"""Why a stream is reset."""
LONGEST = 16 << 10
"""Bytes that we send in one data frame, so that streams take turns."""
_MOST_HEADERS = 64 << 10

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [word.replace("_", " ").encode() for word in _WORDS.split()]
    return b"".join(struct.pack(">I", len(word)) + word for word in words) + _TEXT.encode()


DICTIONARY = _dictionary()
"""What both ends' compression of headers begins with (1423 bytes, Adler-32 e3c6a7c2)."""


class SpdyError(Exception):
    """The other side does not speak SPDY/3.1: there is no way to go on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The client opened a stream. `headers`: names in lower case, the first value of each."""

    stream: int
    headers: dict[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream; `fin`: the last."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The client gave a stream up."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered with `pong(id)`."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The client opens no more streams."""


Event = Opened | Data | Reset | Ping | GoAway


class Codec:
    """One connection's formats, from the server's side or (for tests and tunnels) the client's.

    Headers are compressed with what came before, so what `reply` and `open` return must be sent in that order.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Event]:
        """What has come in whole. SpdyError."""
        self._buffer += data
        found: list[Event] = []
        at = 0
        while len(self._buffer) - at >= 8:
            first, second = struct.unpack_from(">II", self._buffer, at)
            end = at + 8 + (second & 0xFFFFFF)
            if len(self._buffer) < end:
                # Only data may be long, and of it the beginning can be passed on.
                if first >> 31:
                    if end - at > _MOST_HEADERS:
                        raise SpdyError("a control frame that is too long")
                elif (length := len(self._buffer) - at - 8) > _MOST_HEADERS:
                    found.append(Data(first, bytes(self._buffer[at + 8 :]), fin=False))
                    rest = (second & 0xFF000000) | ((second & 0xFFFFFF) - length)
                    self._buffer = bytearray(struct.pack(">II", first, rest))
                    return found
                break
            body = bytes(self._buffer[at + 8 : end])
            at = end
            event = self._frame(first, second >> 24, body)
            if event is not None:
                found.append(event)
        del self._buffer[:at]
        return found

    def _frame(self, first: int, flags: int, body: bytes) -> Event | None:
        fin = bool(flags & _FIN)
        if not first >> 31:
            return Data(first, body, fin)
        if first >> 16 != 0x8003:
            raise SpdyError(f"version {first >> 16 & 0x7FFF} of SPDY")
        kind = first & 0xFFFF
        least = {_SYN_STREAM: 10, _SYN_REPLY: 4, _RST_STREAM: 8, _PING: 4, _HEADERS: 4}
        if len(body) < least.get(kind, 0):
            raise SpdyError("a control frame that is too short")
        stream = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
        match kind:
            case 1:
                return Opened(stream, self._headers(body[10:]), fin)
            case 2 | 8:
                self._headers(body[4:])  # nothing in them, but the compression has to see every byte
                return Data(stream, b"", fin)
            case 3:
                return Reset(stream)
            case 6:
                return Ping(int.from_bytes(body[:4], "big"))
            case 7:
                return GoAway()
        return None  # settings, window updates, and whatever is unknown

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, _MOST_HEADERS)
            if self._inflate.unconsumed_tail:
                raise SpdyError("headers that are too long")
            (count,) = struct.unpack_from(">I", plain)
            at, texts = 4, []
            for _ in range(2 * min(count, _MOST_HEADERS)):
                (length,) = struct.unpack_from(">I", plain, at)
                if at + 4 + length > len(plain):
                    raise SpdyError("headers that are cut off")
                texts.append(plain[at + 4 : at + 4 + length].decode("latin-1"))
                at += 4 + length
        except (zlib.error, struct.error) as error:
            raise SpdyError(f"broken headers: {error}") from None
        names, values = texts[::2], texts[1::2]
        return {name.lower(): value.split("\0")[0] for name, value in zip(names, values, strict=True)}

    def open(self, stream: int, headers: dict[str, str], *, fin: bool = False) -> bytes:
        """Opens a stream (odd numbers are the client's)."""
        return _control(_SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + self._block(headers), _FIN if fin else 0)

    def reply(self, stream: int) -> bytes:
        """Accepts a stream."""
        return _control(_SYN_REPLY, struct.pack(">I", stream) + self._block({}))

    def _block(self, headers: dict[str, str]) -> bytes:
        texts = [text.encode("latin-1") for pair in headers.items() for text in pair]
        plain = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(one)) + one for one in texts)
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    """Data frames of at most LONGEST bytes; with `fin` the stream's last."""
    pieces = [content[start : start + LONGEST] for start in range(0, len(content), LONGEST)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        struct.pack(">II", stream, len(piece) | (_FIN << 24 if fin and number == last else 0)) + piece
        for number, piece in enumerate(pieces)
    )


def reset(stream: int, why: int) -> bytes:
    """Ends a stream at once."""
    return _control(_RST_STREAM, struct.pack(">II", stream, why))


def pong(number: int) -> bytes:
    """The answer to a Ping (and a ping itself)."""
    return _control(_PING, struct.pack(">I", number))


def goaway(last: int) -> bytes:
    """No stream after `last` is looked at."""
    return _control(_GOAWAY, struct.pack(">II", last, 0))


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, len(body) | flags << 24) + body
