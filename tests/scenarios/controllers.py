"""What the transcripts have in place of the controllers' shells: events in, decisions of the pure cores, writes out.

Called by world.py. Nothing waits here: whatever there is to do is done before the answer of a command.
"""

from __future__ import annotations

from typing import Any

from skerry.api import status
from skerry.api.types import core
from skerry.controllers.endpoints import endpoints, members, mirroring, select, slices, topology
from skerry.controllers.endpoints.books import Books
from skerry.controllers.endpoints.placement import Placement
from skerry.controllers.endpoints.plan import Plan
from skerry.controllers.endpoints.roster import Roster
from skerry.controllers.refusals import is_namespace_terminating
from tests.scenarios.store import Store, key_of


class Controllers:
    """Those of Endpoints, EndpointSlices and mirroring, with what they keep in mind."""

    def __init__(self, store: Store) -> None:
        """They start with what is in the store, as after a restart, and hear of changes from now on."""
        self._store = store
        self._index, self._pods, self._zones = select.ServiceIndex(), select.PodIndex(), topology.Zones()
        self._rosters = Books(self._pods, Roster, Roster.put)
        self._placements = Books(self._pods, Placement, self._place)
        self._problems: dict[str, dict[str, str]] = {}
        self._todo: list[str] = []
        for node in store.all("Node"):
            self._zones.put(node)
        for pod in store.all("Pod"):
            self._pods.put(pod)
        for service in store.all("Service"):
            self._index.put(service)
            self._todo.append(key_of(service))
        for one in store.all("Endpoints"):
            if members.LEADER_ANNOTATION not in one.metadata.annotations:
                self._todo.append(key_of(one))
        store.changed = self._changed

    def _place(self, of: Placement, pod: core.Pod) -> None:
        of.put(pod, self._store.find("Node", pod.spec.node_name))

    def _changed(self, old: Any, new: Any) -> None:
        """What an event leads to."""
        obj = new if new is not None else old
        key = key_of(obj)
        if obj.kind == "Service":
            if new is not None:
                self._index.put(new)
            else:
                self._index.remove(key)
            self._todo.append(key)
        elif obj.kind == "Pod":
            if new is not None:
                self._pods.put(new)
            else:
                self._pods.remove(key)
            for service in sorted(select.touched(self._index, old, new)):
                self._pod_changed(service, key)
        elif obj.kind == "Node":
            self._node_changed(obj.metadata.name, new)
        elif obj.kind == "Endpoints":
            service = self._store.find("Service", key)
            made_here = service is not None and members.wants_endpoints(service)
            if (new is None or not made_here) and (service is not None or self._store.slices(key)):
                self._todo.append(key)
        else:
            for one in filter(None, (old, new)):
                self._todo.append(f"{one.metadata.namespace}/{one.metadata.labels.get(slices.SERVICE_NAME)}")

    def _pod_changed(self, service: str, pod: str) -> None:
        self._rosters.changed(service, pod)
        self._placements.changed(service, pod)
        self._todo.append(service)

    def _node_changed(self, name: str, node: core.Node | None) -> None:
        if self._zones.put(node) if node is not None else self._zones.remove(name):
            self._todo += sorted(self._problems)
        for pod in self._store.all("Pod"):
            if pod.spec.node_name == name:
                for service in sorted(self._index.matching(pod.metadata.namespace, pod.metadata.labels)):
                    self._pod_changed(service, key_of(pod))

    def settle(self) -> None:
        """Until nothing is left to do."""
        while self._todo:
            key = self._todo.pop(0)
            while key in self._todo:
                self._todo.remove(key)
            for part in (self._endpoints, self._slices, self._mirror):
                try:
                    part(key)
                except status.ApiError as error:
                    if not is_namespace_terminating(error):  # E45, L32
                        self._todo.append(key)

    def _wanted(self, key: str) -> core.Service | None:
        """The Service, if its endpoints are to be made here."""
        service: core.Service | None = self._store.find("Service", key)
        return service if service is not None and members.wants_endpoints(service) else None

    def _endpoints(self, key: str) -> None:
        service, current = self._wanted(key), self._store.find("Endpoints", key)
        if service is None:
            self._rosters.drop(key)
            if current is not None and self._store.find("Service", key) is None:
                self._store.remove(current)
            return
        roster = self._rosters.open(service)
        wanted = endpoints.decide_from(roster.endpoints, current, roster.causes.time(service))
        if wanted is not None:
            self._store.write(wanted)
        roster.causes.told(service)

    def _slices(self, key: str) -> None:
        service = self._wanted(key)
        if service is None:
            self._placements.drop(key)
            self._problems.pop(key, None)
            return
        book = self._placements.open(service)
        own = self._store.slices(key, slices.CONTROLLER)
        plan = book.endpoints.plan(own, book.causes.time(service), self._zones.ratios)
        self._carry_out(plan)
        book.causes.told(service)
        self._tell_problems(key, plan.problems)

    def _mirror(self, key: str) -> None:
        service, own = self._store.find("Service", key), self._store.slices(key, mirroring.CONTROLLER)
        mirrored = mirroring.reconcile(self._store.find("Endpoints", key), service, own)
        self._carry_out(mirrored.plan)
        if mirrored.is_over:
            self._store.said.append(f"{mirrored.skipped} addresses were skipped")

    def _tell_problems(self, key: str, problems: dict[str, str]) -> None:
        known = self._problems.get(key, {})
        for family, problem in problems.items():
            if problem and problem != known.get(family):
                self._store.said.append(f"event: {problem}, addressType: {family}")
        self._problems[key] = problems

    def _carry_out(self, plan: Plan) -> None:
        for one in (*plan.create, *plan.update):
            self._store.write(one)
        for one in plan.delete:
            self._store.remove(one)
        for name in sorted(plan.missing_nodes):
            self._store.said.append(f"node {name} is missing")
