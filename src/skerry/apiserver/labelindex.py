"""Which objects have a label, so that a list by label costs what it finds and not what there is. Called by reading.py.

An index is made when the same label is asked for again before the store has forgotten what changed in between: who asks
seldom is better off with a look at everything, and costs no memory. It is brought up to date when it is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.recent import Recent
from skerry.apiserver import known
from skerry.store.base import Compacted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.api.labels import Selector
    from skerry.store.base import Event, Record, Store, Watcher

_INDEXES = 32
_FEW = 64
"""Changes that are worth following, whatever the size of the index."""


class LabelIndexes:
    """Of the labels, by kind, that were asked for last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Recent[tuple[str, str], _Index] = Recent(_INDEXES)

    async def find(self, prefix: str, selector: Selector) -> list[str] | None:
        """The keys, in order, of all objects below a kind's prefix that may match; None: look at everything."""
        label = next((one for one in selector.requirements if one.operator == "in"), None)
        if label is None:
            return None
        index = self._known.get((prefix, label.key))
        if index is None or not index.follow():
            self._known.put((prefix, label.key), _Index(label.key, self._store.watch(prefix, self._store.revision)))
            return None
        if not index.built:
            records, revision = await self._store.range(prefix)
            index.build(records, self._store.watch(prefix, revision))
        return index.keys(label.values)


class _Index:
    """Of one label of one kind. Until it is built it only sees whether it could be."""

    def __init__(self, label: str, changes: Watcher) -> None:
        self._label, self._changes = label, changes
        self.built = False
        self._value: dict[str, str] = {}
        self._keys: dict[str, set[str]] = {}

    def build(self, records: Iterable[Record], changes: Watcher) -> None:
        """Takes in all records; `changes` has what happens after that."""
        self.built, self._changes = True, changes
        for one in records:
            self._put(one)

    def follow(self) -> bool:
        """Takes in what has changed. False if that is forgotten, or so much that a look at everything is cheaper."""
        try:
            events = self._changes.pending()
        except Compacted:
            return False
        if not self.built:
            return True
        if len(events) > _FEW + len(self._value) // 4:
            return False
        for one in events:
            self._take(one)
        return True

    def keys(self, values: Iterable[str]) -> list[str]:
        """Of the objects with one of these values, in order."""
        return sorted(key for value in values for key in self._keys.get(value, ()))

    def _take(self, event: Event) -> None:
        key = event.record.key
        value = self._value.pop(key, None)
        if value is not None:
            self._keys[value].discard(key)
            if not self._keys[value]:
                del self._keys[value]
        if not event.deleted:
            self._put(event.record)

    def _put(self, record: Record) -> None:
        value = known.labels(record).get(self._label)
        if value is not None:
            self._value[record.key] = value
            self._keys.setdefault(value, set()).add(record.key)
