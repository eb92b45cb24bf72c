"""How often a watcher is written to when there are many of them. Called by watching.py.

Writing to a connection costs the same for one event as for twenty, and a hundred watchers that each get every event by
itself take all there is. So a watcher that was just written to waits, as long as one round of all watchers takes, and
then gets together what has come. With few watchers that is nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 20
"""So many watchers never wait: a cluster's own nodes and some people."""
TURN = 0.0001
"""Seconds that writing to one watcher may take of the server's time."""


class Pace:
    """Counts watchers over HTTP."""

    def __init__(self) -> None:
        self._watchers = 0

    @contextlib.contextmanager
    def watcher(self) -> Iterator[None]:
        """One more, until it ends."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    @property
    def pause(self) -> float:
        """Seconds that a watcher waits after it was written to."""
        return TURN * self._watchers if self._watchers > FEW else 0.0
