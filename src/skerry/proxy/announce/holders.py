"""Who holds an address, and who lives to hold one. Pure: times are given. Called by announcer.py.

There is no election: every announcer reckons for itself, from the same names, and whoever finds itself answers. When a
machine goes, only the addresses that it held move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HELLO = 0.3
"""Seconds between two hellos of an announcer."""
SILENT = 1.2
"""Seconds without a hello after which an announcer is taken for dead: with what follows, well below two."""


def holder(address: str, candidates: Iterable[str]) -> str:
    """The one of these nodes that answers for an address, "" if there are none."""
    return max(candidates, key=lambda node: (_weight(node, address), node), default="")


def _weight(node: str, address: str) -> bytes:
    return hashlib.sha256(f"{address}\0{node}".encode()).digest()


class Heard:
    """The announcers heard on one network, and when. Times are in seconds by a clock that never goes back."""

    def __init__(self) -> None:
        self._last: dict[bytes, float] = {}

    def hear(self, member: bytes, now: float, *, able: bool) -> bool:
        """A hello came in. Did that change who is there?"""
        if not able:
            return self._last.pop(member, None) is not None
        new = member not in self._last
        self._last[member] = now
        return new

    def expire(self, now: float) -> bool:
        """Forgets the silent. Did that change who is there?"""
        gone = [one for one, last in self._last.items() if now >= last + SILENT]
        for one in gone:
            del self._last[one]
        return bool(gone)

    def next(self) -> float | None:
        """When the next one would be silent for too long, None if there is nobody."""
        return min(self._last.values()) + SILENT if self._last else None

    def members(self) -> Iterable[bytes]:
        """Who is there."""
        return self._last.keys()
