"""Keys to be worked on, each at most once at a time. Called by controllers.

A key that is added while it is worked on comes again afterwards; keys that fail come back after a growing pause.
Keys come in the order in which they were added, unless the owner ranks them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.clock import Clock, Timer


class Queue:
    """`base` and `limit` bound the pause after a failure: base, 2 base, 4 base ... limit (seconds).

    Keys of a lower `rank` (asked for when a key is added) come first.
    """

    def __init__(
        self, clock: Clock, *, base: float = 0.005, limit: float = 1000.0, rank: Callable[[str], int] | None = None
    ) -> None:
        self._clock, self._base, self._limit = clock, base, limit
        self._rank = rank
        self._order = itertools.count()
        self._ready: list[tuple[int, int, str]] = []
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, tuple[float, Timer]] = {}
        self._wakers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            heapq.heappush(self._ready, (self._rank(key) if self._rank else 0, next(self._order), key))
            while self._wakers:
                waker = self._wakers.popleft()
                if not waker.done():
                    waker.set_result(None)
                    break

    def add_after(self, key: str, seconds: float) -> None:
        """Adds the key later; of two such wishes the earlier one counts."""
        if seconds <= 0:
            return self.add(key)
        due = self._clock.monotonic() + seconds
        known = self._timers.get(key)
        if known is not None:
            if known[0] <= due:
                return None
            known[1].cancel()
        self._timers[key] = (due, self._clock.call_later(seconds, lambda: self._due(key)))
        return None

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def retry(self, key: str) -> None:
        """Adds the key after a pause that doubles with every failure since `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._base * 2 ** min(failures, 40), self._limit))

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key, to be given back with `done`."""
        while not self._ready:
            waker = asyncio.get_running_loop().create_future()
            self._wakers.append(waker)
            await waker
        _, _, key = heapq.heappop(self._ready)
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: str) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
