"""What is known of a record besides its bytes, worked out once and kept with it. Called by whoever reads records.

A typed object is shared: what was just written is the very object that controllers in this process get, and with which
the next write is compared. So nobody changes one. Records refer to it weakly, since whoever caches objects (informers)
keeps it anyway: it costs no memory where nobody does, and is decoded again there.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

from skerry.api import codec, resources
from skerry.api.custom import CustomResource
from skerry.store.base import unstamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.resources import Resource
    from skerry.store.base import Record

_TURN = 0.01
"""Seconds in which everybody in this process has run."""
verify = False
"""For tests: every use of a shared object makes sure that it still says what its bytes say."""


class Head(msgspec.Struct):
    """What selectors look at in most cases."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}


class _Whole(msgspec.Struct):
    metadata: Head


_heads = msgspec.json.Decoder(_Whole)


class _Memo(msgspec.Struct, gc=False):
    head: Head | None = None
    fields: dict[str, str] | None = None
    typed: Any = None
    """A weakref.ref."""
    shown: tuple[Any, bytes] | None = None
    """Of a custom object: a weakref.ref to a row, which must be able to go, and the bytes in that row's version."""


def _memo(record: Record) -> _Memo:
    if record.memo is None:
        record.memo = _Memo()
    found: _Memo = record.memo
    return found


def head(record: Record) -> Head:
    """Name, namespace and labels."""
    memo = _memo(record)
    if memo.head is None:
        memo.head = _heads.decode(record.value).metadata
    return memo.head


def labels(record: Record) -> dict[str, str]:
    """Its labels, for who looks once: nothing is kept with the record."""
    memo: _Memo | None = record.memo
    found = memo.head if memo is not None else None
    return (found or _heads.decode(record.value).metadata).labels


def fields(resource: Resource, record: Record) -> dict[str, str]:
    """What field selectors see."""
    from skerry.apiserver import strategies

    memo = _memo(record)
    if memo.fields is None:
        memo.fields = strategies.of(resource).fields(typed(resource, record))
    return memo.fields


def alive(record: Record) -> Any | None:
    """The typed object, if anybody has it; not to be changed."""
    memo: _Memo | None = record.memo
    found = memo.typed() if memo is not None and memo.typed is not None else None
    if verify and found is not None:
        said = codec.replace(found, metadata=codec.replace(found.metadata, resource_version=""))
        row = resources.of(type(found))
        assert encoded(row, said) == unstamp(record), f"somebody has changed the shared object of {record.key}"
    return found


def typed(resource: Resource, record: Record) -> Any:
    """The typed object; not to be changed."""
    found = alive(record)
    if found is None or (isinstance(resource, CustomResource) and found.row is not resource):
        found = codec.decode(resource.type, value(resource, record))
        _memo(record).typed = weakref.ref(found)
    return found


def value(resource: Resource, record: Record) -> bytes:
    """The bytes that a reader of this kind gets: those that are stored.

    Of a custom object they may be of another version, or older than its schema: then in this version, with the fields
    that the schema knows and its defaults.
    """
    if not isinstance(resource, CustomResource):
        return record.value
    memo = _memo(record)
    if memo.shown is None or memo.shown[0]() is not resource:
        plain = codec.parse(record.value)
        content = {key: one for key, one in plain.items() if key not in ("kind", "apiVersion", "metadata")}
        before = codec.encode(content)
        resource.schema.clean(content)
        same = plain["apiVersion"] == resource.api_version and codec.encode(content) == before
        head = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": plain["metadata"]}
        memo.shown = (weakref.ref(resource), record.value if same else codec.encode({**head, **content}))
    return memo.shown[1]


def encoded(resource: Resource, obj: Any) -> bytes:
    """What is stored of an object: its bytes, in the version that a custom kind is stored in."""
    if isinstance(resource, CustomResource) and obj.api_version != resource.stored_version:
        return codec.encode({**obj.fields(), "apiVersion": resource.stored_version})
    return codec.encode(obj)


class Fresh:
    """What was written last stays alive until those who watch in this process have had their turn.

    That is between one and two `_TURN`s, and until somebody writes again. What is kept for longer has left the
    processor's caches when it is let go.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = 0.0
        self._last: list[Any] = []
        self._before: list[Any] = []

    def add(self, record: Record, obj: Any) -> None:
        """`obj` is what was stored as `record`; from now on it belongs to all, and has the record's revision."""
        obj.metadata.resource_version = str(record.revision)
        memo = _memo(record)
        memo.typed = weakref.ref(obj)
        row = resources.of(type(obj))
        if isinstance(row, CustomResource) and row.api_version == row.stored_version:
            memo.shown = (weakref.ref(row), record.value)
        now = self._now()
        if now > self._until:
            self._before, self._last = self._last, []
            self._until = now + _TURN
        self._last.append(obj)
