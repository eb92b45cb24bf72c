"""The shell of the Service conditions: caches in, status patches out. Started by controllers.manager.

What matters (a status or reason) is written at once, a message that only counts otherwise at most every ten seconds. A
change of endpoints takes every node some milliseconds; only who takes longer than a grace time is said to be behind,
so that ordinary changes write nothing. Patches name only our own conditions and never fight anybody's write.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skerry.api import status
from skerry.api.types import core, discovery, skerry
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock, rfc3339
from skerry.controllers.refusals import was_behind
from skerry.controllers.serviceconditions import conditions
from skerry.controllers.serviceconditions.conditions import DNS, PROXY, Told
from skerry.controllers.serviceconditions.progress import Mark, Progress
from skerry.controllers.view import View

WORKERS = 5
GRACE = 0.5
"""Seconds that nodes have to take over a change before a Service says that they are behind."""

REFRESH = 10.0
"""Seconds between two writes of a Service that change nothing but messages."""

_SERVICE = "kubernetes.io/service-name"


@dataclass(slots=True)
class _Endpoints:
    """The slices of a Service: ready and all endpoints of each, with its address type; the newest revision of all."""

    revision: int = 0
    slices: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def total(self, service: core.Service) -> tuple[int, int]:
        """Of the Service's first address family if it has such slices, else of all."""
        family = service.spec.ip_families[0] if service.spec.ip_families else ""
        own = [one for one in self.slices.values() if one[0] == family] or list(self.slices.values())
        return sum(one[1] for one in own), sum(one[2] for one in own)


class ServiceConditionsController:
    """Writes EndpointsReady and Programmed. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._queue = Queue(clock)
        self._progress = {PROXY: Progress(), DNS: Progress()}
        self._endpoints: dict[str, _Endpoints] = {}
        self._late: dict[str, tuple[Mark, float]] = {}  # what nodes have not reached, and since when
        self._wrote: dict[str, float] = {}
        self._ready_nodes: set[str] = set()
        self._services = View(informers.of(core.Service), self._queue.add)
        self._slices = informers.of(discovery.EndpointSlice)
        self._nodes = informers.of(core.Node)
        self._acknowledgements = informers.of(skerry.Acknowledgement)
        self._services.informer.subscribe(self._service)
        self._slices.subscribe(self._slice)
        self._nodes.subscribe(self._node)
        self._acknowledgements.subscribe(self._acknowledgement)

    async def run(self) -> None:
        for cache in (self._services.informer, self._slices, self._nodes, self._acknowledgements):
            await cache.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    # What events lead to.

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one = new or old
        assert one is not None
        key = key_of(one)
        if new is None:
            for each in self._progress.values():
                each.forget(key)
            for memory in (self._late, self._wrote):
                memory.pop(key, None)
            return
        if old is None or _matter(old) != _matter(new):
            now = conditions.component(new)
            slices = self._endpoints.get(key, _Endpoints()).revision
            if old is not None and conditions.component(old) != now:
                before = self._progress[conditions.component(old)]
                slices = before.needs(key).slices
                before.forget(key)
            self._progress[now].need(key, slices=slices, services=int(new.metadata.resource_version))
            self._queue.add(key)
        elif new.status.conditions != old.status.conditions and not self._services.is_own(new):
            self._queue.add(key)

    def _slice(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        one = new or old
        assert one is not None
        slice_key, revision = key_of(one), int(one.metadata.resource_version)
        owners = [_owner(each) if each is not None else "" for each in (old, new)]
        for key in filter(None, dict.fromkeys(owners)):
            endpoints = self._endpoints.setdefault(key, _Endpoints())
            endpoints.revision = max(endpoints.revision, revision)
            if new is not None and key == owners[1]:
                endpoints.slices[slice_key] = (new.address_type, *conditions.count(new))
            else:
                endpoints.slices.pop(slice_key, None)
                if not endpoints.slices:
                    del self._endpoints[key]
            service = self._services.informer.get(key)
            if service is not None:
                self._progress[conditions.component(service)].need(key, slices=revision)
                self._queue.add(key)

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        one = new or old
        assert one is not None
        name = one.metadata.name
        ready = new is not None and any(
            each.type == "Ready" and each.status == "True" for each in new.status.conditions
        )
        if ready != (name in self._ready_nodes):
            self._ready_nodes ^= {name}
            for each in self._progress.values():
                self._add(each.ready(self._ready_nodes))

    def _acknowledgement(self, old: skerry.Acknowledgement | None, new: skerry.Acknowledgement | None) -> None:
        one = new or old
        assert one is not None
        progress = self._progress.get(one.spec.component)
        if progress is not None:
            mark = Mark(new.status.applied_revision, new.status.applied_service_revision) if new is not None else None
            self._add(progress.acknowledged(one.spec.node_name, mark))

    def _add(self, keys: set[str]) -> None:
        for key in keys:
            self._queue.add(key)

    # One Service.

    async def _sync(self, key: str) -> None:
        service = self._services.get(key)
        if service is None:
            for each in self._progress.values():
                each.forget(key)
            return
        ready, total = self._endpoints.get(key, _Endpoints()).total(service)
        told = [conditions.endpoints_ready(service, ready, total), self._programmed(key, service)]
        if told[1] is None and not ready and conditions.known(service, conditions.PROGRAMMED) is None:
            return  # a new Service says both at once, unless it has good news
        changed = [one for one in told if one is not None and conditions.differs(service, one)[0]]
        if not changed:
            return
        if not any(conditions.differs(service, one)[1] for one in changed):
            wait = self._wrote.get(key, 0.0) + REFRESH - self._clock.monotonic() if key in self._wrote else 0.0
            if wait > 0:
                self._queue.add_after(key, wait)
                return
        await self._write(key, service, changed)

    def _programmed(self, key: str, service: core.Service) -> Told | None:
        """The condition, or None while it is too early to say that somebody is behind."""
        who = conditions.component(service)
        progress = self._progress[who]
        if progress.carried(key):
            self._late.pop(key, None)
            return conditions.programmed(who, (), len(progress.nodes))
        now = self._clock.monotonic()
        mark, since = self._late.get(key, (None, now))
        if mark is None or progress.reached(mark):
            # The nodes follow; it is the newest change only that they do not have yet.
            self._late[key] = (progress.needs(key), now)
            since = now
        if now - since < GRACE:
            self._queue.add_after(key, since + GRACE - now)
            return None
        return conditions.programmed(who, progress.behind(key), len(progress.nodes))

    async def _write(self, key: str, service: core.Service, told: list[Told]) -> None:
        made = conditions.written(service, told, rfc3339(self._clock.now()))
        patch = {"metadata": {"uid": service.metadata.uid}, "status": {"conditions": made}}
        name, namespace = service.metadata.name, service.metadata.namespace
        self._wrote[key] = self._clock.monotonic()
        try:
            answer = await self._client.patch(
                core.Service, name, patch, namespace, type="strategic", subresource="status"
            )
        except status.ApiError as error:
            if not was_behind(error):
                raise
        else:
            self._services.wrote(answer)


def _matter(service: core.Service) -> tuple[object, ...]:
    """What of a Service nodes have to know; status is not for them."""
    return (service.metadata.uid, service.spec, service.metadata.labels, service.metadata.annotations)


def _owner(one: discovery.EndpointSlice) -> str:
    """The key of the Service that a slice belongs to, "" for none."""
    name = one.metadata.labels.get(_SERVICE, "")
    return f"{one.metadata.namespace}/{name}" if name else ""
