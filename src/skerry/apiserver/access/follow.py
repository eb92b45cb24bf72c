"""What is in the store of some kinds, followed event by event, at the moment when somebody asks.

Called by whoever decides by what is stored: rights, webhooks, quotas, what a new pod is given. A write that was
answered is seen by the next question: the store's events are there before its writer hears of it. Nothing runs in
between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from skerry.store.base import Compacted

if TYPE_CHECKING:
    from skerry.api.resources import Resource
    from skerry.store.base import Record, Store, Watcher


class Sees(Protocol):
    """What is told of the changes."""

    def reset(self, row: Resource) -> None:
        """Everything known of this kind is to be forgotten: it comes anew."""

    def changed(self, row: Resource, record: Record, *, gone: bool) -> None:
        """An object is new, is another, or is gone."""


class Follow:
    """Tells `sees` of all objects of a kind, and of what changed since the last `catch_up`."""

    def __init__(self, store: Store, row: Resource, sees: Sees) -> None:
        self._store, self._row, self._sees = store, row, sees
        self._watcher: Watcher | None = None

    async def catch_up(self) -> None:
        """Returns when all that has been written is told."""
        if self._watcher is not None:
            try:
                for event in self._watcher.pending():
                    self._sees.changed(self._row, event.record, gone=event.deleted)
            except Compacted:
                self._watcher = None
        if self._watcher is None:
            records, revision = await self._store.range(self._row.prefix)
            self._watcher = self._store.watch(self._row.prefix, revision)
            self._sees.reset(self._row)
            for record in records:
                self._sees.changed(self._row, record, gone=False)
