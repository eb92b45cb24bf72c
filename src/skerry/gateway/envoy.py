"""The process of Envoy: found in its wheel, started, waited for, and started again when it ends.

Called by gateway/runner.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import subprocess
from collections.abc import Callable

from skerry import linux
from skerry.clock import Clock
from skerry.gateway.program import program

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds until an Envoy that ended is started again; doubled each time."""

LIVED = 30.0
"""Seconds after which one has lived well: the next pause is the first again."""

STARTS_WITHIN = 30.0
"""Seconds in which Envoy has to answer after its start."""

LOOK = 0.005
"""Seconds between two looks whether it does."""

MOST_THREADS = 4
_OPTIONS = ("--disable-hot-restart", "--log-level", "warning", "--log-format", "%Y-%m-%d %T.%e %n %l %v")
_log = logging.getLogger(__name__)


async def ask(socket: str, path: str) -> bytes:
    """What Envoy's admin interface answers. OSError if it does not."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return _joined(body) if b"chunked" in head else body


def _joined(chunks: bytes) -> bytes:
    """The content of a body in HTTP's chunks."""
    found = []
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size or b"0", 16)
        found.append(rest[:length])
        chunks = rest[length + 2 :] if length else b""
    return b"".join(found)


class Envoy:
    """`await run()` until cancelled, which ends it.

    `on_start` is called right before it starts, `on_up` when it takes requests, `on_end` when it has ended.
    """

    def __init__(
        self,
        clock: Clock,
        config: str,
        admin: str,
        log: str,
        on_start: Callable[[], None],
        on_up: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self._clock, self._config, self._admin, self._log = clock, config, admin, log
        self._on_start, self._on_up, self._on_end = on_start, on_up, on_end

    async def run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            begun = self._clock.monotonic()
            try:
                await self._once()
            except OSError as error:
                _log.error("Envoy cannot be started: %s", error)
            pause = FIRST_PAUSE if self._clock.monotonic() - begun > LIVED else pause
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _once(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._admin)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._on_start()
        process = self._start()
        descriptor = os.pidfd_open(process.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            if await self._answers(ended):
                self._on_up()
                await ended.wait()
                _log.warning("Envoy has ended with exit code %s: see %s", process.wait(), self._log)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            process.kill()
            process.wait()
            self._on_end()

    def _start(self) -> subprocess.Popen[bytes]:
        """Not asyncio's, whose way of waiting for a child would give this process a second thread."""
        threads = max(1, min(MOST_THREADS, os.cpu_count() or 1))
        with open(self._log, "ab", opener=_private) as log:
            return subprocess.Popen(
                [program(), "-c", self._config, "--concurrency", str(threads), *_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={},
                start_new_session=True,
                preexec_fn=_confine,
            )

    async def _answers(self, ended: asyncio.Event) -> bool:
        """Returns when it takes requests; False if it will not."""
        until = self._clock.monotonic() + STARTS_WITHIN
        while not ended.is_set() and self._clock.monotonic() < until:
            with contextlib.suppress(OSError):
                if b"LIVE" in await ask(self._admin, "/ready"):
                    return True
            await self._clock.sleep(LOOK)
        _log.error("Envoy did not come up: see %s", self._log)
        return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _confine() -> None:
    """In the child: it dies with us, and has no privilege; the socket of the gateway is open to our own user alone."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    linux.bound_capabilities([])
    linux.set_capabilities([])
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
