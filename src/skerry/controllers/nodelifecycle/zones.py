"""How fast nodes may be emptied: when many of them are gone at once, it is more likely the network than the nodes.

Called by controller.py; pure but for what it counts. A zone is what the nodes' topology labels say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from skerry.api.types import core

RATE = 0.1
"""Nodes a second."""
SECOND_RATE = 0.01
"""The same in a large zone of which more than UNHEALTHY is gone; a small one is left alone then."""
LARGE = 50
UNHEALTHY = 0.55


class Mode(Enum):
    """How a zone is."""

    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


def zone_of(node: core.Node) -> str:
    """The zone's key: region and zone, "" if the node has no labels that say so."""
    labels = node.metadata.labels
    region = labels.get("topology.kubernetes.io/region", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    return f"{region}:\0:{zone}" if region or zone else ""


def mode(ready: int, lost: int) -> Mode:
    """The mode of a zone with so many nodes that are ready and that are not."""
    if lost and not ready:
        return Mode.FULL
    if lost > 2 and lost / (lost + ready) >= UNHEALTHY:
        return Mode.PARTIAL
    return Mode.NORMAL


def rate(which: Mode, nodes: int) -> float:
    """Nodes a second that may be tainted NoExecute in a zone of so many nodes."""
    if which is Mode.PARTIAL:
        return SECOND_RATE if nodes > LARGE else 0.0
    return RATE


@dataclass(slots=True)
class _Bucket:
    """One permission at most is saved up."""

    saved: float = 1.0
    since: float = 0.0

    def take(self, per_second: float, now: float) -> float:
        """0 if it may be done now (and then it is counted), else the seconds until one should ask again."""
        self.saved = min(1.0, self.saved + (now - self.since) * per_second)
        self.since = now
        if not per_second:
            return 1.0 / RATE
        if self.saved >= 1.0 - 1e-9:
            self.saved = 0.0
            return 0.0
        return (1.0 - self.saved) / per_second


class Zones:
    """Counts ready and other nodes by zone, and hands out permissions."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, bool]] = {}
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._buckets: dict[str, _Bucket] = {}

    def put(self, node: core.Node, ready: bool) -> None:
        """Counts a node in place of what was counted for it before."""
        self.remove(node.metadata.name)
        entry = zone_of(node), ready
        self._nodes[node.metadata.name] = entry
        self._counts[entry] += 1

    def remove(self, name: str) -> None:
        entry = self._nodes.pop(name, None)
        if entry is not None:
            self._counts[entry] -= 1
            if not self._counts[entry]:
                del self._counts[entry]

    @property
    def all_lost(self) -> bool:
        """There are nodes, and none of them is ready: then nobody is evicted."""
        return bool(self._counts) and not any(ready for _, ready in self._counts)

    def mode(self, zone: str) -> Mode:
        return mode(self._counts[zone, True], self._counts[zone, False])

    def permit(self, node: core.Node, now: float) -> float:
        """Whether a node may be tainted NoExecute now: 0, or the seconds until one should ask again."""
        zone = zone_of(node)
        total = self._counts[zone, True] + self._counts[zone, False]
        bucket = self._buckets.setdefault(zone, _Bucket(since=now))
        return bucket.take(rate(self.mode(zone), total), now)
