"""Which slice each endpoint of a Service goes into: the fewest writes that make the slices right (L14-L32).

`reconcile` decides for one Service from nothing; the controller's shell keeps a `Placement` for each Service and tells
it which pods changed, so that a change costs the slices it touches, not the pods of the Service. Both are the same
code: from nothing, every slice is one that has to be looked at. Pure: nothing that is given is changed.

What goes into which slice is decided in family.py, one address type after the other. A Placement believes only what it
sees: what it planned counts once a slice says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from skerry.api.types import core, discovery
from skerry.controllers.endpoints import hints, members, slices
from skerry.controllers.endpoints.family import Family, Wanted
from skerry.controllers.endpoints.plan import Plan
from skerry.controllers.endpoints.slices import Identity

MAX_ENDPOINTS = 100


def reconcile(
    service: core.Service,
    pods: Iterable[core.Pod],
    node: Callable[[str], core.Node | None],
    existing: Iterable[discovery.EndpointSlice],
    trigger: str = "",
    max_endpoints: int = MAX_ENDPOINTS,
    ratios: Mapping[str, float] | None = None,
) -> Plan:
    """The writes that make a Service's slices right, decided from nothing: see Placement."""
    made = Placement(service, max_endpoints)
    for pod in pods:
        made.put(pod, node(pod.spec.node_name))
    return made.plan(existing, trigger, ratios)


class Placement:
    """The endpoints of one Service and where they are. `service` is fixed for its life."""

    def __init__(self, service: core.Service, max_endpoints: int = MAX_ENDPOINTS) -> None:
        self.service = service
        self.mode = hints.mode(service)
        self._is_ours = members.wants_endpoints(service)
        self._fixed = None if members.named_ports(service) else slices.pod_ports(service, core.Pod())
        families = members.families(service)
        self._families = {one: Family(service, one, max_endpoints, self.mode == hints.AUTO) for one in families}
        self._pods: dict[str, tuple[tuple[str, Identity], ...]] = {}
        self._missing: dict[str, str] = {}  # pod -> the Node that is not there

    def put(self, pod: core.Pod, node: core.Node | None) -> None:
        """Takes in a pod that the selector matches, in place of what was known of it. `node` is None if unknown."""
        key = members.key(pod)
        made = self._endpoints(key, pod, node)
        now = tuple((family, slices.identity(one)) for family, one in made.items())
        for family, identity in self._pods.get(key, ()):
            if (family, identity) not in now:
                self._families[family].remove(identity)
        if not now:
            self._pods.pop(key, None)
            return
        self._pods[key] = now
        ports = slices.pod_ports(self.service, pod) if self._fixed is None else self._fixed
        for family, identity in now:
            self._families[family].put(identity, Wanted(ports, made[family], members.weight(pod)))

    def _endpoints(self, key: str, pod: core.Pod, node: core.Node | None) -> dict[str, discovery.Endpoint]:
        """The pod as an endpoint of each family; empty if it is none (L15, L17, L19)."""
        self._missing.pop(key, None)
        if not members.is_member(pod, include_terminating=True):
            return {}
        if node is None and not self.service.spec.publish_not_ready_addresses:
            self._missing[key] = pod.spec.node_name
            return {}
        made: dict[str, discovery.Endpoint] = {}
        for family in self._families:
            addresses = members.family_addresses(pod, family)
            if addresses:
                one = made[family] = slices.endpoint(self.service, pod, addresses, node)
                one.hints = hints.of_endpoint(self.mode, one)
        return made

    def remove(self, key: str) -> None:
        """Forgets a pod; unknown ones are fine."""
        self._missing.pop(key, None)
        for family, identity in self._pods.pop(key, ()):
            self._families[family].remove(identity)

    def plan(
        self, existing: Iterable[discovery.EndpointSlice], trigger: str = "", ratios: Mapping[str, float] | None = None
    ) -> Plan:
        """The writes that make the Service's slices right.

        `existing` are the slices with this Service's name that this controller manages; those being deleted are passed
        over. New slices have a generateName and no name; updated ones carry the resourceVersion they were decided on.
        `trigger` is the trigger time to note in what is written, "" to remove it; `ratios` are topology.Zones'. A
        Service that is not ours to serve (L11) gives an empty Plan.
        """
        plan = Plan()
        if not self._is_ours:
            return plan
        by_type: dict[str, list[discovery.EndpointSlice]] = {one: [] for one in self._families}
        for one in existing:
            if one.metadata.deletion_timestamp is not None:
                continue
            if one.address_type in by_type:
                by_type[one.address_type].append(one)
            else:
                plan.delete.append(one)
        for family, found in by_type.items():
            self._families[family].plan(found, plan, ratios or {})
        plan.missing_nodes = set(self._missing.values())
        if self.service.metadata.deletion_timestamp is not None:
            plan.create.clear()
        for one in (*plan.create, *plan.update):
            if trigger:
                one.metadata.annotations[members.TRIGGER_ANNOTATION] = trigger
            else:
                one.metadata.annotations.pop(members.TRIGGER_ANNOTATION, None)
        return plan

    def sizes(self) -> tuple[int, int]:
        """(how many endpoints should be, how many slices would hold them if packed perfectly), for metrics."""
        found = [one.sizes() for one in self._families.values()]
        return sum(one for one, _ in found), sum(one for _, one in found)
