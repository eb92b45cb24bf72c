"""Time as a parameter: whatever decides or waits is handed a Clock, so that a test can run it forward.

Called by everything that waits. `SystemClock` is the machine's; `FakeClock` stands still until it is told to move and
is part of the public test tools.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Seconds since 1970 (`now`), seconds that never go back (`monotonic`), and ways to wait for them."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(seconds, call)


class _Entry:
    __slots__ = ("call", "cancelled", "due")

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due, self.call, self.cancelled = due, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """A clock that moves only when `advance` is called; timers fire in order, each at its own instant."""

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _Entry]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        entry = _Entry(self._now + max(0.0, seconds), call)
        heapq.heappush(self._timers, (entry.due, next(self._order), entry))
        return entry

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if done.done() else done.set_result(None))
        try:
            await done
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Moves time forward; between two timers, tasks that became ready run until they wait again."""
        end = self._now + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            due, _, entry = heapq.heappop(self._timers)
            if entry.cancelled:
                continue
            self._now = max(self._now, due)
            entry.call()
            await self.settle()
        self._now = end
        await self.settle()

    @staticmethod
    async def settle(turns: int = 20) -> None:
        """Lets the event loop take a few turns, enough for chains of callbacks to come to rest."""
        for _ in range(turns):
            await asyncio.sleep(0)


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 as the API writes a Time: `2026-01-02T03:04:05Z`."""
    return _rfc3339(math.floor(seconds))


@functools.lru_cache(64)
def _rfc3339(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def rfc3339_micro(seconds: float) -> str:
    """The same as the API writes a MicroTime: `2026-01-02T03:04:05.678901Z`."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> float:
    """A Time or MicroTime as seconds since 1970. ValueError if it is none."""
    return datetime.datetime.fromisoformat(text).timestamp()
