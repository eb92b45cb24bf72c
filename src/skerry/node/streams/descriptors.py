"""Pipes and terminals in the event loop: read and written with back-pressure. Called by commands.py."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import struct
import termios

_READ = 1 << 16


class Output:
    """What a process prints. `close` when done."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._patience: float | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The next piece; b"" at the end."""
        while True:
            try:
                return os.read(self._fd, _READ)
            except BlockingIOError:
                pass
            except OSError:
                return b""  # how the master side of a terminal ends
            try:
                async with asyncio.timeout(self._patience):
                    await self._ready()
            except TimeoutError:
                return b""

    def hurry(self, seconds: float) -> None:
        """The process has ended: what it left behind may keep the pipe open, but not silently for longer than this."""
        self._patience = seconds
        self._wake()

    def close(self) -> None:
        os.close(self._fd)

    async def _ready(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        loop.add_reader(self._fd, self._wake)
        try:
            await self._waiter
        finally:
            loop.remove_reader(self._fd)
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Input:
    """What a process reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, data: bytes) -> None:
        """Returns when all of it is written. BrokenPipeError if nobody reads any more, or it is closed."""
        rest = memoryview(data)
        while rest:
            if self._fd < 0:
                raise BrokenPipeError("closed")
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._ready()
            except OSError as error:
                raise BrokenPipeError(str(error)) from None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _ready(self) -> None:
        loop, fd = asyncio.get_running_loop(), self._fd
        waiter: asyncio.Future[None] = loop.create_future()

        def ready() -> None:
            if not waiter.done():
                waiter.set_result(None)

        loop.add_writer(fd, ready)
        try:
            await waiter
        finally:
            loop.remove_writer(fd)

    def resize(self, wanted: bytes) -> None:
        """`wanted`: {"Width": columns, "Height": rows}. Of what is no terminal, and for nonsense: nothing."""
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, struct.error, OSError):
            size = json.loads(wanted)
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size["Height"], size["Width"], 0, 0))
