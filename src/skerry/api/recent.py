"""The last so many of what was worked out, by what it was worked out from. Called by whoever sees the same thing often.

Unlike functools.lru_cache, it keeps only what its user finds worth keeping.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A dict of at most `count` entries: those that were asked for or put in last."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._known: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: K) -> V | None:
        """What is known of it, which is then the newest."""
        found = self._known.pop(key, None)
        if found is not None:
            self._known[key] = found
        return found

    def put(self, key: K, value: V) -> V:
        """Keeps a value, and gives it back."""
        self._known.pop(key, None)
        while len(self._known) >= self._count:
            del self._known[next(iter(self._known))]
        self._known[key] = value
        return value

    def clear(self) -> None:
        self._known.clear()
