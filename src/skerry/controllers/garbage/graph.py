"""Who owns whom, and what follows from it (A7). Pure; fed by the shell beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from skerry.api.resources import Resource
from skerry.api.types import meta

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True)
class Item:
    """One object, as far as ownership goes."""

    row: Resource
    namespace: str
    name: str
    uid: str
    owners: tuple[meta.OwnerReference, ...]
    finalizers: tuple[str, ...]
    deleting: bool

    @classmethod
    def of(cls, row: Resource, obj: Any) -> Item:
        found: meta.ObjectMeta = obj.metadata
        return cls(
            row=row,
            namespace=found.namespace,
            name=found.name,
            uid=found.uid,
            owners=tuple(found.owner_references),
            finalizers=tuple(found.finalizers),
            deleting=found.deletion_timestamp is not None,
        )

    @property
    def waits_for_dependents(self) -> bool:
        return self.deleting and FOREGROUND in self.finalizers

    @property
    def orphans_dependents(self) -> bool:
        return self.deleting and ORPHAN in self.finalizers

    def is_elsewhere(self, dependent: Item) -> bool:
        """Whether this is in a namespace, and not in that of `dependent`, which so cannot have it as an owner."""
        return self.namespace not in ("", dependent.namespace)

    def is_blocking(self, owner: str) -> bool:
        """Whether `owner` (a uid) may only go after this."""
        return any(one.uid == owner and one.block_owner_deletion for one in self.owners)


class Graph:
    """All objects by uid, and who depends on whom; an owner need not be known to have dependents."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._dependents: dict[str, set[str]] = {}

    def put(self, item: Item) -> None:
        self.remove(item.uid)
        self.items[item.uid] = item
        for owner in item.owners:
            self._dependents.setdefault(owner.uid, set()).add(item.uid)

    def remove(self, uid: str) -> Item | None:
        """Forgets an object; what depended on it is still known to."""
        item = self.items.pop(uid, None)
        if item is None:
            return None
        for owner in item.owners:
            known = self._dependents.get(owner.uid)
            if known is not None:
                known.discard(uid)
                if not known:
                    del self._dependents[owner.uid]
        return item

    def dependents(self, uid: str) -> list[Item]:
        return [self.items[one] for one in self._dependents.get(uid, ())]


@dataclass(frozen=True)
class Verdict:
    """`delete` is a propagation policy or "" (then the object stays); `drop` are owners it no longer has."""

    delete: str = ""
    drop: tuple[str, ...] = ()


def judge(
    finalizers: Sequence[str],
    solid: Iterable[meta.OwnerReference],
    absent: Sequence[meta.OwnerReference],
    waiting: Sequence[meta.OwnerReference],
    *,
    has_dependents: bool,
) -> Verdict:
    """What becomes of an object with these owners.

    `solid` exist, `absent` are gone, `waiting` are being deleted in the foreground. One solid owner keeps the object,
    which then loses the others; without one it goes, and its own dependents first if an owner waits for it.
    """
    if any(True for _ in solid):
        return Verdict(drop=tuple(one.uid for one in (*absent, *waiting)))
    if not absent and not waiting:
        return Verdict()
    if waiting and has_dependents:
        return Verdict(delete="Foreground")
    if ORPHAN in finalizers:
        return Verdict(delete="Orphan")
    return Verdict(delete="Foreground" if FOREGROUND in finalizers else "Background")
