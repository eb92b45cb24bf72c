"""Writes what a container prints to its log, and wakes whoever follows it. Called by node/agent, one an instance.

One read of a pipe becomes one write to the file: nothing is flushed a line at a time. When a file is full it becomes
`<path>.1` in place of the one before.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from skerry.node.logs.format import Lines

if TYPE_CHECKING:
    from pathlib import Path

    from skerry.clock import Clock

_log = logging.getLogger(__name__)
_READ = 16 << 10  # so that one that floods its log does not keep the others waiting
ROTATE_AT = 10 << 20
Tap = Callable[[str, bytes], None]


def older(path: Path) -> Path:
    """Where the log at `path` goes when it is full."""
    return path.with_name(path.name + ".1")


class ContainerLog:
    """The log of one instance, from its pipes to the file at `path`. `written` counts bytes, for followers."""

    def __init__(self, path: Path, clock: Clock, *, rotate_at: int = ROTATE_AT) -> None:
        self.path = path
        self.written = 0
        self.ended = False
        self._clock, self._rotate_at = clock, rotate_at
        self._size = 0
        self._broken = False
        self._streams: dict[int, Lines] = {}
        self._names: dict[int, str] = {}
        self._taps: list[Tap] = []
        self._pausing: set[Tap] = set()
        self._last = False
        self._waiters: set[asyncio.Future[None]] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def attach(self, stdout: int, stderr: int | None) -> None:
        """Reads the non-blocking pipe ends (or a terminal's master side) to their ends and closes them."""
        for fd, name in ((stdout, "stdout"), (stderr, "stderr")):
            if fd is not None:
                self._streams[fd] = Lines(name)
                self._names[fd] = name
        self._listen()

    def tap(self, tap: Tap) -> None:
        """`tap` gets every piece from now on, as ("stdout" or "stderr", bytes). It may ask for `pause`."""
        self._taps.append(tap)

    def untap(self, tap: Tap) -> None:
        self._taps.remove(tap)
        self.resume(tap)

    def pause(self, tap: Tap) -> None:
        """Nothing more is read until this tap can take it: the container waits, as it would for a terminal."""
        if self._last:
            return
        self._pausing.add(tap)
        for fd in self._streams:
            asyncio.get_running_loop().remove_reader(fd)

    def resume(self, tap: Tap) -> None:
        self._pausing.discard(tap)
        self._listen()

    def last(self) -> None:
        """The container has ended: what is left in its pipes is not much, and nobody may hold it up any more."""
        self._last = True
        self._pausing.clear()
        self._listen()

    def _listen(self) -> None:
        if not self._pausing:
            for fd in self._streams:
                asyncio.get_running_loop().add_reader(fd, self._readable, fd)

    async def finished(self) -> None:
        """Returns when both pipes are at their ends and everything is in the file."""
        while not self.ended:
            await self.changed(self.written)

    async def changed(self, seen: int) -> None:
        """Returns when more than `seen` bytes were written or the log has ended."""
        if self.written != seen or self.ended:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def close(self) -> None:
        """Gives up reading, whatever is still in the pipes."""
        for fd in list(self._streams):
            self._end(fd)
        self._finish()

    def _readable(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = self._clock.now()
        if data:
            for tap in self._taps:
                tap(self._names[fd], data)
            self._write(self._streams[fd].feed(data, now))
        else:
            self._end(fd)
            if not self._streams:
                self._finish()
        self._wake()

    def _end(self, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        self._write(self._streams.pop(fd).end(self._clock.now()))

    def _finish(self) -> None:
        if not self.ended:
            self.ended = True
            os.close(self._file)
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            if self._size and self._size + len(data) > self._rotate_at:
                self._rotate()
            os.write(self._file, data)
        except OSError as error:
            # A full disk: the container goes on, its lines are lost. Said once.
            if not self._broken:
                _log.warning("%s cannot be written: %s", self.path, error)
            self._broken = True
            return
        self._broken = False
        self._size += len(data)
        self.written += len(data)

    def _rotate(self) -> None:
        os.replace(self.path, older(self.path))
        fresh = self._open()
        os.close(self._file)
        self._file, self._size = fresh, 0
