"""Keeps the EndpointSlices of Services right: the shell around `placement` (L7-L41). Started by `controller`."""

from __future__ import annotations

from collections import Counter

from skerry.api import status, weights
from skerry.api.types import core
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informer
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.endpoints import hints, members, slices, topology
from skerry.controllers.endpoints.books import Books
from skerry.controllers.endpoints.metrics import ServiceMetrics
from skerry.controllers.endpoints.placement import Placement
from skerry.controllers.endpoints.plan import Plan
from skerry.controllers.endpoints.select import PodIndex
from skerry.controllers.endpoints.slice_writer import SliceWriter
from skerry.controllers.refusals import was_behind


class SlicesSync:
    """`await sync(key)` makes one Service's slices right. `writer` is given once it exists: it needs the queue."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        services: Informer[core.Service],
        nodes: Informer[core.Node],
        pods: PodIndex,
        max_endpoints: int,
    ) -> None:
        self._clock, self._services, self._nodes = clock, services, nodes
        self._events = Recorder(client, "endpoint-slice-controller", clock=clock)
        self.queue = Queue(clock)
        self.writer: SliceWriter | None = None
        self.books = Books(pods, lambda service: Placement(service, max_endpoints), self._put)
        self.metrics = ServiceMetrics()
        self._zones = topology.Zones()
        self._awaiting_node: dict[str, set[str]] = {}
        self._hinted: dict[str, dict[str, Counter[str]]] = {}  # Service -> family -> endpoints hinted to each zone
        self._problems: dict[str, dict[str, str]] = {}  # Service -> family -> why there are no hints

    def _put(self, placement: Placement, pod: core.Pod) -> None:
        placement.put(pod, self._nodes.get(pod.spec.node_name))

    def check_weight(self, old: core.Pod | None, new: core.Pod) -> None:
        """Says so when a pod's weight is news and none."""
        said = new.metadata.annotations.get(weights.WEIGHT)
        if said is None or weights.parse(said) is not None:
            return
        if old is None or old.metadata.annotations.get(weights.WEIGHT) != said:
            text = f'annotation {weights.WEIGHT}: "{said}" is no whole number from 0 to {weights.USUAL}; it is ignored'
            self._events.event(new, "Warning", "InvalidWeight", text)

    def pod_changed(self, key: str, pod: str) -> None:
        """A pod may have changed what a Service's slices say."""
        self.books.changed(key, pod)
        self.queue.add(key)

    def node_changed(self, name: str, node: core.Node | None) -> None:
        """L10, L19, L40: Services whose pods waited for this Node come back, and those whose hints no longer fit."""
        if node is not None:
            for key in self._awaiting_node.pop(name, ()):
                self.queue.add(key)
        if self._zones.put(node) if node is not None else self._zones.remove(name):
            for key, by_family in self._hinted.items():
                if any(topology.is_overloaded(one, self._zones.ratios) for one in by_family.values()):
                    self.queue.add(key)
            for key in self._problems:
                self.queue.add(key)

    def is_awaiting(self, name: str) -> bool:
        """Whether some pod cannot be shown because this Node is not there."""
        return name in self._awaiting_node

    async def sync(self, key: str) -> None:
        assert self.writer is not None
        service = self._services.get(key)
        if service is None or not members.wants_endpoints(service):
            self._forget(key)  # the garbage collector removes the slices (L11)
            return
        existing = self.writer.managed(key, slices.CONTROLLER)
        if self.writer.is_behind(existing):
            self.metrics.syncs.add(1, "stale")
            return
        begun = self._clock.monotonic()
        book = self.books.get(key)
        if book is not None and (rest := book.rests(begun)):
            self.queue.add_after(key, rest)
            return
        book = self.books.open(service)
        placement = book.endpoints
        plan = placement.plan(existing, book.causes.time(service), self._zones.ratios)
        for node in plan.missing_nodes:
            self._awaiting_node.setdefault(node, set()).add(key)
        try:
            if plan:
                await self.writer.write(key, plan, self.queue)
                book.rest(begun, self._clock.monotonic())
        except status.ApiError as error:
            self.metrics.syncs.add(1, "stale" if was_behind(error) else "error")
            if not was_behind(error):
                text = f"Error updating Endpoint Slices for Service {key}: {error}"
                self._events.event(service, "Warning", "FailedToUpdateEndpointSlices", text)  # L13
            raise
        book.causes.told(service)
        self._tell_hints(key, service, placement.mode, plan)
        self.metrics.syncs.add(1, "success")
        self.metrics.synced(key, placement.mode, plan)
        endpoints, perfect = placement.sizes()
        self.metrics.holds(key, endpoints, len(existing) + len(plan.create) - len(plan.delete), perfect)

    def _forget(self, key: str) -> None:
        if self.books.drop(key):
            self._hinted.pop(key, None)
            self._problems.pop(key, None)
            self.metrics.forget(key)

    def _tell_hints(self, key: str, service: core.Service, mode: str, plan: Plan) -> None:
        """L39. Upstream repeats a problem with every sync; here it is told when it is new."""
        hinted = self._hinted.pop(key, {})
        known = self._problems.pop(key, {})
        if mode != hints.AUTO:
            if hinted:
                self._tell(service, "Warning", topology.IS_DISABLED, min(hinted))
            return
        for family, problem in plan.problems.items():
            if problem and known.get(family) != problem:
                self._tell(service, "Warning", problem, family)
        if plan.by_zone and not hinted:
            self._tell(service, "Normal", topology.IS_ENABLED, min(plan.by_zone))
        if plan.by_zone:
            self._hinted[key] = plan.by_zone
        problems = {family: problem for family, problem in plan.problems.items() if problem}
        if problems:
            self._problems[key] = problems

    def _tell(self, service: core.Service, kind: str, text: str, family: str) -> None:
        reason = topology.ENABLED if text == topology.IS_ENABLED else topology.DISABLED
        self._events.event(service, kind, reason, f"{text}, addressType: {family}")
