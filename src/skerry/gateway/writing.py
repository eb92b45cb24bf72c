"""Puts Envoy's files into its directory, in an order in which no request meets half of a change.

Called by gateway/follow.py. New clusters first; when Envoy has their endpoints, what leads to them; and what nothing
leads to any more goes a moment later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from skerry.clock import Clock, Timer
from skerry.gateway.server import StreamServer
from skerry.gateway.xds import files
from skerry.gateway.xds.files import Rendered, Write
from skerry.gateway.xds.wire import ENDPOINTS

PATIENCE = 20.0
"""Seconds for which routes wait at most for the endpoints of new clusters (a thousand take Envoy one, on a machine that
is busy with other things eight)."""

LATER = 1.0
"""Seconds until clusters go to which no route leads any more."""


class Writer:
    """`write` for each change, in an event loop; `stop` at the end."""

    def __init__(self, directory: str, server: StreamServer, clock: Clock) -> None:
        self._directory, self._server, self._clock = Path(directory), server, clock
        self._there: Rendered | None = None
        self._then: list[Write] = []
        self._later: list[Write] = []
        self._timer: Timer | None = None
        self._turn = 0

    @property
    def done(self) -> bool:
        """Is everything written but what goes later?"""
        return not self._then

    def write(self, new: Rendered) -> None:
        """Everything is to be so. What an earlier change has still to write is written now."""
        self._put(self._then)
        self._put(self._later)
        found, first = files.changes(self._there, new), self._there is None
        self._there, self._then, self._later = new, found.then, found.later
        self._put(found.now)
        self._turn += 1
        turn = self._turn
        if first or not found.awaits or not self._server.running:
            self._go_on(turn)
            return
        self._after(PATIENCE, lambda: self._go_on(turn))
        self._server.when_known(ENDPOINTS, found.awaits, lambda: self._go_on(turn))

    def stop(self) -> None:
        """Writes nothing any more."""
        self._turn += 1
        if self._timer is not None:
            self._timer.cancel()

    def _go_on(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._turn += 1
        then, self._then = self._then, []
        self._put(then)
        self._after(LATER, self._clean)

    def _clean(self) -> None:
        later, self._later = self._later, []
        self._put(later)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, call)

    def _put(self, changes: list[Write]) -> None:
        for name, content in changes:
            if content is None:
                (self._directory / name).unlink(missing_ok=True)
            else:
                (self._directory / f"{name}.new").write_bytes(content)
                os.replace(self._directory / f"{name}.new", self._directory / name)
