"""The Warning event of a Service that has had no ready endpoint for a while: what `skerry why` would say first.

A controller on caches, started by cluster/controlplane. It reads the Service's own condition EndpointsReady, so pods
and slices cost it nothing. While a Service stays without endpoints the event is repeated after pauses that double, and
counted in one object as long as the reason is the same. At most ten are worked out in a second, whatever happens.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from skerry.api import status
from skerry.api.types import apps, core, discovery
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informer, Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.endpoints import members
from skerry.controllers.endpoints.slice_writer import service_of
from skerry.explain import workloads
from skerry.explain.findings import PROBLEM
from skerry.explain.seen import Seen, Workload, seconds
from skerry.explain.why import explain

GRACE = 30.0
"""Seconds without a ready endpoint before a word is said."""
LONGEST = 600.0
"""The pauses between two of these events double from GRACE to this, in seconds."""
PACE, SHARE = 0.1, 20
"""Seconds between two Services, or this many times what the last one took: many at once do not keep others waiting."""
REASON = "NoReadyEndpoints"
_NAMESPACE, _SERVICE = "namespace", "service"  # indexes that other controllers keep as well
_OTHERS = 500
"""Pods that are looked at as near misses."""
_SEARCHED = 2000
"""In a cluster of more pods, other namespaces are not searched for pods that would match."""


@dataclass(slots=True)
class _Silence:
    """A Service without ready endpoints: when to speak next (monotonic), and how long to wait after that."""

    due: float
    pause: float


class NoReadyEndpoints:
    """`await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._recorder = Recorder(client, "skerry-why", clock=clock)
        self._queue = Queue(clock)
        self._silent: dict[str, _Silence] = {}
        self._services = informers.of(core.Service)
        self._pods = informers.of(core.Pod)
        self._nodes = informers.of(core.Node)
        self._endpoints = informers.of(core.Endpoints)
        self._slices = informers.of(discovery.EndpointSlice)
        makers = (apps.Deployment, apps.ReplicaSet, apps.StatefulSet, apps.DaemonSet)
        self._makers: list[Informer[Any]] = [informers.of(kind) for kind in makers]
        for cache in self._makers:
            cache.add_index(_NAMESPACE, lambda one: [one.metadata.namespace])
        self._pods.add_index(_NAMESPACE, lambda one: [one.metadata.namespace])
        self._services.add_index(_NAMESPACE, lambda one: [one.metadata.namespace])
        self._slices.add_index(_SERVICE, service_of)
        self._services.subscribe(self._service)

    async def run(self) -> None:
        for cache in (self._services, self._pods, self._nodes, self._endpoints, self._slices):
            await cache.synced()
        for cache in self._makers:
            await cache.synced()
        while True:
            key = await self._queue.get()
            began = self._clock.monotonic()
            try:
                if await self._sync(key):
                    await self._clock.sleep(max(PACE, SHARE * (self._clock.monotonic() - began)))
            finally:
                self._queue.done(key)

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one = new or old
        assert one is not None
        key = key_of(one)
        since = _without_since(new) if new is not None else None
        if since is None:
            self._silent.pop(key, None)
        elif key not in self._silent:
            passed = min(max(0.0, self._clock.now() - seconds(since)), GRACE)  # also before we were started
            self._silent[key] = _Silence(self._clock.monotonic() + GRACE - passed, GRACE)
            self._queue.add_after(key, GRACE - passed)

    async def _sync(self, key: str) -> bool:
        """Whether it cost anything."""
        silence, service = self._silent.get(key), self._services.get(key)
        if silence is None or service is None:
            return False
        now = self._clock.monotonic()
        if silence.due > now:  # of an earlier silence
            self._queue.add_after(key, silence.due - now)
            return False
        silence.due, silence.pause = now + silence.pause, min(2 * silence.pause, LONGEST)
        self._queue.add_after(key, silence.due - now)
        found = explain(await self._seen(key, service)).findings
        nearest = next((one.message for one in found if one.severity == PROBLEM), "")
        if nearest and self._silent.get(key) is silence:
            self._recorder.event(service, "Warning", REASON, nearest)
        return True

    async def _seen(self, key: str, service: core.Service) -> Seen:
        namespace, wanted = service.metadata.namespace, service.spec.selector.items()
        matching: list[core.Pod] = []
        others: list[core.Pod] = []
        for pod in self._pods.by_index(_NAMESPACE, namespace):
            (matching if wanted <= pod.metadata.labels.items() else others).append(pod)
        elsewhere: list[core.Pod] = []
        if not matching and len(self._pods.items) <= _SEARCHED:
            elsewhere = [one for one in self._pods.list() if wanted <= one.metadata.labels.items()]
        return Seen(
            service=service,
            now=self._clock.now(),
            services=self._services.by_index(_NAMESPACE, namespace),
            pods=[*matching, *itertools.islice(others, _OTHERS)],
            elsewhere=elsewhere,
            workloads=[] if matching else self._workloads(namespace),
            endpoints=self._endpoints.get(key),
            slices=self._slices.by_index(_SERVICE, key),
            events=await self._told(namespace) if matching else [],
            nodes=dict(self._nodes.items),
        )

    def _workloads(self, namespace: str) -> list[Workload]:
        return workloads.of_their_own(*(cache.by_index(_NAMESPACE, namespace) for cache in self._makers))

    async def _told(self, namespace: str) -> list[core.Event]:
        """What was told of the namespace's pods; nobody keeps a cache of events."""
        try:
            return (await self._client.list(core.Event, namespace, field_selector="involvedObject.kind=Pod")).items
        except status.ApiError:
            return []


def _without_since(service: core.Service) -> str | None:
    """Since when the Service has had no ready endpoint that its selector should give; None if that is not so."""
    if not members.wants_endpoints(service) or service.metadata.deletion_timestamp is not None:
        return None
    told = next((one for one in service.status.conditions if one.type == "EndpointsReady"), None)
    return told.last_transition_time or "" if told is not None and told.status == "False" else None
