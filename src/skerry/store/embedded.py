"""The store of one machine: everything in memory, a bounded window of events, and a log on disk under it.

Called by cluster/ (which opens it) and apiserver/. All methods run on the event loop's thread; a worker thread writes
batches: while one is being written the next collects, and a caller hears back when its batch is on disk.
Readers see only what is on disk. A write is checked against the newest state including what is still on its way, so
that two writers of one key never both win.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skerry.store.base import Compacted, Conflict, Event, Exists, Page, Record, Unwritable, stamp, unstamp
from skerry.store.log import Log, LogError, Row, digest

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 4096
WINDOW_BYTES = 64 << 20
"""Of each kind's newest events, so many are kept, of so many bytes together."""
_BATCH = 1 << 20
"""Bytes of events that a watcher is given at once: what it holds while its reader does not read."""
_UNKNOWN = 10_000
_TURNS = 5


@dataclass(slots=True)
class _Kind:
    """All records of one kind (the keys' first two parts) and its newest events."""

    records: dict[str, Record] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)
    bytes: int = 0
    dropped: int = 0
    floor: int = 0
    waiters: set[asyncio.Future[None]] = field(default_factory=set)


@dataclass(slots=True)
class _Write:
    key: str
    value: bytes | None
    record: Record
    previous: Record | None
    durable: bool
    done: asyncio.Future[Record]

    def row(self) -> Row:
        created, revision = self.record.created, self.record.revision
        said = 0 if self.value is None else digest(self.key, self.value, created, revision)
        return Row(self.key, self.value, created, revision, said)


def _then(kind: _Kind, revision: int, inside: Callable[[str], bool]) -> dict[str, Record | None]:
    """What has changed since an earlier revision, as it was then; None for what was not there. Compacted."""
    if revision < kind.floor:
        raise Compacted(revision, kind.floor)
    found: dict[str, Record | None] = {}
    for event in reversed(kind.events):
        if event.revision <= revision:
            break
        if inside(event.record.key):
            found[event.record.key] = event.previous
    return found


class EmbeddedStore:
    """See base.Store. `path` None keeps nothing on disk."""

    def __init__(self, path: str | None, *, window: int = WINDOW, window_bytes: int = WINDOW_BYTES) -> None:
        """Reads the file. log.LogError if it cannot be used."""
        self._window, self._window_bytes = window, window_bytes
        self._log = Log(path) if path else None
        self._kinds: dict[str, _Kind] = {}
        self._revision = self._next = 0
        self._staged: dict[str, Record | None] = {}
        self._collecting: list[_Write] = []
        self._writing: asyncio.Future[None] | None = None
        self._gathering = False
        self._worker = ThreadPoolExecutor(1, "store") if self._log else None
        if self._log:
            self._revision, rows = self._log.load()
            # What was written without durability had revisions too: step over them, so that none is given out twice.
            self._revision += _UNKNOWN if self._revision else 0
            self._next = self._revision
            for row in rows:
                assert row.value is not None
                kind = self._kind(row.key)
                kind.records[row.key] = Record(row.key, stamp(row.value, row.revision), row.created, row.revision)
                kind.order.append(row.key)

    @property
    def revision(self) -> int:
        return self._revision

    def _kind(self, key: str) -> _Kind:
        name = key[: key.index("/", key.index("/", 1) + 1) + 1]
        found = self._kinds.get(name)
        if found is None:
            found = self._kinds[name] = _Kind(floor=self._revision)
        return found

    async def get(self, key: str) -> Record | None:
        return self._kind(key).records.get(key)

    async def range(self, prefix: str) -> tuple[list[Record], int]:
        kind = self._kind(prefix)
        order, records = kind.order, kind.records
        if prefix.count("/") != 3:
            start = bisect.bisect_left(order, prefix)
            order = order[start : bisect.bisect_left(order, prefix[:-1] + "0", start)]
        return [records[key] for key in order], self._revision

    async def page(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        kind = self._kind(prefix)
        order, records = kind.order, kind.records
        end_key = prefix[:-1] + "0"
        start = bisect.bisect_right(order, after) if after > prefix else bisect.bisect_left(order, prefix)
        end = len(order) if prefix.count("/") == 3 else bisect.bisect_left(order, end_key, start)
        if not revision or revision >= self._revision:
            stop = min(end, start + limit) if limit else end
            return Page([records[key] for key in order[start:stop]], revision or self._revision, end - stop)
        then = _then(kind, revision, lambda key: max(after, prefix) < key < end_key)
        gone = sorted(key for key, was in then.items() if was is not None and key not in records)
        count = end - start + len(gone) - sum(was is None and key in records for key, was in then.items())
        keys = heapq.merge((order[at] for at in range(start, end)), gone)
        were = (then[key] if key in then else records[key] for key in keys)
        found = list(itertools.islice((one for one in were if one is not None), limit or None))
        return Page(found, revision, count - len(found))

    async def create(self, key: str, value: bytes) -> Record:
        if self._newest(key) is not None:
            await self._settled(key)
            raise Exists(key)
        return await self._write(key, value, None, durable=True)

    async def update(self, key: str, value: bytes, expected: int, *, durable: bool = True) -> Record:
        return await self._write(key, value, await self._expect(key, expected), durable=durable)

    async def delete(self, key: str, expected: int) -> Record:
        return await self._write(key, None, await self._expect(key, expected), durable=True)

    def _newest(self, key: str) -> Record | None:
        if key in self._staged:
            return self._staged[key]
        return self._kind(key).records.get(key)

    async def _expect(self, key: str, expected: int) -> Record:
        found = self._newest(key)
        if found is None or found.revision != expected:
            await self._settled(key)
            raise Conflict(key)
        return found

    async def _settled(self, key: str) -> None:
        """Waits until no write of this key is on its way, so that the loser of a race then reads the winner's."""
        while key in self._staged:
            self._start()
            if self._writing is None:
                return
            await asyncio.shield(self._writing)

    async def _write(self, key: str, value: bytes | None, previous: Record | None, *, durable: bool) -> Record:
        self._next += 1
        revision = self._next
        if value is None:
            assert previous is not None
            body = stamp(unstamp(previous), revision)
        else:
            body = stamp(value, revision)
        record = Record(key, body, previous.created if previous else revision, revision)
        write = _Write(key, value, record, previous, durable, asyncio.get_running_loop().create_future())
        self._staged[key] = None if value is None else record
        self._collecting.append(write)
        if self._log is None:
            self._start()
        else:
            self._gather()
        return await write.done

    def _gather(self) -> None:
        """Begins to write, but not at once: a batch costs five times what one more row in it does.

        What else is written in this turn of the loop, and whoever has asked already and only has to be heard, comes
        along; a write that is alone waits for a few empty turns, some ten microseconds.
        """
        if self._writing is None and not self._gathering:
            self._gathering = True
            self._wait(_TURNS)

    def _wait(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self._wait, turns - 1)
        else:
            self._gathering = False
            self._start()

    def _start(self) -> None:
        if self._writing is not None or not self._collecting:
            return
        batch, self._collecting = self._collecting, []
        if self._log is None or self._worker is None or not any(one.durable for one in batch):
            self._commit(batch)
            return
        loop = asyncio.get_running_loop()
        self._writing = loop.create_future()
        rows = [one.row() for one in batch if one.durable]
        job = loop.run_in_executor(self._worker, self._log.write, rows, batch[-1].record.revision)
        job.add_done_callback(lambda done: self._written(batch, done))

    def _written(self, batch: list[_Write], done: asyncio.Future[None]) -> None:
        writing, self._writing = self._writing, None
        error = done.exception()
        if error is None:
            self._commit(batch)
        else:
            self._refuse(batch, error)
        if self._collecting:
            self._gather()
        if writing is not None:
            writing.set_result(None)

    def _commit(self, batch: list[_Write]) -> None:
        touched: dict[int, _Kind] = {}
        for one in batch:
            kind = self._kind(one.key)
            if one.value is None:
                kind.records.pop(one.key, None)
                del kind.order[bisect.bisect_left(kind.order, one.key)]
            else:
                if one.key not in kind.records:
                    bisect.insort(kind.order, one.key)
                kind.records[one.key] = one.record
            if self._staged.get(one.key, one.record) is (None if one.value is None else one.record):
                self._staged.pop(one.key, None)
            kind.events.append(Event(one.record, one.previous, one.value is None))
            kind.bytes += len(one.record.value)
            while len(kind.events) > self._window or (kind.bytes > self._window_bytes and len(kind.events) > 1):
                oldest = kind.events.popleft().record
                kind.floor = oldest.revision
                kind.bytes -= len(oldest.value)
                kind.dropped += 1
            self._revision = one.record.revision
            touched[id(kind)] = kind
            if not one.done.done():
                one.done.set_result(one.record)
        # After the writers, who may still say of their records what they know (apiserver/known.py).
        for kind in touched.values():
            waiters, kind.waiters = kind.waiters, set()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _refuse(self, batch: list[_Write], error: BaseException) -> None:
        """Nothing of the batch is on disk. What collected meanwhile was checked against it, so it goes too."""
        text = str(error) if isinstance(error, LogError) else repr(error)
        for one in batch + self._collecting:
            if not one.done.done():
                one.done.set_exception(Unwritable(text))
        self._collecting = []
        self._staged.clear()

    def watch(self, prefix: str, revision: int) -> _Watcher:
        kind = self._kind(prefix)
        if revision < kind.floor:
            raise Compacted(revision, kind.floor)
        return _Watcher(self, kind, prefix, revision)

    async def close(self) -> None:
        self._start()
        while self._writing is not None:
            await asyncio.shield(self._writing)
        if self._worker is not None and self._log is not None:
            self._worker.shutdown()
            self._log.close()


class _Watcher:
    """A cursor into a kind's window: all watchers share the events, so a slow one costs nothing but its place."""

    def __init__(self, store: EmbeddedStore, kind: _Kind, prefix: str, revision: int) -> None:
        self._store, self._kind, self._prefix = store, kind, prefix
        self._revision = revision
        self._whole = prefix.count("/") == 3
        self._woken = False
        self._waiter: asyncio.Future[None] | None = None
        skip = 0
        for event in reversed(kind.events):
            if event.revision <= revision:
                break
            skip += 1
        self._at = kind.dropped + len(kind.events) - skip

    @property
    def revision(self) -> int:
        return self._revision

    async def next(self) -> list[Event]:
        while True:
            found = self._take(_BATCH)
            if found or self._woken:
                self._woken = False
                return found
            self._waiter = asyncio.get_running_loop().create_future()
            self._kind.waiters.add(self._waiter)
            try:
                await self._waiter
            finally:
                self._kind.waiters.discard(self._waiter)

    def pending(self) -> list[Event]:
        kind = self._kind
        return self._take(sys.maxsize) if self._at < kind.dropped + len(kind.events) else []

    def wake(self) -> None:
        self._woken = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self, room: int) -> list[Event]:
        """The next events of at most `room` bytes, or one."""
        kind = self._kind
        if self._at < kind.dropped:
            raise Compacted(self._revision, kind.floor)
        found: list[Event] = []
        for index in range(self._at - kind.dropped, len(kind.events)):
            event = kind.events[index]
            if self._whole or event.record.key.startswith(self._prefix):
                if room < 0:
                    self._at, self._revision = kind.dropped + index, event.revision - 1
                    return found
                room -= len(event.record.value)
                found.append(event)
        self._at = kind.dropped + len(kind.events)
        self._revision = self._store.revision
        return found
