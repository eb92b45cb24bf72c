"""Deletes what is in a namespace that is being deleted, then lets the namespace go.

Started by controllers.manager. Pods go first, so that what they may still need while they stop is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from skerry.api import resources, status
from skerry.api.resources import Resource
from skerry.api.types import core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informer, Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock, rfc3339
from skerry.controllers.kinds import Kinds
from skerry.controllers.refusals import was_behind

FINALIZER = "kubernetes"
_INDEX = "namespace"


@dataclass
class Remains:
    """What is still in the namespace: by resource (`pods.`), and by finalizer."""

    resources: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def conditions(known: list[core.NamespaceCondition], left: Remains, now: float) -> list[core.NamespaceCondition]:
    """The conditions of a terminating namespace, in upstream's words."""
    remaining = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(left.resources.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(left.finalizers.items()))
    failed = "; ".join(left.failures)
    wanted = [
        ("NamespaceDeletionDiscoveryFailure", "", "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            f"Failed to delete all resource types, {len(left.failures)} remaining: {failed}" if failed else "",
            "ContentDeletionFailed" if failed else "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            f"Some resources are remaining: {remaining}" if remaining else "",
            "SomeResourcesRemain" if remaining else "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            f"Some content in the namespace has finalizers remaining: {held}" if held else "",
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ]
    before = {one.type: one for one in known}
    made: list[core.NamespaceCondition] = []
    for kind, trouble, reason, fine in wanted:
        truth, old = "True" if trouble else "False", before.pop(kind, None)
        since = old.last_transition_time if old is not None and old.status == truth else rfc3339(now)
        made.append(
            core.NamespaceCondition(
                type=kind, status=truth, reason=reason, message=trouble or fine, last_transition_time=since
            )
        )
    return [*before.values(), *made]


class NamespaceController:
    """Empties terminating namespaces. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers, kinds: Kinds | None = None) -> None:
        self._client, self._clock = client, clock
        self._queue = Queue(clock)
        self._namespaces = informers.of(core.Namespace)
        self._namespaces.subscribe(self._namespace)
        self._contents: list[tuple[Resource, Informer[Any]]] = []
        for row in resources.RESOURCES:
            if row.namespaced and "watch" in row.verbs and row.kind != "Event":
                self._add(row, informers.of(row.type))
        self._contents.sort(key=lambda one: one[0].kind != "Pod")
        (kinds or Kinds(informers)).subscribe(self._add, self._remove)

    def _add(self, row: Resource, informer: Informer[Any]) -> None:
        if row.namespaced:
            informer.add_index(_INDEX, lambda one: [one.metadata.namespace])
            informer.subscribe(self._content)
            self._contents.append((row, informer))

    def _remove(self, row: Resource, _: Informer[Any]) -> None:
        self._contents = [one for one in self._contents if one[0] is not row]

    async def run(self) -> None:
        await self._namespaces.synced()
        for row, informer in list(self._contents):
            if row.module:  # a custom kind may go before it was there
                await informer.synced()
        await controller.run(self._queue, self._sync, workers=4)

    def _namespace(self, _: core.Namespace | None, new: core.Namespace | None) -> None:
        if new is not None and new.metadata.deletion_timestamp is not None:
            self._queue.add(new.metadata.name)

    def _content(self, old: Any, new: Any) -> None:
        item = new if new is not None else old
        namespace = self._namespaces.get(item.metadata.namespace)
        if namespace is not None and namespace.metadata.deletion_timestamp is not None:
            self._queue.add(namespace.metadata.name)

    async def _sync(self, name: str) -> None:
        namespace = self._namespaces.get(name)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return
        if FINALIZER not in namespace.spec.finalizers:
            return
        left = await self._empty(name)
        if left.resources or left.failures:
            await self._report(namespace, left)
            if left.failures:
                self._queue.add_after(name, 5.0)
            return
        await self._delete_events(name)
        kept = [one for one in namespace.spec.finalizers if one != FINALIZER]
        done = msgspec.structs.replace(namespace, spec=msgspec.structs.replace(namespace.spec, finalizers=kept))
        try:
            await self._client.update(done, subresource="finalize")
        except status.ApiError as error:
            if status.is_conflict(error):
                raise
            if not status.is_not_found(error):
                raise

    async def _empty(self, name: str) -> Remains:
        """Asks for the deletion of all that is there; what remains. Pods first, the rest when they are gone."""
        left = Remains()
        for row, informer in list(self._contents):
            items = informer.by_index(_INDEX, name)
            if not items:
                # A cache can be behind; what is not in it is asked of the server before the namespace may go.
                items = await self._stored(row, name) if not left.resources else []
            await asyncio.gather(*(self._delete(row, one, left) for one in items))
            if items:
                left.resources[f"{row.plural}.{row.group}"] += len(items)
                for one in items:
                    left.finalizers.update(one.metadata.finalizers)
                if row.kind == "Pod":
                    return left
        return left

    async def _stored(self, row: Resource, namespace: str) -> list[Any]:
        try:
            return (await self._client.list(row.type, namespace)).items
        except status.ApiError as error:
            if not row.module and status.is_not_found(error):
                return []  # the kind itself has gone
            raise

    async def _delete(self, row: Resource, one: Any, left: Remains) -> None:
        if one.metadata.deletion_timestamp is not None:
            return
        metadata = one.metadata
        try:
            await self._client.delete(
                row.type, metadata.name, metadata.namespace, uid=metadata.uid, propagation_policy="Background"
            )
        except status.ApiError as error:
            if not was_behind(error):
                left.failures.append(str(error))

    async def _delete_events(self, namespace: str) -> None:
        for one in (await self._client.list(core.Event, namespace)).items:
            try:
                await self._client.delete(core.Event, one.metadata.name, namespace)
            except status.ApiError as error:
                if not status.is_not_found(error):
                    raise

    async def _report(self, namespace: core.Namespace, left: Remains) -> None:
        made = conditions(namespace.status.conditions, left, self._clock.now())
        if made == namespace.status.conditions:
            return
        changed = msgspec.structs.replace(namespace, status=msgspec.structs.replace(namespace.status, conditions=made))
        try:
            await self._client.update(changed, subresource="status")
        except status.ApiError as error:
            if not was_behind(error):
                raise
            # Its newer state is on the way and brings the namespace back.
