"""EndpointSlices as the controllers see and write them. Called by `sync_slices` and `sync_mirror`, which share one.

A change to a slice brings its Service back only if somebody else made it (L9): what is on its way to the server while
an event comes in is judged when the answer is there.
"""

from __future__ import annotations

from skerry.api import status
from skerry.api.types import discovery
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.endpoints.plan import Plan
from skerry.controllers.endpoints.slices import MANAGED_BY, SERVICE_NAME
from skerry.controllers.refusals import PATIENCE, is_namespace_terminating, was_behind
from skerry.controllers.view import View


class SliceWriter:
    """`queues` has the queue of each managed-by label that is handled here."""

    def __init__(
        self, client: Client, clock: Clock, informer: Informer[discovery.EndpointSlice], queues: dict[str, Queue]
    ) -> None:
        self._client, self._clock, self._queues = client, clock, queues
        self._view = View(informer, self._caught_up, self._comes_back)
        self._view.add_index("service", service_of)
        self._under_way: dict[tuple[str, Queue], list[tuple[discovery.EndpointSlice, bool]]] = {}
        informer.subscribe(self._event)

    def managed(self, key: str, manager: str) -> list[discovery.EndpointSlice]:
        """The slices of a Service that one controller manages, never older than what was written here."""
        found = self._view.by_index("service", key)
        return [one for one in found if one.metadata.labels.get(MANAGED_BY) == manager]

    def is_behind(self, existing: list[discovery.EndpointSlice]) -> bool:
        """Whether a write to one of these was refused and why has not been seen yet; its Service comes back then."""
        return any(self._view.is_behind(f"{one.metadata.namespace}/{one.metadata.name}") for one in existing)

    async def write(self, key: str, plan: Plan, queue: Queue) -> bool:
        """Creates, updates, deletes; the first error ends it (L32). Whether all was written."""
        self._under_way[key, queue] = []
        try:
            for one in plan.create:
                try:
                    self._view.wrote(await self._client.create(one))
                except status.ApiError as error:
                    if is_namespace_terminating(error):
                        return False
                    raise
            for one in plan.update:
                await self._update(one)
            for one in plan.delete:
                await self._delete(one)
        finally:
            if not all(self._is_own(seen, gone=gone) for seen, gone in self._under_way.pop((key, queue))):
                queue.add(key)
        return True

    async def _update(self, one: discovery.EndpointSlice) -> None:
        try:
            self._view.wrote(await self._client.update(one))
        except status.ApiError as error:
            if status.is_not_found(error):
                self._view.gone(one)
            if was_behind(error):
                self._refused(one)
            raise

    async def _delete(self, one: discovery.EndpointSlice) -> None:
        try:
            await self._client.delete(
                discovery.EndpointSlice, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid
            )
        except status.ApiError as error:
            if status.is_conflict(error):
                self._refused(one)
            if not status.is_not_found(error):
                raise
        self._view.deleted(one)

    def _refused(self, one: discovery.EndpointSlice) -> None:
        """The server had something newer: its Service waits for the news of that."""
        self._view.refused(one)
        name = f"{one.metadata.namespace}/{one.metadata.name}"
        self._clock.call_later(PATIENCE, lambda: self._view.wait_no_longer(name))

    # Events.

    def _event(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        news = new if new is not None else old
        assert news is not None
        for place in (old, new):  # a slice that changed its place concerns both
            if place is None or (place is old and new is not None and _same_place(place, new)):
                continue
            for key in service_of(place):
                self._of_service(key, self._queue_of(place), news, gone=new is None)

    def _of_service(self, key: str, queue: Queue | None, one: discovery.EndpointSlice, *, gone: bool) -> None:
        if queue is None:
            return
        if (key, queue) in self._under_way:
            # Perhaps it is the write under way: looked at when that is answered.
            self._under_way[key, queue].append((one, gone))
        elif not self._is_own(one, gone=gone):
            queue.add(key)

    def _is_own(self, one: discovery.EndpointSlice, *, gone: bool) -> bool:
        return self._view.is_own_deletion(one) if gone else self._view.is_own(one)

    def _queue_of(self, one: discovery.EndpointSlice) -> Queue | None:
        return self._queues.get(one.metadata.labels.get(MANAGED_BY, ""))

    def _caught_up(self, key: str) -> None:
        one = self._view.informer.get(key)
        if one is not None:
            self._comes_back(one)

    def _comes_back(self, one: discovery.EndpointSlice) -> None:
        queue = self._queue_of(one)
        if queue is not None:
            for service in service_of(one):
                queue.add(service)


def service_of(one: discovery.EndpointSlice) -> list[str]:
    """The key of the Service that a slice says it belongs to, as an index wants it."""
    name = one.metadata.labels.get(SERVICE_NAME)
    return [f"{one.metadata.namespace}/{name}"] if name else []


def _same_place(one: discovery.EndpointSlice, other: discovery.EndpointSlice) -> bool:
    labels = (SERVICE_NAME, MANAGED_BY)
    return [one.metadata.labels.get(each) for each in labels] == [other.metadata.labels.get(each) for each in labels]
