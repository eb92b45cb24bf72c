"""Server-side apply itself: merging what a manager wants into an object, and who owns what then. Pure.

Called by apiserver/applying.py. What the manager said last time and does not say now is removed, unless somebody else
owns it too; what it says otherwise than another owner is a conflict.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from skerry.api.apply import checking, fields, managed, merging, walk
from skerry.api.apply.fields import Fields
from skerry.api.apply.managed import APPLY, UPDATE, Entry, Managed, Writer
from skerry.api.apply.types import Type

BEFORE = "before-first-apply"
KUBECTL = "kubectl"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_ANNOTATIONS = 256 * 1024

Canonical = Callable[[Any], dict[str, Any]]


class Conflicts(Exception):
    """Fields that others own and that would change; `str()` is upstream's message."""

    def __init__(self, found: list[tuple[Entry, tuple[str, ...]]]) -> None:
        self.found = found
        super().__init__(_message(found))

    def causes(self) -> list[dict[str, str]]:
        """The causes of a Status."""
        return [
            {
                "reason": "FieldManagerConflict",
                "message": f"conflict with {_name(entry)}",
                "field": fields.shown(path),
            }
            for entry, path in self.found
        ]


def _name(entry: Entry) -> str:
    text = json.dumps(entry.manager, ensure_ascii=False)
    if entry.subresource:
        text += f' with subresource "{entry.subresource}"'
    return f"{text} using {entry.api_version}" if entry.operation == UPDATE else text


def _message(found: list[tuple[Entry, tuple[str, ...]]]) -> str:
    if len(found) == 1:
        entry, path = found[0]
        return f"Apply failed with 1 conflict: conflict with {_name(entry)}: {fields.shown(path)}"
    lines: list[str] = []
    told = ""
    for entry, path in found:
        if _name(entry) != told:
            told = _name(entry)
            lines.append(f"conflicts with {told}:")
        lines.append(f"- {fields.shown(path)}")
    return f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)


class Applied(NamedTuple):
    """The object as it is to be (not yet with defaults), and the entries of its managers."""

    value: dict[str, Any]
    managed: Managed


class Applier(NamedTuple):
    """How a kind is applied: its type, an object of it that says nothing, and what brings values into their usual form.

    `canonical` leaves out nulls and what the API leaves out; it may raise what it likes.
    """

    kind: Type
    empty: dict[str, Any]
    canonical: Canonical


def apply(
    applier: Applier,
    live: dict[str, Any] | None,
    config: dict[str, Any],
    entries: Managed,
    writer: Writer,
    *,
    force: bool = False,
) -> Applied:
    """Applies `config` to the object `live` (None: there is none yet), whose entries are `entries`.

    Both without managedFields; `live` in canonical form. walk.Unfit for a config that its type cannot hold, Conflicts.
    """
    checking.check(applier.kind, config)
    if not entries and live is not None:
        first = Writer(BEFORE, writer.api_version, writer.subresource, writer.time, writer.ignored)
        entries = managed.update(applier.kind, {}, applier.empty, live, first)
    try:
        done = _apply(applier, live, config, entries, writer, force=force)
    except Conflicts as conflicts:
        if writer.manager != KUBECTL or live is None:
            raise
        left = _not_from_last_applied(applier, live, conflicts)
        if left:
            raise Conflicts(left) from None
        done = _apply(applier, live, config, entries, writer, force=True)
    if writer.manager == KUBECTL:
        return done._replace(value=_told_last_applied(done.value, config))
    return done


def _apply(
    applier: Applier,
    live: dict[str, Any] | None,
    config: dict[str, Any],
    entries: Managed,
    writer: Writer,
    *,
    force: bool,
) -> Applied:
    kind = applier.kind
    before = applier.empty if live is None else live
    identity = writer.identity(APPLY)
    last = entries.get(identity)
    owned = fields.without(walk.owned(kind, config), writer.ignored)
    now = {**entries, identity: writer.entry(APPLY, fields.in_order(managed.stripped(owned)))}
    merged = merging.merge(kind, before, config)
    if last is not None and last.fields:
        merged = _pruned(kind, merged, last.fields, [*(one.fields for one in now.values()), owned])
    merged = applier.canonical(merged)
    changes = managed.compare(kind, before, merged, writer.ignored)
    if not force:
        _refuse(now, identity, changes)
    after = managed.take(now, changes, besides=identity)
    mine = fields.difference(after[identity].fields, changes.removed)
    if not mine:
        del after[identity]
    else:
        time = writer.time
        if not changes and last is not None and last.fields == mine and last.api_version == writer.api_version:
            time = last.time or time
        after[identity] = msgspec.structs.replace(after[identity], fields=mine, time=time or None)
    return Applied(merged, after)


def _pruned(kind: Type, merged: Any, last: Fields, owned: list[Fields]) -> Any:
    """The merged object without what only the last apply of this manager held."""
    last = walk.named(kind, last)
    pruned = merging.remove(kind, merged, last)
    everybody: Fields = {}
    for one in owned:
        everybody = fields.union(everybody, walk.named(kind, one))
    whole = walk.named(kind, walk.owned(kind, merged))
    left = walk.named(kind, walk.owned(kind, pruned))
    pruned = merging.remove(kind, merged, fields.difference(whole, fields.union(left, everybody)))
    left = walk.named(kind, walk.owned(kind, pruned))
    return merging.remove(kind, merged, fields.intersection(fields.difference(whole, left), last)) or {}


def _refuse(entries: Managed, besides: managed.Identity, changes: walk.Comparison) -> None:
    """Conflicts if the changes touch what others own."""
    touched = fields.union(changes.modified, changes.added)
    found = []
    for identity in sorted(entries):
        if identity != besides:
            entry = entries[identity]
            found += [(entry, path) for path in fields.paths(fields.intersection(entry.fields, touched))]
    if found:
        raise Conflicts(found)


def _not_from_last_applied(
    applier: Applier, live: dict[str, Any], conflicts: Conflicts
) -> list[tuple[Entry, tuple[str, ...]]]:
    """The conflicts over fields that `kubectl apply` without --server-side did not write and leave as they are."""
    annotations = (live.get("metadata") or {}).get("annotations") or {}
    try:
        said = json.loads(annotations[LAST_APPLIED])
        if said.get("apiVersion") != live.get("apiVersion"):
            return conflicts.found
        checking.check(applier.kind, said)
        owned = walk.owned(applier.kind, said)
        changes = walk.compare(applier.kind, applier.canonical(said), live)
    except Exception:  # noqa: BLE001 - whatever is wrong with the annotation, it allows nothing
        return conflicts.found
    for part in changes:
        owned = fields.difference(owned, part)
    return [(entry, path) for entry, path in conflicts.found if not fields.contains(owned, path)]


def _told_last_applied(value: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The object with its annotation of the last `kubectl apply`, if it has one, saying what was applied now."""
    meta = value.get("metadata") or {}
    annotations = meta.get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return value
    said = {**config, "metadata": dict(config.get("metadata") or {})}
    own = said["metadata"].get("annotations")
    if isinstance(own, dict) and LAST_APPLIED in own:
        said["metadata"]["annotations"] = {key: one for key, one in own.items() if key != LAST_APPLIED}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    annotations = {**annotations, LAST_APPLIED: text}
    if sum(len(key.encode()) + len(one.encode()) for key, one in annotations.items()) > _MAX_ANNOTATIONS:
        del annotations[LAST_APPLIED]
    return {**value, "metadata": {**meta, "annotations": annotations}}
