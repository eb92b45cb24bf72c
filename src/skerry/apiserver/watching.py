"""watch: the stream of what changes, made of stored bytes. Called by app.py.

A watcher is a cursor into the store's window of events: a slow reader holds no memory, and one that falls out of the
window is told 410 and lists again.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from skerry.api import codec, status
from skerry.api.wire import Response
from skerry.apiserver import representation
from skerry.apiserver.reading import revision_of
from skerry.apiserver.representation import Form
from skerry.apiserver.selection import Selection
from skerry.store.base import Compacted, Record, restamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from skerry.api.wire import Request
    from skerry.apiserver.routes import Target
    from skerry.clock import Clock
    from skerry.store.base import Event, Store, Watcher

_BOOKMARK = 60.0


async def watch(store: Store, clock: Clock, target: Target, request: Request) -> Response:
    """ApiError 410 at once if the revision asked for is forgotten; later that comes as an ERROR event."""
    row = target.resource
    query = dict(request.query)
    if target.name:
        chosen = f"metadata.name={target.name}"
        query["fieldSelector"] = ",".join(filter(None, (query.get("fieldSelector", ""), chosen)))
    selection = Selection(row, query)
    prefix = row.key(target.namespace, "") if target.namespace else row.prefix
    asked = revision_of(query.get("resourceVersion", ""))
    initial = query.get("sendInitialEvents") == "true" or (not asked and query.get("sendInitialEvents") != "false")
    records: list[Record] = []
    if initial:
        records, asked = await store.range(prefix)
    elif not asked:
        asked = store.revision
    try:
        watcher = store.watch(prefix, asked)
    except Compacted as error:
        raise status.gone(f"too old resource version: {error.asked} ({error.oldest})") from None
    stream = _Stream(target, selection, request, clock)
    marked = query.get("sendInitialEvents") == "true"
    return Response(200, stream.pieces(watcher, [one for one in records if selection.matches(one)], marked, asked))


class _Stream:
    def __init__(self, target: Target, selection: Selection, request: Request, clock: Clock) -> None:
        self._row, self._selection, self._clock = target.resource, selection, clock
        self._form = representation.wanted(request.headers.get("accept", ""))
        self._include = request.query.get("includeObject", "")
        self._bookmarks = request.query.get("allowWatchBookmarks") == "true"
        text = request.query.get("timeoutSeconds", "")
        self._seconds = float(text) if text.isdigit() and int(text) else random.uniform(1800, 3600)
        self._columns = True

    async def pieces(
        self, watcher: Watcher, initial: list[Record], marked: bool, revision: int
    ) -> AsyncIterator[bytes]:
        if initial:
            yield b"".join(self._line("ADDED", one) for one in initial)
        if marked:
            yield self._bookmark(revision, end=True)
        # An empty piece tells the edge to send the headers now: a client may wait for them before it changes anything.
        yield b""
        end = self._clock.monotonic() + self._seconds
        while (left := end - self._clock.monotonic()) > 0:
            timer = self._clock.call_later(min(left, _BOOKMARK), watcher.wake)
            try:
                events = await watcher.next()
            except Compacted as error:
                gone = status.gone(f"too old resource version: {error.asked} ({error.oldest})")
                yield b'{"type":"ERROR","object":' + codec.encode(gone.status()) + b"}\n"
                return
            finally:
                timer.cancel()
            piece = b"".join(self._lines(events))
            if piece:
                yield piece
            elif not events and self._bookmarks:
                yield self._bookmark(watcher.revision)

    def _lines(self, events: list[Event]) -> list[bytes]:
        out: list[bytes] = []
        for event in events:
            before = event.previous is not None and self._selection.matches(event.previous)
            after = not event.deleted and self._selection.matches(event.record)
            if after:
                out.append(self._line("MODIFIED" if before else "ADDED", event.record))
            elif before and event.deleted:
                out.append(self._line("DELETED", event.record))
            elif before and event.previous is not None:
                # It left the selection: the client hears of its last selected state, at the revision of the change.
                out.append(self._line("DELETED", restamp(event.previous, event.revision)))
        return out

    def _line(self, kind: str, record: Record) -> bytes:
        if self._form is Form.TABLE:
            made = representation.rows(self._row, [record], self._clock.now(), self._include)
            made["metadata"] = {"resourceVersion": str(record.revision)}
            if not self._columns:
                made["columnDefinitions"] = None
            self._columns = False
            value = codec.encode(made)
        else:
            value = representation.partial(record.value) if self._form is Form.METADATA else record.value
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), value)

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
