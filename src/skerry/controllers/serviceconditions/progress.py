"""Which Services all Ready nodes know in their newest state, and who is behind. Pure; one for proxies, one for DNS.

A Service needs two revisions: of its newest EndpointSlice change and of its own. A node has acknowledged two. What all
Ready nodes have is the least of theirs; only when that moves are Services looked at, those that it passes. Revisions
only grow, so the ones that wait stand in two heaps: first for their slices, then for themselves.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple


class Mark(NamedTuple):
    """Revisions of EndpointSlices and of Services."""

    slices: int = 0
    services: int = 0

    def reaches(self, other: Mark) -> bool:
        return self.slices >= other.slices and self.services >= other.services


_NOTHING = Mark(-1, -1)
_SLACK = 1024


class Progress:
    """Each method that can change whether Services are carried returns the keys of those for which it did."""

    def __init__(self) -> None:
        self.nodes: frozenset[str] = frozenset()
        self._marks: dict[str, Mark] = {}
        self._needs: dict[str, Mark] = {}
        self._open: set[str] = set()
        self._least = _NOTHING
        self._for_slices: list[tuple[int, str]] = []
        self._for_services: list[tuple[int, str]] = []

    def need(self, key: str, *, slices: int = 0, services: int = 0) -> None:
        """The Service, or something of it, changed at these revisions."""
        old = self._needs.get(key, Mark())
        mark = self._needs[key] = Mark(max(old.slices, slices), max(old.services, services))
        if not self._least.reaches(mark):
            self._wait(key, mark)

    def needs(self, key: str) -> Mark:
        """What nodes have to reach for this Service."""
        return self._needs.get(key, Mark())

    def forget(self, key: str) -> None:
        """The Service is gone."""
        self._needs.pop(key, None)
        self._open.discard(key)

    def carried(self, key: str) -> bool:
        """Whether every Ready node has the newest state; False if there is none."""
        return key in self._needs and self._least.reaches(self._needs[key])

    def reached(self, mark: Mark) -> bool:
        """Whether every Ready node is as far as this."""
        return self._least.reaches(mark)

    def behind(self, key: str) -> list[str]:
        """The Ready nodes that do not have its newest state."""
        mark = self.needs(key)
        return [name for name in self.nodes if not self._marks.get(name, _NOTHING).reaches(mark)]

    def acknowledged(self, node: str, mark: Mark | None) -> set[str]:
        """A node has applied everything up to this; None if it says nothing any more."""
        if mark is None:
            self._marks.pop(node, None)
        else:
            self._marks[node] = mark
        return self._moved() if node in self.nodes else set()

    def ready(self, nodes: Iterable[str]) -> set[str]:
        """These nodes are Ready; the others hold nothing up."""
        self.nodes = frozenset(nodes)
        return self._moved()

    def _moved(self) -> set[str]:
        marks = [self._marks.get(name, _NOTHING) for name in self.nodes]
        least = Mark(min(one.slices for one in marks), min(one.services for one in marks)) if marks else _NOTHING
        before, self._least = self._least, least
        if least == before:
            return set()
        lost = set()
        if not least.reaches(before):
            lost = {key for key, mark in self._needs.items() if before.reaches(mark) and not least.reaches(mark)}
            for key in lost:
                self._wait(key, self._needs[key])
        return lost | self._passed()

    def _wait(self, key: str, mark: Mark) -> None:
        self._open.add(key)
        heapq.heappush(self._for_slices, (mark.slices, key))
        if len(self._for_slices) > 2 * len(self._open) + _SLACK:  # a node is stuck and Services change all the time
            self._for_slices = [(self._needs[one].slices, one) for one in self._open]
            self._for_services = []
            heapq.heapify(self._for_slices)

    def _passed(self) -> set[str]:
        """Services whose needs are now reached. Entries from before a Service's last change are dropped on the way."""
        while self._for_slices and self._for_slices[0][0] <= self._least.slices:
            revision, key = heapq.heappop(self._for_slices)
            if key in self._open and self._needs[key].slices == revision:
                heapq.heappush(self._for_services, (self._needs[key].services, key))
        done = set()
        while self._for_services and self._for_services[0][0] <= self._least.services:
            _, key = heapq.heappop(self._for_services)
            if key not in self._open:
                continue
            if self._least.reaches(self._needs[key]):
                self._open.discard(key)
                done.add(key)
        return done
