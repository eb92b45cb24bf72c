"""watch: the stream of what changes, made of stored bytes. Called by app.py.

A watcher is a cursor into the store's window of events: a slow reader holds no memory, and one that falls out of the
window is told 410 and lists again.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.numerals import whole
from skerry.api.types.meta import ObjectMeta
from skerry.api.wire import Response, batches
from skerry.apiserver import known, listoptions, representation
from skerry.apiserver.reading import revision_of
from skerry.apiserver.representation import Form
from skerry.apiserver.selection import Selection
from skerry.store.base import Compacted, Record, restamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target
    from skerry.apiserver.verbs import Server
    from skerry.clock import Timer
    from skerry.store.base import Event, Watcher

_BOOKMARK = 60.0
_HEADS = {kind: b'{"type":"%b","object":' % kind.encode() for kind in ("ADDED", "MODIFIED", "DELETED")}


async def watch(server: Server, target: Target, request: Request) -> Response:
    """ApiError 410 at once if the revision asked for is forgotten; later that comes as an ERROR event.

    The stream ends when the kind is served no more, or in another way than now.
    """
    row, store = target.resource, server.store
    query = dict(request.query)
    listoptions.check_watch(query)
    if target.name:
        chosen = f"metadata.name={target.name}"
        query["fieldSelector"] = ",".join(filter(None, (query.get("fieldSelector", ""), chosen)))
    selection = Selection(row, query)
    prefix = row.key(target.namespace, "") if target.namespace else row.prefix
    asked = revision_of(query.get("resourceVersion", ""))
    marked = request.flag("sendInitialEvents")
    initial = marked or (not asked and "sendInitialEvents" not in query)
    records: list[Record] = []
    if initial:
        records, asked = await store.range(prefix)
    elif not asked:
        asked = store.revision
    try:
        watcher = store.watch(prefix, asked)
    except Compacted as error:
        raise status.gone(f"too old resource version: {error.asked} ({error.oldest})") from None
    stream = _Stream(server, target, selection, request)
    wanted = [one for one in records if selection.matches(one)]
    if request.shares:
        return Response(200, events=stream.objects(watcher, wanted))
    return Response(200, stream.pieces(watcher, wanted, marked, asked))


class _Stream:
    def __init__(self, server: Server, target: Target, selection: Selection, request: Request) -> None:
        self._served, self._pace, self._clock = server.served, server.pace, server.clock
        self._row, self._selection = target.resource, selection
        self._form = representation.wanted(request.headers.get("accept", ""))
        self._include = request.query.get("includeObject", "")
        self._bookmarks = request.flag("allowWatchBookmarks")
        self._seconds = float(whole(request.query.get("timeoutSeconds", "")) or random.uniform(1800, 3600))
        self._columns = True

    async def pieces(
        self, watcher: Watcher, initial: list[Record], marked: bool, revision: int
    ) -> AsyncIterator[bytes]:
        """What goes over a socket."""
        for some in batches(initial, lambda one: len(one.value)):
            yield self._lines([("ADDED", one) for one in some])
        if marked:
            yield self._bookmark(revision, end=True)
        # An empty piece tells the edge to send the headers now: a client may wait for them before it changes anything.
        yield b""
        try:
            with self._pace.watcher():
                async for changes in self._turns(watcher):
                    if changes:
                        yield self._lines(changes)
                        if pause := self._pace.pause:
                            await self._clock.sleep(pause)
                    elif self._bookmarks:
                        yield self._bookmark(watcher.revision)
        except status.ApiError as gone:
            yield b'{"type":"ERROR","object":' + codec.encode(gone.status()) + b"}\n"

    async def objects(self, watcher: Watcher, initial: list[Record]) -> AsyncIterator[tuple[str, Any]]:
        """What an asker of this process gets."""
        for one in initial:
            yield "ADDED", known.typed(self._row, one)
        async for changes in self._turns(watcher):
            for kind, record in changes:
                yield kind, known.typed(self._row, record)
            if not changes and self._bookmarks:
                yield "BOOKMARK", self._row.type(metadata=ObjectMeta(resource_version=str(watcher.revision)))

    async def _turns(self, watcher: Watcher) -> AsyncIterator[list[tuple[str, Record]]]:
        """What happened, as (type, state); nothing when a minute has passed. ApiError 410 for one that is too late."""
        clock = self._clock
        end = clock.monotonic() + self._seconds
        timer: Timer | None = None
        self._served.watches(self._row, watcher)

        def wake() -> None:
            nonlocal timer
            timer = None
            watcher.wake()

        try:
            while (left := end - clock.monotonic()) > 0:
                if not self._served.current(self._row):
                    if changes := self._changes(watcher.pending()):
                        yield changes
                    return
                if timer is None:
                    timer = clock.call_later(min(left, _BOOKMARK), wake)
                events = await watcher.next()
                changes = self._changes(events)
                if changes or not events:
                    yield changes
        except Compacted as error:
            raise status.gone(f"too old resource version: {error.asked} ({error.oldest})") from None
        finally:
            self._served.unwatches(self._row, watcher)
            if timer is not None:
                timer.cancel()

    def _changes(self, events: list[Event]) -> list[tuple[str, Record]]:
        if self._selection.everything:
            return [
                ("DELETED" if one.deleted else "ADDED" if one.previous is None else "MODIFIED", one.record)
                for one in events
            ]
        out: list[tuple[str, Record]] = []
        for event in events:
            before = event.previous is not None and self._selection.matches(event.previous)
            after = not event.deleted and self._selection.matches(event.record)
            if after:
                out.append(("MODIFIED" if before else "ADDED", event.record))
            elif before and event.deleted:
                out.append(("DELETED", event.record))
            elif before and event.previous is not None:
                # It left the selection: the client hears of its last selected state, at the revision of the change.
                out.append(("DELETED", restamp(event.previous, event.revision)))
        return out

    def _lines(self, changes: list[tuple[str, Record]]) -> bytes:
        """They are copied once, as many watchers take them."""
        return b"".join([part for kind, one in changes for part in (_HEADS[kind], self._shown(one), b"}\n")])

    def _shown(self, record: Record) -> bytes:
        if self._form is Form.TABLE:
            made = representation.rows(self._row, [record], self._clock.now(), self._include)
            made["metadata"] = {"resourceVersion": str(record.revision)}
            if not self._columns:
                made["columnDefinitions"] = None
            self._columns = False
            return codec.encode(made)
        value = known.value(self._row, record)
        return representation.partial(value) if self._form is Form.METADATA else value

    def _bookmark(self, revision: int, *, end: bool = False) -> bytes:
        notes = ',"annotations":{"k8s.io/initial-events-end":"true"}' if end else ""
        kind, version = self._row.kind, self._row.api_version
        if self._form is Form.METADATA:
            kind, version = "PartialObjectMetadata", "meta.k8s.io/v1"
        if self._form is Form.TABLE:
            kind, version = "Table", "meta.k8s.io/v1"
        return (
            f'{{"type":"BOOKMARK","object":{{"kind":"{kind}","apiVersion":"{version}",'
            f'"metadata":{{"resourceVersion":"{revision}"{notes}}}}}}}\n'
        ).encode()
