"""The shell of the garbage collector: caches of every kind in, deletions out. Started by controllers.manager.

The graph says when to look; before anything is deleted, the object and its missing owners are asked of the server.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from skerry.api import codec, resources, status
from skerry.api.resources import Resource
from skerry.api.types import meta
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informer, Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.garbage import graph
from skerry.controllers.kinds import Kinds
from skerry.controllers.refusals import was_behind

WORKERS = 20
_JUDGE, _FOREGROUND, _ORPHAN = "judge", "foreground", "orphan"
_log = logging.getLogger(__name__)


class GarbageController:
    """Deletes what lost its owners. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers, kinds: Kinds | None = None) -> None:
        self._client = client
        self._queue = Queue(clock)
        self._events = Recorder(client, "garbage-collector-controller", clock=clock)
        self._graph = graph.Graph()
        self._caches: list[Informer[Any]] = []
        for row in resources.RESOURCES:
            if "watch" in row.verbs and "delete" in row.verbs and row.kind != "Event":
                informer: Informer[Any] = informers.of(row.type)
                informer.subscribe(partial(self._event, row))
                self._caches.append(informer)
        self._kinds = kinds or Kinds(informers)
        self._kinds.subscribe(self._added, lambda _row, _informer: None)

    def _added(self, row: Resource, informer: Informer[Any]) -> None:
        informer.subscribe(partial(self._event, row))

    async def run(self) -> None:
        for one in self._caches:
            await one.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _event(self, row: Resource, old: Any, new: Any) -> None:
        if old is not None and (new is None or old.metadata.uid != new.metadata.uid):
            self._gone(graph.Item.of(row, old))
        if new is not None:
            self._seen(graph.Item.of(row, new))

    def _gone(self, item: graph.Item) -> None:
        known = self._graph.remove(item.uid) or item
        for one in self._graph.dependents(item.uid):
            self._add(_JUDGE, one.uid)
        for owner in known.owners:
            above = self._graph.items.get(owner.uid)
            if above is not None and above.waits_for_dependents:
                self._add(_FOREGROUND, owner.uid)

    def _seen(self, item: graph.Item) -> None:
        known = self._graph.items.get(item.uid)
        if known == item:
            return
        self._graph.put(item)
        if item.orphans_dependents:
            self._add(_ORPHAN, item.uid)
        elif item.waits_for_dependents:
            self._add(_FOREGROUND, item.uid)
        for owner in item.owners:
            above = self._graph.items.get(owner.uid)
            if above is None or above.waits_for_dependents or above.is_elsewhere(item):
                self._add(_JUDGE, item.uid)

    def _add(self, what: str, uid: str) -> None:
        self._queue.add(f"{what} {uid}")

    async def _sync(self, key: str) -> None:
        what, _, uid = key.partition(" ")
        item = self._graph.items.get(uid)
        if item is None:
            return
        if what == _JUDGE:
            await self._judge(item)
        elif what == _FOREGROUND:
            await self._foreground(item)
        else:
            await self._orphan(item)

    async def _judge(self, item: graph.Item) -> None:
        if item.deleting and not item.waits_for_dependents:
            return
        obj = await self._live(item)
        if obj is None:
            return
        found: meta.ObjectMeta = obj.metadata
        sorted_: dict[str, list[meta.OwnerReference]] = {"solid": [], "absent": [], "waiting": []}
        for owner in found.owner_references:
            self._tell_of_elsewhere(item, obj, owner)
            sorted_[await self._state(item, owner)].append(owner)
        verdict = graph.judge(found.finalizers, **sorted_, has_dependents=bool(self._graph.dependents(item.uid)))
        if verdict.drop:
            await self._update(obj, _without_owners(obj, verdict.drop))
        elif verdict.delete and not (item.deleting and verdict.delete == "Background"):
            await self._delete(item, obj, verdict.delete)

    def _tell_of_elsewhere(self, item: graph.Item, obj: Any, owner: meta.OwnerReference) -> None:
        known = self._graph.items.get(owner.uid)
        if known is not None and known.is_elsewhere(item):
            whose = (
                f"{owner.api_version}/{owner.kind}, namespace: {item.namespace}, name: {owner.name}, uid: {owner.uid}"
            )
            text = f'ownerRef [{whose}] does not exist in namespace "{item.namespace}"'
            self._events.event(obj, "Warning", "OwnerRefInvalidNamespace", text)

    async def _state(self, item: graph.Item, owner: meta.OwnerReference) -> str:
        known = self._graph.items.get(owner.uid)
        if known is not None and not known.is_elsewhere(item):
            return "waiting" if known.waits_for_dependents else "solid"
        row = self._kinds.by_kind(owner.api_version, owner.kind)
        if row is None or (row.namespaced and not item.namespace):
            return "solid"  # nothing can be known of it; better kept
        try:
            found = await self._client.get(row.type, owner.name, item.namespace if row.namespaced else "")
        except status.ApiError as error:
            if status.is_not_found(error):
                return "absent"
            raise
        if found.metadata.uid != owner.uid:
            return "absent"
        return "waiting" if graph.Item.of(row, found).waits_for_dependents else "solid"

    async def _foreground(self, item: graph.Item) -> None:
        """The owner goes when nothing that blocks it is left."""
        dependents = self._graph.dependents(item.uid)
        for one in dependents:
            if not one.deleting:
                self._add(_JUDGE, one.uid)
        if not any(one.is_blocking(item.uid) for one in dependents):
            await self._without_finalizer(item, graph.FOREGROUND)

    async def _orphan(self, item: graph.Item) -> None:
        for one in self._graph.dependents(item.uid):
            obj = await self._live(one)
            if obj is not None:
                await self._update(obj, _without_owners(obj, (item.uid,)))
        await self._without_finalizer(item, graph.ORPHAN)

    async def _without_finalizer(self, item: graph.Item, finalizer: str) -> None:
        obj = await self._live(item)
        if obj is not None and finalizer in obj.metadata.finalizers:
            kept = [one for one in obj.metadata.finalizers if one != finalizer]
            await self._update(obj, _with_metadata(obj, finalizers=kept))

    async def _live(self, item: graph.Item) -> Any:
        """The object as the server has it now, None if it is gone."""
        try:
            obj = await self._client.get(item.row.type, item.name, item.namespace)
        except status.ApiError as error:
            if status.is_not_found(error):
                return None
            raise
        return obj if obj.metadata.uid == item.uid else None

    async def _update(self, obj: Any, changed: Any) -> None:
        if changed.metadata == obj.metadata:
            return
        try:
            await self._client.update(changed)
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise

    async def _delete(self, item: graph.Item, obj: Any, policy: str) -> None:
        try:
            await self._client.delete(
                item.row.type,
                item.name,
                item.namespace,
                uid=item.uid,
                resource_version=obj.metadata.resource_version,
                propagation_policy=policy,
            )
        except status.ApiError as error:
            if status.is_conflict(error):
                raise
            if not was_behind(error):
                raise
        _log.debug("deleted %s %s/%s", item.row.kind, item.namespace, item.name)


def _without_owners(obj: Any, uids: tuple[str, ...]) -> Any:
    return _with_metadata(obj, owner_references=[one for one in obj.metadata.owner_references if one.uid not in uids])


def _with_metadata(obj: Any, **changes: Any) -> Any:
    return codec.replace(obj, metadata=codec.replace(obj.metadata, **changes))
