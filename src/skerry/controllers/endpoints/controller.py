"""The shell of the endpoints controllers: caches in, writes out. Started by controllers.manager.

Three queues of Service keys (EndpointSlices, Endpoints, mirroring), so that none waits for another. A pod's change
costs the look-up of its Services and the sync of those; nothing is ever scanned. The first change is written at once
and what arrives while that write is under way goes out together in the next one. Decisions are made on Views, which
are never older than this process's own writes (E46, L12); a write that is refused waits for the cache to catch up.
"""

from __future__ import annotations

import asyncio

from skerry.api import status
from skerry.api.types import core, discovery
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.endpoints import endpoints, members, mirroring, select, slices, trigger
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.view import View

WORKERS = 5


class EndpointsController:
    """Makes Endpoints and EndpointSlices of all Services. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client = client
        self._events = Recorder(client, endpoints.CONTROLLER, clock=clock)
        self._slice_events = Recorder(client, "endpoint-slice-controller", clock=clock)
        self._mirror_events = Recorder(client, "endpoint-slice-mirroring-controller", clock=clock)
        self._endpoints_queue = Queue(clock)
        self._slices_queue = Queue(clock)
        self._mirror_queue = Queue(clock)
        self._services = select.ServiceIndex()
        self._pods = select.PodIndex()
        self._told: dict[str, trigger.Memory] = {}
        self._told_slices: dict[str, trigger.Memory] = {}
        self._awaiting_node: dict[str, set[str]] = {}
        self._under_way: dict[tuple[str, Queue], list[tuple[discovery.EndpointSlice, bool]]] = {}

        self._service_cache = informers.of(core.Service)
        self._pod_cache = informers.of(core.Pod)
        self._node_cache = informers.of(core.Node)
        self._endpoints = View(informers.of(core.Endpoints), self._endpoints_queue.add)
        self._slices = View(informers.of(discovery.EndpointSlice), self._slice_caught_up)
        self._slices.add_index("service", _service_of)
        self._pod_cache.add_index("node", lambda pod: [pod.spec.node_name] if pod.spec.node_name else [])
        self._service_cache.subscribe(self._service)
        self._pod_cache.subscribe(self._pod)
        self._node_cache.subscribe(self._node)
        self._endpoints.informer.subscribe(self._endpoints_event)
        self._slices.informer.subscribe(self._slice)

    async def run(self) -> None:
        """Starts when all caches are filled (U25)."""
        for one in (self._service_cache, self._pod_cache, self._node_cache):
            await one.synced()
        await self._endpoints.informer.synced()
        await self._slices.informer.synced()
        for leftover in self._endpoints.informer.list():
            if members.LEADER_ANNOTATION not in leftover.metadata.annotations:  # E50
                self._endpoints_queue.add(members.key(leftover))
        await asyncio.gather(
            controller.run(self._slices_queue, self._sync_slices, workers=WORKERS),
            controller.run(self._endpoints_queue, self._sync_endpoints, workers=WORKERS),
            controller.run(self._mirror_queue, self._sync_mirror, workers=WORKERS),
        )

    # What events lead to.

    def _enqueue(self, key: str) -> None:
        self._slices_queue.add(key)
        self._endpoints_queue.add(key)

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        if new is not None:
            self._services.put(new)
            key = members.key(new)
        else:
            assert old is not None
            key = members.key(old)
            self._services.remove(key)
        self._enqueue(key)
        self._mirror_queue.add(key)

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        if new is not None:
            self._pods.put(new)
        elif old is not None:
            self._pods.remove(members.key(old))
        for key in select.touched(self._services, old, new):
            self._enqueue(key)

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        if new is None:
            return
        name = new.metadata.name
        for key in self._awaiting_node.pop(name, ()):
            self._slices_queue.add(key)
        zones = [one.metadata.labels.get(slices.ZONE_LABEL) if one is not None else None for one in (old, new)]
        if old is not None and zones[0] != zones[1]:
            # Upstream shows a new zone at the Service's next sync, whenever that is (L10); sooner is no harm.
            for pod in self._pod_cache.by_index("node", name):
                for key in self._services.matching(pod.metadata.namespace, pod.metadata.labels):
                    self._slices_queue.add(key)

    def _endpoints_event(self, old: core.Endpoints | None, new: core.Endpoints | None) -> None:
        item = new or old
        assert item is not None
        key = members.key(item)
        if new is None and self._service_cache.get(key) is not None:
            self._endpoints_queue.add(key)  # E3, E52
        self._mirror_queue.add(key)

    def _slice(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        """L9: what others did to a slice of ours brings its Service back; what we did ourselves does not."""
        for one in (old, new):
            if one is None or (one is old and new is not None and _same_place(one, new)):
                continue
            for key in _service_of(one):
                self._slice_of(key, one, gone=new is None)

    def _slice_of(self, key: str, one: discovery.EndpointSlice, *, gone: bool) -> None:
        queue = self._queue_of(one)
        if queue is None:
            return
        if (key, queue) in self._under_way:
            # Perhaps it is the write under way: looked at when that is answered.
            self._under_way[key, queue].append((one, gone))
        elif not self._is_own(one, gone=gone):
            queue.add(key)

    def _is_own(self, one: discovery.EndpointSlice, *, gone: bool) -> bool:
        return self._slices.is_own_deletion(one) if gone else self._slices.is_own(one)

    def _queue_of(self, one: discovery.EndpointSlice) -> Queue | None:
        manager = one.metadata.labels.get(slices.MANAGED_BY)
        if manager == slices.CONTROLLER:
            return self._slices_queue
        return self._mirror_queue if manager == mirroring.CONTROLLER else None

    def _slice_caught_up(self, key: str) -> None:
        one = self._slices.informer.get(key)
        if one is not None and (queue := self._queue_of(one)) is not None:
            for service in _service_of(one):
                queue.add(service)

    # What is done about it.

    async def _sync_endpoints(self, key: str) -> None:
        if self._endpoints.is_behind(key):
            return
        service, current = self._service_cache.get(key), self._endpoints.get(key)
        if service is None:
            self._told.pop(key, None)
            if current is not None:
                await self._delete_endpoints(current)  # E8
            return
        if not members.wants_endpoints(service):
            return
        pods = self._pods.matching(service.metadata.namespace, service.spec.selector)
        time, memory = trigger.observe(self._told.get(key), service, pods)
        wanted = endpoints.decide(service, pods, current, time)
        if wanted is not None:
            await self._write_endpoints(key, wanted, current)
        self._told[key] = memory

    async def _delete_endpoints(self, current: core.Endpoints) -> None:
        try:
            await self._client.delete(
                core.Endpoints, current.metadata.name, current.metadata.namespace, uid=current.metadata.uid
            )
        except status.ApiError as error:
            if not was_behind(error):
                raise
        self._endpoints.deleted(current)

    async def _write_endpoints(self, key: str, wanted: core.Endpoints, current: core.Endpoints | None) -> None:
        try:
            made = await (self._client.create(wanted) if current is None else self._client.update(wanted))
        except status.ApiError as error:
            if is_namespace_terminating(error):
                return  # E45
            if was_behind(error):
                self._endpoints.refused(wanted)
            elif current is None:
                text = f"Failed to create endpoint for service {key}: {error}"
                self._events.event(wanted, "Warning", "FailedToCreateEndpoint", text)
            else:
                text = f"Failed to update endpoint {key}: {error}"
                self._events.event(wanted, "Warning", "FailedToUpdateEndpoint", text)
            raise
        self._endpoints.wrote(made)

    async def _sync_slices(self, key: str) -> None:
        service = self._service_cache.get(key)
        if service is None or not members.wants_endpoints(service):
            self._told_slices.pop(key, None)  # the garbage collector removes the slices (L11)
            return
        existing = self._managed(key, slices.CONTROLLER)
        if self._any_behind(existing):
            return
        pods = self._pods.matching(service.metadata.namespace, service.spec.selector)
        time, memory = trigger.observe(self._told_slices.get(key), service, pods)
        plan = slices.reconcile(service, pods, self._node_cache.get, existing, time)
        for node in plan.missing_nodes:
            self._awaiting_node.setdefault(node, set()).add(key)
        try:
            await self._write(key, plan, self._slices_queue)
        except status.ApiError as error:
            if not was_behind(error):
                text = f"Error updating Endpoint Slices for Service {key}: {error}"
                self._slice_events.event(service, "Warning", "FailedToUpdateEndpointSlices", text)  # L13
            raise
        self._told_slices[key] = memory

    async def _sync_mirror(self, key: str) -> None:
        current, service = self._endpoints.get(key), self._service_cache.get(key)
        existing = self._managed(key, mirroring.CONTROLLER)
        if self._any_behind(existing):
            return
        if not existing and not mirroring.is_mirrored(current, service):
            return
        mirrored = mirroring.reconcile(current, service, existing)
        await self._write(key, mirrored.plan, self._mirror_queue)
        if current is not None and mirrored.plan:
            self._tell_skipped(current, mirrored)

    def _tell_skipped(self, current: core.Endpoints, mirrored: mirroring.Mirrored) -> None:
        """X5."""
        if mirrored.invalid:
            text = f"Skipped {mirrored.invalid} invalid IP addresses when mirroring to EndpointSlices"
            self._mirror_events.event(current, "Warning", "InvalidIPAddress", text)
        if mirrored.skipped:
            text = (
                f"A max of {mirroring.MAX_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints"
                f" subset. {mirrored.skipped} addresses were skipped"
            )
            self._mirror_events.event(current, "Warning", "TooManyAddressesToMirror", text)

    # Slices, shared by the two controllers that write them.

    def _managed(self, key: str, manager: str) -> list[discovery.EndpointSlice]:
        found = self._slices.by_index("service", key)
        return [one for one in found if one.metadata.labels.get(slices.MANAGED_BY) == manager]

    def _any_behind(self, existing: list[discovery.EndpointSlice]) -> bool:
        return any(self._slices.is_behind(f"{one.metadata.namespace}/{one.metadata.name}") for one in existing)

    async def _write(self, key: str, plan: slices.Plan, queue: Queue) -> None:
        """Creates, updates, deletes; the first error ends it (L32)."""
        if not plan:
            return
        self._under_way[key, queue] = []
        try:
            for one in plan.create:
                try:
                    self._slices.wrote(await self._client.create(one))
                except status.ApiError as error:
                    if is_namespace_terminating(error):
                        return
                    raise
            for one in plan.update:
                await self._update_slice(one)
            for one in plan.delete:
                await self._delete_slice(one)
        finally:
            if not all(self._is_own(seen, gone=gone) for seen, gone in self._under_way.pop((key, queue))):
                queue.add(key)

    async def _update_slice(self, one: discovery.EndpointSlice) -> None:
        try:
            self._slices.wrote(await self._client.update(one))
        except status.ApiError as error:
            if was_behind(error):
                self._slices.refused(one)
            raise

    async def _delete_slice(self, one: discovery.EndpointSlice) -> None:
        try:
            await self._client.delete(
                discovery.EndpointSlice, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid
            )
        except status.ApiError as error:
            if not was_behind(error):
                raise
        self._slices.deleted(one)


def _service_of(one: discovery.EndpointSlice) -> list[str]:
    name = one.metadata.labels.get(slices.SERVICE_NAME)
    return [f"{one.metadata.namespace}/{name}"] if name else []


def _same_place(one: discovery.EndpointSlice, other: discovery.EndpointSlice) -> bool:
    labels = (slices.SERVICE_NAME, slices.MANAGED_BY)
    return [one.metadata.labels.get(each) for each in labels] == [other.metadata.labels.get(each) for each in labels]
