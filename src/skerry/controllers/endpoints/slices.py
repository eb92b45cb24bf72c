"""What one EndpointSlice says: endpoints, ports, labels, owner, and when two say the same (L16-L23, L29, L33, L34).

Called by `placement`, which decides what goes where, and by `mirroring`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import members

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
ZONE_LABEL = "topology.kubernetes.io/zone"
_LONGEST_NAME = 253
_RESERVED = frozenset((SERVICE_NAME, MANAGED_BY, members.HEADLESS_LABEL))

Port = tuple[str, str, int, str | None]  # name, protocol, number, appProtocol
Identity = tuple[tuple[str, ...], str, str, str]  # addresses, hostname, targetRef namespace and name


def pod_ports(service: core.Service, pod: core.Pod) -> tuple[Port, ...]:
    """The port list of a pod's endpoint (L20), as a key like `port_key`'s."""
    found = members.resolved_ports(service, pod)
    return tuple(sorted({(one.name, one.protocol or "TCP", number, one.app_protocol) for one, number in found},
                        key=lambda port: (port[:3], port[3] or "")))  # fmt: skip


def endpoint(service: core.Service, pod: core.Pod, addresses: list[str], node: core.Node | None) -> discovery.Endpoint:
    """One pod as an endpoint, with all three conditions (L16, L18), without hints."""
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


def prefix(name: str) -> str:
    """The generateName of slices for `name` (L33): with a dash where that still is a name's beginning."""
    return f"{name}-" if len(name) < _LONGEST_NAME else name


def new_slice(service: core.Service, family: str, ports: tuple[Port, ...]) -> discovery.EndpointSlice:
    """An empty slice of a Service, its name left to the server (L33)."""
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            generate_name=prefix(service.metadata.name),
            namespace=service.metadata.namespace,
            labels=service_labels(service),
            owner_references=[owner(service)],
        ),
        address_type=family,
        ports=[
            discovery.EndpointPort(name=name, protocol=protocol, port=number, app_protocol=app)
            for name, protocol, number, app in ports
        ],
    )


def identity(one: discovery.Endpoint) -> Identity:
    """What makes two endpoints the same one (L23)."""
    target = one.target_ref
    who = (target.namespace, target.name) if target is not None else ("", "")
    addresses = one.addresses
    return (tuple(sorted(addresses) if len(addresses) > 1 else addresses), one.hostname or "", *who)


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


def is_placeholder(one: discovery.EndpointSlice, made: discovery.EndpointSlice) -> bool:
    """Whether a slice is just what `made`, an empty one, would be (U33)."""
    return (
        not one.endpoints
        and not one.ports
        and one.address_type == made.address_type
        and one.metadata.namespace == made.metadata.namespace
        and one.metadata.labels == made.metadata.labels
        and one.metadata.owner_references == made.metadata.owner_references
    )
