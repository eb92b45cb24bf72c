"""What a store promises, whatever lies under it. Called by apiserver/; implemented by embedded.py.

One revision counter for all keys. A write names the revision that it expects and fails when another came first. A
value is the JSON of an object without its resourceVersion; what comes out carries the revision of its last write there,
so that a list or a watch can send the bytes as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import msgspec


class StoreError(Exception):
    """Something the store cannot do."""


class Exists(StoreError):
    """The key to be created is there already."""


class Conflict(StoreError):
    """The key has another revision than the writer expected, or is gone."""


class Compacted(StoreError):
    """The revision asked for is older than what is remembered; `oldest` is the first that would do."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} is older than {oldest}, the oldest that is remembered")
        self.asked, self.oldest = asked, oldest


class Unwritable(StoreError):
    """The write did not reach the disk and did not happen; the message says why (no space, I/O error)."""


class Record(msgspec.Struct, gc=False):
    """One key as it was written. `memo` is room for what a reader worked out from the value, kept with it."""

    key: str
    value: bytes
    created: int
    revision: int
    memo: Any = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """A key changed. `record` is the new state; of a deletion, the last one stamped with the deletion's revision."""

    record: Record
    previous: Record | None
    deleted: bool = False

    @property
    def revision(self) -> int:
        return self.record.revision


class Page(NamedTuple):
    """Records in the order of their keys, the revision at which this was so, and how many are behind them."""

    records: list[Record]
    revision: int
    remaining: int


class Watcher(Protocol):
    """A place in the stream of events below a prefix."""

    async def next(self) -> list[Event]:
        """The events since the last call, waiting for the first. Compacted when the reader fell too far behind."""
        ...

    def pending(self) -> list[Event]:
        """As `next`, without waiting: nothing if nothing happened."""
        ...

    def wake(self) -> None:
        """Lets `next` return now, with nothing if nothing happened."""
        ...

    @property
    def revision(self) -> int:
        """Everything up to this revision has been given out."""
        ...


class Store(Protocol):
    """The four verbs of etcd: range, txn (as create, update, delete), watch, compact (by itself)."""

    @property
    def revision(self) -> int:
        """The newest committed revision."""
        ...

    async def get(self, key: str) -> Record | None: ...

    async def range(self, prefix: str) -> tuple[list[Record], int]:
        """All records below `prefix`, in the order of their keys, and the revision at which this was so."""
        ...

    async def page(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """As `range`, of keys above `after`, at most `limit` (0: all), with the number of those behind them.

        With `revision` the state as it was then; Compacted if that is forgotten.
        """
        ...

    async def create(self, key: str, value: bytes) -> Record:
        """Exists, Unwritable."""
        ...

    async def update(self, key: str, value: bytes, expected: int, *, durable: bool = True) -> Record:
        """Conflict, Unwritable. With durable=False the write may be forgotten by a crash (leases, heartbeats)."""
        ...

    async def delete(self, key: str, expected: int) -> Record:
        """The last state, stamped with the revision of the deletion. Conflict, Unwritable."""
        ...

    def watch(self, prefix: str, revision: int) -> Watcher:
        """Events with revisions above `revision`. Compacted if some of them are forgotten."""
        ...

    async def close(self) -> None: ...


_META = b'"metadata":{'


def stamp(value: bytes, revision: int) -> bytes:
    """The value with its resourceVersion put in as the first field of its metadata."""
    at = value.index(_META) + len(_META)
    comma = b"" if value[at : at + 1] == b"}" else b","
    return b'%b"resourceVersion":"%d"%b%b' % (value[:at], revision, comma, value[at:])


def unstamp(record: Record) -> bytes:
    """The value as it was given to the store."""
    mark = b'"resourceVersion":"%d"' % record.revision
    at = record.value.index(mark)
    rest = record.value[at + len(mark) :]
    return record.value[:at] + (rest[1:] if rest[:1] == b"," else rest)


def restamp(record: Record, revision: int) -> Record:
    """The same state with another resourceVersion."""
    return Record(record.key, stamp(unstamp(record), revision), record.created, revision)
