"""The endpoints controllers: what events lead to, and the loops that do it. Started by controllers.manager.

Three queues of Service keys (EndpointSlices, Endpoints, mirroring), so that none waits for another; `sync_slices`,
`sync_endpoints` and `sync_mirror` work on them. A pod's change costs the look-up of its Services and the sync of those
for that pod; nothing is ever scanned. The first change is written at once; what arrives while that write is under way
and shortly after goes out together in the next one. Decisions are made on Views, which are never older than this
process's own writes (E46, L12); a write that is refused waits for the cache to catch up.
"""

from __future__ import annotations

import asyncio

from skerry.api.types import core, discovery
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import Clock
from skerry.controllers.endpoints import endpoints, members, mirroring, select, slices
from skerry.controllers.endpoints.books import wants_the_same
from skerry.controllers.endpoints.placement import MAX_ENDPOINTS
from skerry.controllers.endpoints.slice_writer import SliceWriter
from skerry.controllers.endpoints.sync_endpoints import EndpointsSync
from skerry.controllers.endpoints.sync_mirror import MirrorSync
from skerry.controllers.endpoints.sync_slices import SlicesSync

WORKERS = 5


class EndpointsController:
    """Makes Endpoints and EndpointSlices of all Services. `await run()` until cancelled."""

    def __init__(
        self, client: Client, clock: Clock, informers: Informers, *, max_endpoints: int = MAX_ENDPOINTS
    ) -> None:
        """`max_endpoints` is how many a slice holds, 1 to 1000."""
        self._index = select.ServiceIndex()
        self._pods = select.PodIndex()
        self._service_cache = informers.of(core.Service)
        self._pod_cache = informers.of(core.Pod)
        self._node_cache = informers.of(core.Node)
        self._endpoints_cache = informers.of(core.Endpoints)
        self._slice_cache = informers.of(discovery.EndpointSlice)

        self._endpoints = EndpointsSync(client, clock, self._service_cache, self._endpoints_cache, self._pods)
        self._slices = SlicesSync(client, clock, self._service_cache, self._node_cache, self._pods, max_endpoints)
        self._mirror = MirrorSync(client, clock, self._service_cache, self._endpoints.view)
        queues = {slices.CONTROLLER: self._slices.queue, mirroring.CONTROLLER: self._mirror.queue}
        self._slices.writer = self._mirror.writer = SliceWriter(client, clock, self._slice_cache, queues)

        self._pod_cache.add_index("node", lambda pod: [pod.spec.node_name] if pod.spec.node_name else [])
        self._service_cache.subscribe(self._service)
        self._pod_cache.subscribe(self._pod)
        self._node_cache.subscribe(self._node)
        self._endpoints_cache.subscribe(self._endpoints_event)

    async def run(self) -> None:
        """Starts when all caches are filled (U25)."""
        for each in (self._service_cache, self._pod_cache, self._node_cache, self._endpoints_cache, self._slice_cache):
            await each.synced()
        for leftover in self._endpoints_cache.list():
            if members.LEADER_ANNOTATION not in leftover.metadata.annotations:  # E50
                self._endpoints.queue.add(members.key(leftover))
        await asyncio.gather(
            controller.run(self._slices.queue, self._slices.sync, workers=WORKERS),
            controller.run(self._endpoints.queue, self._endpoints.sync, workers=WORKERS),
            controller.run(self._mirror.queue, self._mirror.sync, workers=WORKERS),
        )

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        if old is not None and new is not None and wants_the_same(old, new):
            return  # upstream syncs for a change of status too, and then finds nothing to do (E3)
        if new is not None:
            self._index.put(new)
            key = members.key(new)
        else:
            assert old is not None
            key = members.key(old)
            self._index.remove(key)
        self._slices.queue.add(key)
        self._endpoints.queue.add(key)
        self._mirror.queue.add(key)

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        name = members.key(pod)
        if new is not None:
            self._pods.put(new)
        else:
            self._pods.remove(name)
        if new is not None:
            self._slices.check_weight(old, new)
        for key in select.touched(self._index, old, new):
            self._slices.pod_changed(key, name)
            self._endpoints.pod_changed(key, name)

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        node = new if new is not None else old
        assert node is not None
        name = node.metadata.name
        zones = [one.metadata.labels.get(slices.ZONE_LABEL) if one is not None else None for one in (old, new)]
        # Upstream shows a new zone at the Service's next sync, whenever that is (L10); sooner is no harm.
        if self._slices.is_awaiting(name) or (old is not None and zones[0] != zones[1]):
            for pod in self._pod_cache.by_index("node", name):
                for key in self._index.matching(pod.metadata.namespace, pod.metadata.labels):
                    self._slices.pod_changed(key, members.key(pod))
        self._slices.node_changed(name, new)

    def _endpoints_event(self, old: core.Endpoints | None, new: core.Endpoints | None) -> None:
        item = new or old
        assert item is not None
        key = members.key(item)
        if (new is None) == (self._service_cache.get(key) is not None) and (new is None or endpoints.is_ours(new)):
            # Gone while its Service is there (E3, E52); or there without a Service: written when this cache did not yet
            # know that the Service had gone, and the answer to that write was lost.
            self._endpoints.queue.add(key)
        self._mirror.queue.add(key)
