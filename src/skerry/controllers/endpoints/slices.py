"""The EndpointSlices of one Service: what they should say, and the fewest writes that get there (L14-L34).

Called by the controller's shell and by the scenario runner. Pure: `reconcile` gets the Service, its pods, a way to
look up nodes and the slices there are, and answers with a Plan. Nothing that is given is changed. Slices are filled
as upstream fills them: full new slices first, at most one untouched slice opened, nothing moved between slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import members

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
ZONE_LABEL = "topology.kubernetes.io/zone"
MAX_ENDPOINTS = 100
_RESERVED = frozenset((SERVICE_NAME, MANAGED_BY, members.HEADLESS_LABEL))

Port = tuple[str, str, int, str | None]  # name, protocol, number, appProtocol
Identity = tuple[tuple[str, ...], str, str, str]  # addresses, hostname, targetRef namespace and name


@dataclass
class Plan:
    """What to write, in this order (L32), and which Nodes were looked for in vain (L19)."""

    create: list[discovery.EndpointSlice] = field(default_factory=list)
    update: list[discovery.EndpointSlice] = field(default_factory=list)
    delete: list[discovery.EndpointSlice] = field(default_factory=list)
    missing_nodes: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.create or self.update or self.delete)


def reconcile(
    service: core.Service,
    pods: Iterable[core.Pod],
    node: Callable[[str], core.Node | None],
    existing: Iterable[discovery.EndpointSlice],
    trigger: str = "",
    max_endpoints: int = MAX_ENDPOINTS,
) -> Plan:
    """The writes that make the Service's slices right.

    `existing` are the slices with this Service's name that this controller manages; those being deleted are passed
    over. New slices have a generateName and no name; updated ones carry the resourceVersion they were decided on.
    `trigger` is the trigger time to note in what is written, "" to remove it. A Service that is not ours to serve
    (L11) gives an empty Plan.
    """
    plan = Plan()
    if not members.wants_endpoints(service):
        return plan
    wanted_types = members.families(service)
    by_type: dict[str, list[discovery.EndpointSlice]] = {one: [] for one in wanted_types}
    for one in existing:
        if one.metadata.deletion_timestamp is not None:
            continue
        if one.address_type in by_type:
            by_type[one.address_type].append(one)
        else:
            plan.delete.append(one)
    pods = list(pods)
    for family, slices in by_type.items():
        groups = _desired(service, pods, family, node, plan.missing_nodes)
        _Packing(service, family, max_endpoints).run(groups, slices, plan)
    if service.metadata.deletion_timestamp is not None:
        plan.create.clear()
    for one in (*plan.create, *plan.update):
        if trigger:
            one.metadata.annotations[members.TRIGGER_ANNOTATION] = trigger
        else:
            one.metadata.annotations.pop(members.TRIGGER_ANNOTATION, None)
    return plan


def _desired(
    service: core.Service,
    pods: list[core.Pod],
    family: str,
    node: Callable[[str], core.Node | None],
    missing: set[str],
) -> dict[tuple[Port, ...], dict[Identity, discovery.Endpoint]]:
    """The endpoints that should be, by their port list (L21)."""
    groups: dict[tuple[Port, ...], dict[Identity, discovery.Endpoint]] = {}
    fixed = None if members.named_ports(service) else _ports(service, core.Pod())
    for pod in pods:
        if not members.is_member(pod, include_terminating=True):
            continue
        addresses = members.family_addresses(pod, family)
        if not addresses:
            continue
        where = node(pod.spec.node_name)
        if where is None and not service.spec.publish_not_ready_addresses:
            missing.add(pod.spec.node_name)
            continue
        made = endpoint(service, pod, addresses, where)
        ports = _ports(service, pod) if fixed is None else fixed
        groups.setdefault(ports, {})[identity(made)] = made
    return groups


def _ports(service: core.Service, pod: core.Pod) -> tuple[Port, ...]:
    found = members.resolved_ports(service, pod)
    return tuple(sorted({(one.name, one.protocol or "TCP", number, one.app_protocol) for one, number in found},
                        key=lambda port: (port[:3], port[3] or "")))  # fmt: skip


def endpoint(service: core.Service, pod: core.Pod, addresses: list[str], node: core.Node | None) -> discovery.Endpoint:
    """One pod as an endpoint, with all three conditions (L16, L18)."""
    serving, terminating = members.is_ready(pod), members.is_terminating(pod)
    zone = node.metadata.labels.get(ZONE_LABEL) if node is not None else None
    return discovery.Endpoint(
        addresses=addresses,
        conditions=discovery.EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=members.hostname(service, pod) or None,
        target_ref=members.reference(pod),
        node_name=pod.spec.node_name or None,
        zone=zone or None,
    )


def identity(one: discovery.Endpoint) -> Identity:
    """What makes two endpoints the same one (L23)."""
    target = one.target_ref
    who = (target.namespace, target.name) if target is not None else ("", "")
    return (tuple(sorted(one.addresses)), one.hostname or "", *who)


def same_beyond_identity(one: discovery.Endpoint, other: discovery.Endpoint) -> bool:
    """Whether two endpoints of one identity say the same (L23); hints are not looked at."""
    return (
        one.conditions == other.conditions
        and one.node_name == other.node_name
        and one.zone == other.zone
        and _same_target(one.target_ref, other.target_ref)
    )


def _same_target(one: core.ObjectReference | None, other: core.ObjectReference | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.resource_version == other.resource_version:
        return one == other
    return msgspec.structs.replace(one, resource_version="") == msgspec.structs.replace(other, resource_version="")


def port_key(one: discovery.EndpointSlice) -> tuple[Port, ...]:
    """The ports of a slice as a key that does not depend on their order, nor on nil or empty (L21)."""
    ports = {(port.name or "", port.protocol or "TCP", port.port or 0, port.app_protocol) for port in one.ports}
    return tuple(sorted(ports, key=lambda port: (port[:3], port[3] or "")))


def service_labels(service: core.Service) -> dict[str, str]:
    """The labels of a Service's slices (L34)."""
    labels = {key: value for key, value in service.metadata.labels.items() if key not in _RESERVED}
    labels[SERVICE_NAME] = service.metadata.name
    labels[MANAGED_BY] = CONTROLLER
    if members.is_headless(service):
        labels[members.HEADLESS_LABEL] = ""
    return labels


def same_labels(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether the labels that are not reserved agree (L34)."""
    return {key: value for key, value in one.items() if key not in _RESERVED} == {
        key: value for key, value in other.items() if key not in _RESERVED
    }


def is_owned(one: discovery.EndpointSlice, service: core.Service) -> bool:
    """Whether the slice belongs to this very Service, not to a namesake that is gone (L22)."""
    return any(
        owner.kind == "Service" and owner.api_version == "v1" and owner.uid == service.metadata.uid
        for owner in one.metadata.owner_references
    )


def replaced(
    one: discovery.EndpointSlice,
    endpoints: list[discovery.Endpoint],
    labels: dict[str, str],
    ports: list[discovery.EndpointPort] | None = None,
) -> discovery.EndpointSlice:
    """A slice with other content under the same name; the given one stays as it is."""
    metadata = msgspec.structs.replace(one.metadata, labels=labels, annotations=dict(one.metadata.annotations))
    changes: dict[str, Any] = {"metadata": metadata, "endpoints": endpoints}
    if ports is not None:
        changes["ports"] = ports
    return msgspec.structs.replace(one, **changes)


class _Packing:
    """The slices of one address type. One use."""

    def __init__(self, service: core.Service, family: str, limit: int) -> None:
        self.service, self.family, self.limit = service, family, limit
        self.labels = service_labels(service)
        self.create: list[discovery.EndpointSlice] = []
        self.update: list[discovery.EndpointSlice] = []
        self.delete: list[discovery.EndpointSlice] = []

    def run(
        self,
        groups: dict[tuple[Port, ...], dict[Identity, discovery.Endpoint]],
        existing: list[discovery.EndpointSlice],
        plan: Plan,
    ) -> None:
        by_ports: dict[tuple[Port, ...], list[discovery.EndpointSlice]] = {}
        foreign: list[discovery.EndpointSlice] = []
        for one in existing:
            if is_owned(one, self.service):
                by_ports.setdefault(port_key(one), []).append(one)
            else:
                foreign.append(one)
        for ports, wanted in groups.items():
            self._fill(ports, wanted, by_ports.pop(ports, []))
        for left in by_ports.values():
            self.delete += left
        self._placeholder(len(existing), foreign)
        self._recycle()
        plan.create += self.create
        plan.update += self.update
        plan.delete += self.delete
        plan.delete += foreign

    def _fill(
        self,
        ports: tuple[Port, ...],
        wanted: dict[Identity, discovery.Endpoint],
        slices: list[discovery.EndpointSlice],
    ) -> None:
        unchanged: list[discovery.EndpointSlice] = []
        updated: list[discovery.EndpointSlice] = []
        for one in slices:  # step 1 (L24)
            kept, changed = self._keep(one, wanted)
            if changed and not kept:
                self.delete.append(one)
            elif changed or not same_labels(one.metadata.labels, self.labels):
                updated.append(replaced(one, kept, dict(self.labels)))
            else:
                unchanged.append(one)
        left = list(wanted.values())
        for one in sorted(updated, key=lambda each: -len(each.endpoints)):  # step 2 (L25)
            left = self._pour(left, one)
        while left:  # step 3 (L26)
            opened = self._closest(unchanged, len(left)) if len(left) < self.limit else None
            if opened is None:
                target = self._new(ports)
                self.create.append(target)
            else:
                unchanged.remove(opened)
                target = replaced(opened, list(opened.endpoints), dict(self.labels))
                updated.append(target)
            left = self._pour(left, target)
        self.update += updated

    @staticmethod
    def _keep(
        one: discovery.EndpointSlice, wanted: dict[Identity, discovery.Endpoint]
    ) -> tuple[list[discovery.Endpoint], bool]:
        """(the slice's endpoints that stay, in their new form; whether any changed or left). Takes them off wanted."""
        kept: list[discovery.Endpoint] = []
        changed = False
        for old in one.endpoints:
            new = wanted.pop(identity(old), None)
            if new is None:
                changed = True
            elif same_beyond_identity(old, new):
                kept.append(old)
            else:
                kept.append(new)
                changed = True
        return kept, changed

    def _pour(self, left: list[discovery.Endpoint], target: discovery.EndpointSlice) -> list[discovery.Endpoint]:
        room = max(0, self.limit - len(target.endpoints))
        target.endpoints.extend(left[:room])
        return left[room:]

    def _closest(self, unchanged: list[discovery.EndpointSlice], count: int) -> discovery.EndpointSlice | None:
        fitting = [one for one in unchanged if len(one.endpoints) + count <= self.limit]
        return max(fitting, key=lambda one: len(one.endpoints), default=None)

    def _new(self, ports: tuple[Port, ...]) -> discovery.EndpointSlice:
        metadata = self.service.metadata
        return discovery.EndpointSlice(
            metadata=meta.ObjectMeta(
                generate_name=f"{metadata.name}-",
                namespace=metadata.namespace,
                labels=dict(self.labels),
                owner_references=[owner(self.service)],
            ),
            address_type=self.family,
            ports=[
                discovery.EndpointPort(name=name, protocol=protocol, port=number, app_protocol=app)
                for name, protocol, number, app in ports
            ],
        )

    def _placeholder(self, existing: int, foreign: list[discovery.EndpointSlice]) -> None:
        """L29: a Service that is ours always has a slice, if need be an empty one."""
        if self.create or existing != len(self.delete) + len(foreign):
            return
        made = self._new(())
        if len(self.delete) == 1 and not foreign and _is_placeholder(self.delete[0], made):
            self.delete.clear()
        else:
            self.create.append(made)

    def _recycle(self) -> None:
        """L31: a slice that would go becomes one that is to come, and keeps its name."""
        while self.create and self.delete:
            new, old = self.create.pop(0), self.delete.pop(0)
            self.update.append(replaced(old, new.endpoints, new.metadata.labels, new.ports))


def owner(service: core.Service) -> meta.OwnerReference:
    """The owner reference of a slice (L33): the garbage collector removes it with its Service."""
    return meta.OwnerReference(
        api_version="v1",
        kind="Service",
        name=service.metadata.name,
        uid=service.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def _is_placeholder(one: discovery.EndpointSlice, made: discovery.EndpointSlice) -> bool:
    return (
        not one.endpoints
        and not one.ports
        and one.address_type == made.address_type
        and one.metadata.namespace == made.metadata.namespace
        and one.metadata.labels == made.metadata.labels
        and one.metadata.owner_references == made.metadata.owner_references
    )
