"""The entries of metadata.managedFields: reading, writing, and what a write does to them. Pure.

Called by apiserver/tracking.py. An ordinary write (`update`) takes what it changed from everybody else and gives it to
its manager; `apply.py` has the writes that are applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from skerry.api.apply import fields, walk
from skerry.api.apply.fields import Fields
from skerry.api.apply.types import Type

UPDATE, APPLY = "Update", "Apply"
MAX_UPDATERS = 10
"""Entries of operation Update that are kept; the oldest become one."""
_OLD = "ancient-changes"

_STRIPPED: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        **{
            f"f:{name}": {}
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        },
    },
}


class Entry(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """One manager's fields, as JSON has them."""

    manager: str = ""
    operation: str = ""
    api_version: str = ""
    time: str | None = None
    fields_type: str = ""
    fields: Fields = msgspec.field(default_factory=dict, name="fieldsV1")
    subresource: str = ""

    @property
    def identity(self) -> Identity:
        return (self.manager, self.operation, "" if self.operation == APPLY else self.api_version, self.subresource)


Identity = tuple[str, str, str, str]
"""Manager, operation, apiVersion (of updates only) and subresource: there is one entry of each."""
Managed = dict[Identity, Entry]


class _Given(msgspec.Struct, rename="camel"):
    manager: str | None = ""
    operation: str | None = ""
    api_version: str | None = ""
    time: str | None = None
    fields_type: str | None = ""
    fields: Any = msgspec.field(default=None, name="fieldsV1")
    subresource: str | None = ""


_stored = msgspec.json.Decoder(list[Entry])
_given = msgspec.json.Decoder(list[_Given])
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the manager's name, the apiVersion that it spoke, the part of the object, the time (RFC 3339).

    `ignored` are fields that a write of this part cannot touch.
    """

    manager: str
    api_version: str
    subresource: str = ""
    time: str = ""
    ignored: Fields = field(default_factory=dict)

    def identity(self, operation: str) -> Identity:
        """That of the entry that its writes of this operation go to."""
        version = "" if operation == APPLY else self.api_version
        return (self.manager or "unknown", operation, version, self.subresource)

    def entry(self, operation: str, owned: Fields) -> Entry:
        """Its entry of these fields, written now."""
        name, _, _, part = self.identity(operation)
        return Entry(name, operation, self.api_version, self.time or None, "FieldsV1", owned, part)


def load(data: bytes) -> Managed:
    """The entries of a stored object."""
    return {one.identity: one for one in _stored.decode(data)} if data else {}


def given(data: bytes) -> Managed | None:
    """The entries that a client sent; None if they are none that anybody could have written."""
    out: Managed = {}
    try:
        for one in _given.decode(data):
            if one.operation not in (UPDATE, APPLY) or not one.api_version or one.fields_type != "FieldsV1":
                return None
            owned = fields.read(one.fields or {})
            owned.pop(".", None)
            made = Entry(
                one.manager or "", one.operation, one.api_version, one.time, "FieldsV1", owned, one.subresource or ""
            )
            out[made.identity] = made
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return out


def resets(data: bytes) -> bool:
    """Whether what a client sent asks to forget all managers: an empty list, or one with an empty entry."""
    if len(data) > 300:
        return False
    try:
        found = _given.decode(data)
    except msgspec.MsgspecError:
        return False
    return not found or found == [_Given()]


def dump(managed: Managed) -> bytes:
    """JSON of the entries in upstream's order; empty if there are none."""
    if not managed:
        return b""
    entries = sorted(
        managed.values(), key=lambda one: (one.operation, one.time or "", one.manager, one.api_version, one.subresource)
    )
    return _encoder.encode(entries)


def stripped(owned: Fields) -> Fields:
    """The set without what nobody owns: names, versions, times of the server."""
    return fields.difference(owned, _STRIPPED)


def compare(kind: Type, old: dict[str, Any], new: dict[str, Any], ignored: Fields) -> walk.Comparison:
    """What changed, but for fields that cannot. Unfit if elements of a list cannot be told apart."""
    found = walk.compare(kind, old, new)
    if not ignored:
        return found
    return walk.Comparison(*(fields.without(one, ignored) for one in found))


def take(managed: Managed, changes: walk.Comparison, besides: Identity | None = None) -> Managed:
    """The entries after a change that `besides` made: what changed belongs to nobody else."""
    out: Managed = {}
    gone = fields.union(fields.union(changes.modified, changes.added), changes.removed)
    for identity, one in managed.items():
        if identity == besides:
            out[identity] = one
            continue
        left = fields.difference(one.fields, gone)
        if left is one.fields:
            out[identity] = one
        elif left:
            out[identity] = msgspec.structs.replace(one, fields=left)
    return out


def update(kind: Type, managed: Managed, old: dict[str, Any], new: dict[str, Any], writer: Writer) -> Managed:
    """The entries after an ordinary write: the same ones if nothing changed. Unfit as `compare`."""
    changes = compare(kind, old, new, writer.ignored)
    if not changes:
        return managed
    out = take(managed, changes)
    owned = stripped(fields.union(changes.modified, changes.added))
    if owned:
        identity = writer.identity(UPDATE)
        known = out.get(identity)
        both = fields.union(known.fields, owned) if known is not None else owned
        out[identity] = writer.entry(UPDATE, fields.in_order(both))
    return _capped(out)


def _capped(managed: Managed) -> Managed:
    """At most MAX_UPDATERS entries of updates: the oldest ones of a version become one."""
    updates = [one for one in managed.values() if one.operation == UPDATE]
    surplus = len(updates) - MAX_UPDATERS
    if surplus <= 0:
        return managed
    out = dict(managed)
    first: dict[str, Entry] = {}
    for one in sorted(updates, key=lambda one: (one.time or "", one.identity)):
        if surplus <= 0:
            break
        bucket = first.get(one.api_version)
        if bucket is None:
            first[one.api_version] = one
            continue
        del out[one.identity]
        out.pop(bucket.identity, None)
        owned = fields.in_order(fields.union(bucket.fields, one.fields))
        made = Entry(_OLD, UPDATE, one.api_version, one.time, "FieldsV1", owned)
        first[one.api_version] = out[made.identity] = made
        surplus -= 1
    return out
