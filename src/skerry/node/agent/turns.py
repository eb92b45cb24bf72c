"""Who works now when many pods begin at once. Called by worker.py (network and volumes) and instances.py (containers).

All at once would mean that none is ready before the last: so a few work at a time, and a container whose pod has its
network goes before the next pod. Nobody holds the others up for long: who takes longer than PATIENCE works on, but
beside the count.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.clock import Clock

AT_ONCE = 6
"""Enough to keep a few processors busy while some wait for an answer of the API."""
PATIENCE = 2.0


class Turns:
    """One of them serves a node."""

    def __init__(self, clock: Clock, at_once: int = AT_ONCE) -> None:
        self._clock, self._free = clock, at_once
        self._urgent: collections.deque[asyncio.Future[None]] = collections.deque()
        self._others: collections.deque[asyncio.Future[None]] = collections.deque()

    @contextlib.asynccontextmanager
    async def turn(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Waits for its turn, and has it for the block: the urgent first, else in the order of asking."""
        await self._take(self._urgent if urgent else self._others)
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._give()

        timer = self._clock.call_later(PATIENCE, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def _take(self, queue: collections.deque[asyncio.Future[None]]) -> None:
        if self._free:
            self._free -= 1
            return
        mine = asyncio.get_running_loop().create_future()
        queue.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        for queue in (self._urgent, self._others):
            while queue:
                following = queue.popleft()
                if not following.done():
                    following.set_result(None)
                    return
        self._free += 1
