"""A layer's bytes: decompressed, counted, hashed, and never more of them in memory than a chunk.

Used by `unpack`. Layers come as tar, tar.gz or tar.zst; the first bytes say which, whatever the media type claims.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 256 * 1024
MAX_HEADER_READ = 1 << 20  # bytes that one tar header (long names, attributes) may take
_MAX_WINDOW = 27  # zstd's memory for one stream: two to this power


class Readable(Protocol):
    """Anything with `read`: a file, a pipe."""

    def read(self, size: int = -1, /) -> bytes: ...


class UnpackError(Exception):
    """A layer that cannot or must not be unpacked; the text says why."""


class LayerStream:
    """The uncompressed layer as tarfile wants to read it: forward only."""

    def __init__(self, source: Readable, limit: int, ratio: int = 0, ratio_from: int = 0) -> None:
        """`limit`: uncompressed bytes that are too many. `ratio`: how often larger than its source the layer may get,
        once it has more than `ratio_from` bytes; 0: without end.
        """
        self._source = _Counted(source)
        self._pieces = _decompress(self._source)
        self._ratio, self._ratio_from = ratio, ratio_from
        self._buffer = b""
        self._at = 0  # how much of the buffer is used up
        self._position = 0
        self._limit = limit
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """For tarfile, which reads whole headers by their claimed size."""
        if size > MAX_HEADER_READ:
            raise UnpackError(f"a tar header of {size} bytes")
        parts = []
        while size > 0:
            part = self.take(size)
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take(self, size: int) -> bytes:
        """At most `size` bytes, b"" at the end: for the contents of files, without copying pieces together."""
        if self._at == len(self._buffer) and not self._fill():
            return b""
        end = min(len(self._buffer), self._at + size)
        part = self._buffer if end - self._at == len(self._buffer) else self._buffer[self._at : end]
        self._position += end - self._at
        self._at = end
        return part

    def tell(self) -> int:
        """Uncompressed bytes read so far."""
        return self._position

    def seek(self, position: int) -> None:
        """Forward only."""
        if position < self._position:
            raise UnpackError("a tar archive that leads backwards")
        while self._position < position and self.take(position - self._position):
            pass

    def finish(self) -> str:
        """Reads what is left; the digest of the whole uncompressed layer."""
        while self.take(CHUNK):
            pass
        return "sha256:" + self._hash.hexdigest()

    def _fill(self) -> bool:
        piece = next(self._pieces, b"")
        self._buffer, self._at = piece, 0
        self._hash.update(piece)
        if self._position + len(piece) > self._limit:
            raise UnpackError(f"the layer has more than {self._limit} bytes unpacked")
        self.check_ratio(self._position + len(piece))
        return bool(piece)

    def check_ratio(self, size: int) -> None:
        """UnpackError if `size` bytes are too many to have come out of what was read so far."""
        if self._ratio and size > self._ratio_from and size > self._ratio * self._source.count:
            raise UnpackError(f"the layer unpacks to more than {self._ratio} times its size")


def _decompress(source: Readable) -> Iterator[bytes]:
    """The uncompressed bytes in non-empty pieces of at most CHUNK (more only where the source gives more)."""
    first = source.read(CHUNK)
    if first[:2] == b"\x1f\x8b":
        yield from _gunzip(source, first)
    elif first[:4] == b"\x28\xb5\x2f\xfd" or (first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50):
        yield from _unzstd(source, first)
    elif first[:3] == b"BZh" or first[:6] == b"\xfd7zXZ\0":
        raise UnpackError("the layer is compressed by bzip2 or xz; gzip and zstd are known")
    else:
        while first:
            yield first
            first = source.read(CHUNK)


def _gunzip(source: Readable, data: bytes) -> Iterator[bytes]:
    machine = zlib.decompressobj(31)
    try:
        while True:
            if not data:
                data = source.read(CHUNK)
                if not data:
                    raise UnpackError("the compressed layer is cut off")
            piece = machine.decompress(data, CHUNK)
            data = machine.unconsumed_tail
            if piece:
                yield piece
            if machine.eof:
                data = machine.unused_data or source.read(CHUNK)
                if not data.strip(b"\0"):  # the end, perhaps padded
                    return
                machine = zlib.decompressobj(31)  # gzip members follow each other in seekable formats
    except zlib.error as error:
        raise UnpackError(f"the gzip stream is broken: {error}") from None


def _unzstd(source: Readable, data: bytes) -> Iterator[bytes]:
    # Only where an image needs it; the same module came into the standard library with 3.14.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    options = {int(zstd.DecompressionParameter.window_log_max): _MAX_WINDOW}
    machine = zstd.ZstdDecompressor(options=options)
    try:
        while True:
            piece = machine.decompress(data, CHUNK)
            if piece:
                yield piece
            data = b""
            if machine.eof:
                data = machine.unused_data or source.read(CHUNK)
                if not data:
                    return
                machine = zstd.ZstdDecompressor(options=options)  # frames follow each other
            elif machine.needs_input:
                data = source.read(CHUNK)
                if not data:
                    raise UnpackError("the compressed layer is cut off")
    except zstd.ZstdError as error:
        raise UnpackError(f"the zstd stream is broken: {error}") from None


class _Counted:
    """Counts what is read."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        part = self._source.read(size)
        self.count += len(part)
        return part
