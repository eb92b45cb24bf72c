"""Reads a container's log back: the last lines, since a time, following what comes. Called by node/streams.

Two files make a log (see writer.py). A follower keeps the file it reads open, so rotation loses it nothing unless it is
more than a whole file behind.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skerry.node.logs.format import parse, stamp
from skerry.node.logs.writer import older

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from skerry.node.logs.writer import ContainerLog

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`tail`: how many lines from the end (None: all). `since`: seconds since 1970. `limit`: bytes of the answer."""

    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False
    limit: int | None = None


async def read(path: Path, options: Options, live: ContainerLog | None = None) -> AsyncIterator[bytes]:
    """The log at `path` in pieces, as people see it; with follow, until `live` ends.

    FileNotFoundError if there is none.
    """
    left, shown = options.limit, _Shown(options)
    async for block in _blocks(path, options, live):
        piece = shown.of(block)
        if left is not None:
            piece = piece[:left]
            left -= len(piece)
        if piece:
            yield piece
        if left == 0:
            return


async def _blocks(path: Path, options: Options, live: ContainerLog | None) -> AsyncIterator[bytes]:
    """Whole lines of the files."""
    following = options.follow and live is not None and live.path == path
    files = _open(path)
    try:
        _skip_to_tail(files, options.tail)
        while True:
            seen = live.written if following and live is not None else 0
            while files:
                async for block in _lines(files[0]):
                    yield block
                if len(files) == 1:
                    break
                os.close(files.pop(0))
            if not following or live is None:
                return
            if _same(files[0], path):
                if live.ended and live.written == seen:
                    return
                await live.changed(seen)
            else:
                files += _newer(files[0], path)
    finally:
        for fd in files:
            os.close(fd)


def _open(path: Path) -> list[int]:
    """The files of a log, oldest first."""
    files = []
    try:
        files.append(os.open(older(path), os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        pass
    try:
        files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        if not files:
            raise
    return files


def _same(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return True


def _newer(fd: int, path: Path) -> list[int]:
    """The files written after the one at `fd`."""
    files = _open(path)
    if len(files) > 1 and os.path.samestat(os.fstat(files[0]), os.fstat(fd)):
        os.close(files.pop(0))
    return files


async def _lines(fd: int) -> AsyncIterator[bytes]:
    """Blocks of whole lines from where `fd` stands; it is left at the start of an unfinished line."""
    rest = b""
    while data := os.read(fd, _BLOCK):
        end = data.rfind(b"\n") + 1
        if not end:
            rest += data
            continue
        yield rest + data[:end]
        rest = data[end:]
        await asyncio.sleep(0)
    if rest:
        os.lseek(fd, -len(rest), os.SEEK_CUR)


def _skip_to_tail(files: list[int], tail: int | None) -> None:
    """Moves to the last `tail` lines; files before them are closed and taken out."""
    if tail is None:
        return
    left = tail
    for number in reversed(range(len(files))):
        fd = files[number]
        at, left = _from_end(fd, left)
        os.lseek(fd, at, os.SEEK_SET)
        if left <= 0:
            for early in files[:number]:
                os.close(early)
            del files[:number]
            return


def _from_end(fd: int, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file begin, and how many more than it has were asked for."""
    end = os.fstat(fd).st_size
    if count <= 0:
        return end, 0
    at, found = end, -1  # the newline that ends the last line does not begin one
    while at > 0:
        start = max(0, at - _BLOCK)
        block = os.pread(fd, at - start, start)
        here = block.count(b"\n")
        if found + here >= count:
            position = len(block)
            while found < count:
                position = block.rfind(b"\n", 0, position)
                found += 1
            return start + position + 1, 0
        found += here
        at = start
    return 0, count - found - 1


class _Shown:
    """Lines of the file to what people see."""

    def __init__(self, options: Options) -> None:
        self._since = stamp(options.since) if options.since is not None else b""
        self._timestamps = options.timestamps
        self._within = False

    def of(self, block: bytes) -> bytes:
        out = []
        for raw in block[:-1].split(b"\n"):
            line = parse(raw)
            if line is None or line.stamp < self._since:
                continue
            if self._timestamps and not self._within:
                out.append(line.stamp + b" ")
            out.append(line.text)
            self._within = line.partial
            if not line.partial:
                out.append(b"\n")
        return b"".join(out)
