"""Who holds an address, and who lives to hold one. Pure: times are given. Called by announcer.py.

There is no election: every announcer reckons for itself, from the same names, and whoever finds itself answers. When a
machine goes, only the addresses that it held move.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable

from skerry.proxy.announce.frames import Hello, Network

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
        self._networks: dict[bytes, tuple[Network, ...]] = {}

    def hear(self, hello: Hello, now: float) -> bool:
        """A hello came in. Did that change who is there, or what they can hold?"""
        if not hello.able:
            self._networks.pop(hello.member, None)
            return self._last.pop(hello.member, None) is not None
        before = self._networks.get(hello.member)
        self._last[hello.member] = now
        self._networks[hello.member] = hello.networks
        return before != hello.networks

    def expire(self, now: float) -> bool:
        """Forgets the silent. Did that change who is there?"""
        gone = [one for one, last in self._last.items() if now >= last + SILENT]
        for one in gone:
            del self._last[one], self._networks[one]
        return bool(gone)

    def next(self) -> float | None:
        """When the next one would be silent for too long, None if there is nobody."""
        return min(self._last.values()) + SILENT if self._last else None

    def near(self, address: str) -> list[bytes]:
        """Who is there and has a network with this address, so that it would answer."""
        found = ipaddress.ip_address(address)
        return [one for one, networks in self._networks.items() if any(found in network for network in networks)]
