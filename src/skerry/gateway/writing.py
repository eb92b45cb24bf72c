"""Puts Envoy's files into its directory, in an order in which no request meets half of a change.

Called by gateway/follow.py. New clusters first; when Envoy has their endpoints, what leads to them; and what nothing
leads to any more goes a moment later.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from skerry.clock import Clock, Timer
from skerry.gateway.xds import files
from skerry.gateway.xds.files import Rendered, Write
from skerry.gateway.xds.wire import ENDPOINTS

PATIENCE = 20.0
"""Seconds for which routes wait at most for the endpoints of new clusters (a thousand take Envoy one, on a machine that
is busy with other things eight)."""

LATER = 1.0
"""Seconds until clusters go to which no route leads any more."""


class Envoy(Protocol):
    """What is asked of server.StreamServer."""

    running: bool

    def when_known(self, kind: str, names: frozenset[str], call: Callable[[], None]) -> None: ...


class Writer:
    """`write` for each change, in an event loop; `stop` at the end.

    `_there` is what the directory holds, and all clusters that Envoy has been told of. A change that comes while the
    routes of an earlier one still wait goes from there: the newer routes wait in their place.
    """

    def __init__(self, directory: str, server: Envoy, clock: Clock) -> None:
        self._directory, self._server, self._clock = Path(directory), server, clock
        self._there: Rendered | None = None
        self._wanted: Rendered | None = None
        self._then: list[Write] = []
        self._later: list[Write] = []
        self._awaits: frozenset[str] = frozenset()
        self._left: dict[str, float] = {}  # clusters to which no route leads any more, and since when
        self._timer: Timer | None = None
        self._turn = 0

    @property
    def done(self) -> bool:
        """Is everything written but what goes later?"""
        return not self._then

    def write(self, new: Rendered) -> None:
        """Everything is to be so."""
        old, waiting = self._held(), bool(self._awaits)
        found = files.changes(old, new)
        self._wanted, self._then, self._later = new, found.then, found.later
        clusters, endpoints = (old.clusters, old.endpoints) if old is not None else ({}, {})
        there = {} if old is None else old.files
        self._there = Rendered(there, {**clusters, **new.clusters}, {**endpoints, **new.endpoints})
        self._put(found.now)
        self._turn += 1
        self._awaits = found.awaits | self._awaits.intersection(new.endpoints.values())
        if old is None or not self._awaits or not self._server.running:
            self._go_on()
            return
        if not waiting:  # else its time runs already: changes without end are no reason to wait without end
            self._after(PATIENCE, self._go_on)
        turn = self._turn
        self._server.when_known(ENDPOINTS, self._awaits, lambda: self._known(turn))

    def _held(self) -> Rendered | None:
        """What is there, without clusters whose time is over: a change follows the other, and the timer never ends."""
        if self._there is None:
            return None
        over = {name for name, since in self._left.items() if since + LATER <= self._clock.monotonic()}
        for name in over:
            del self._left[name]
        return self._there._replace(clusters={k: v for k, v in self._there.clusters.items() if k not in over})

    def stop(self) -> None:
        """Writes nothing any more."""
        self._turn += 1
        if self._timer is not None:
            self._timer.cancel()

    def _known(self, turn: int) -> None:
        if turn == self._turn:
            self._go_on()

    def _go_on(self) -> None:
        self._turn += 1
        self._awaits = frozenset()
        then, self._then = self._then, []
        self._put(then)
        assert self._there is not None and self._wanted is not None
        now, led = self._clock.monotonic(), self._wanted.clusters
        self._left = {name: self._left.get(name, now) for name in self._there.clusters if name not in led}
        self._after(LATER, self._clean)

    def _clean(self) -> None:
        later, self._later = self._later, []
        self._put(later)
        self._there = self._wanted
        self._left.clear()

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, call)

    def _put(self, changes: list[Write]) -> None:
        assert self._there is not None
        held = dict(self._there.files)
        for name, content in changes:
            if content is None:
                (self._directory / name).unlink(missing_ok=True)
                held.pop(name, None)
            else:
                (self._directory / f"{name}.new").write_bytes(content)
                os.replace(self._directory / f"{name}.new", self._directory / name)
                held[name] = content
        self._there = self._there._replace(files=held)
