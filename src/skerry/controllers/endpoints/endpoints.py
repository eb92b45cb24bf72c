"""The v1.Endpoints of one Service: what it should say, and whether that must be written (E8-E47).

Called by the controller's shell and by the scenario runner. Pure: `decide` gets the Service, its pods and the current
object and answers with the object to create or update, or None when nothing has to be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from skerry.api.subsets import repack
from skerry.api.types import core, meta
from skerry.controllers.endpoints import members
from skerry.controllers.endpoints.truncate import ANNOTATION as CAPACITY_ANNOTATION
from skerry.controllers.endpoints.truncate import CAPACITY, TRUNCATED, truncate

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"


def desired_subsets(service: core.Service, pods: Iterable[core.Pod]) -> list[core.EndpointSubset]:
    """The packed subsets of a Service (E13-E32); `pods` are those that its selector matches."""
    everyone = service.spec.publish_not_ready_addresses
    if not service.spec.ports and service.spec.cluster_ip != "None":
        return []
    same_for_all = None if members.named_ports(service) else tuple((one, _number(one)) for one in service.spec.ports)
    groups: dict[tuple[int, ...], core.EndpointSubset] = {}
    for pod in pods:
        if not members.is_member(pod, include_terminating=everyone):
            continue
        address = _address(service, pod)
        if address is None:
            continue
        ports = members.resolved_ports(service, pod) if same_for_all is None else same_for_all
        if service.spec.ports and not ports:
            continue
        numbers = tuple(item for port, number in ports for item in (id(port), number))
        subset = groups.get(numbers)
        if subset is None:
            subset = groups[numbers] = core.EndpointSubset(ports=[_port(port, number) for port, number in ports])
        if everyone or members.is_ready(pod):
            subset.addresses.append(address)
        else:
            subset.not_ready_addresses.append(address)
    return repack(list(groups.values()))


def _number(port: core.ServicePort) -> int:
    return int(port.target_port) or port.port


def _address(service: core.Service, pod: core.Pod) -> core.EndpointAddress | None:
    ip = members.endpoint_address(service, pod)
    if not ip:
        return None
    return core.EndpointAddress(
        ip=ip,
        hostname=members.hostname(service, pod),
        node_name=pod.spec.node_name,
        target_ref=members.reference(pod),
    )


def _port(port: core.ServicePort, number: int) -> core.EndpointPort:
    return core.EndpointPort(
        name=port.name, port=number, protocol=port.protocol or "TCP", app_protocol=port.app_protocol
    )


def desired_labels(service: core.Service) -> dict[str, str]:
    """The labels of the Endpoints (E40)."""
    labels = dict(service.metadata.labels)
    labels.pop(members.HEADLESS_LABEL, None)
    if members.is_headless(service):
        labels[members.HEADLESS_LABEL] = ""
    labels[MANAGED_BY] = CONTROLLER
    return labels


def decide(
    service: core.Service,
    pods: Iterable[core.Pod],
    current: core.Endpoints | None,
    trigger: str = "",
    capacity: int = CAPACITY,
) -> core.Endpoints | None:
    """The object to write, or None. It is to be created if `current` is None, else updated with its resourceVersion.

    `trigger` is the trigger time to note, "" to remove it (E43). Services whose endpoints are not ours (E9, E10) give
    None whatever there is. Beyond upstream, an object that is over capacity is not written again on every sync (the
    quirk of E39): its annotation is compared with the one wanted.
    """
    if not members.wants_endpoints(service):
        return None
    subsets, over = truncate(desired_subsets(service, pods), capacity)
    if over:
        subsets = [one for one in subsets if one.addresses or one.not_ready_addresses]
    labels = desired_labels(service)
    if current is not None and _is_right(current, subsets, labels, over):
        return None
    annotations = dict(current.metadata.annotations) if current is not None else {}
    _set(annotations, CAPACITY_ANNOTATION, TRUNCATED if over else "")
    _set(annotations, members.TRIGGER_ANNOTATION, trigger)
    if current is None:
        metadata = meta.ObjectMeta(
            name=service.metadata.name, namespace=service.metadata.namespace, labels=labels, annotations=annotations
        )
    else:
        metadata = msgspec.structs.replace(current.metadata, labels=labels, annotations=annotations)
    return core.Endpoints(metadata=metadata, subsets=subsets)


def _set(annotations: dict[str, str], key: str, value: str) -> None:
    if value:
        annotations[key] = value
    else:
        annotations.pop(key, None)


def _is_right(
    current: core.Endpoints, subsets: list[core.EndpointSubset], labels: Mapping[str, str], over: bool
) -> bool:
    """E39: subsets, labels and the capacity annotation are as wanted."""
    if current.metadata.annotations.get(CAPACITY_ANNOTATION, "") != (TRUNCATED if over else ""):
        return False
    if _without_headless(current.metadata.labels) != _without_headless(labels):
        return False
    return same_subsets(current.subsets, subsets)


def _without_headless(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key != members.HEADLESS_LABEL}


def same_subsets(current: list[core.EndpointSubset], wanted: list[core.EndpointSubset]) -> bool:
    """Whether two lists of subsets say the same, in whatever order and packing; resourceVersions do not count (U24)."""
    return current == wanted or _comparable(repack(current)) == _comparable(repack(wanted))


def _comparable(subsets: list[core.EndpointSubset]) -> list[Any]:
    return sorted(
        (
            sorted((one.name, one.port, one.protocol, one.app_protocol or "") for one in subset.ports),
            sorted(_plain(one) for one in subset.addresses),
            sorted(_plain(one) for one in subset.not_ready_addresses),
        )
        for subset in subsets
    )


def _plain(address: core.EndpointAddress) -> tuple[str, ...]:
    target = address.target_ref or core.ObjectReference()
    return (
        address.ip,
        address.hostname,
        "" if address.node_name is None else "=" + address.node_name,
        "" if address.target_ref is None else "=",
        target.kind,
        target.namespace,
        target.name,
        target.uid,
        target.api_version,
        target.field_path,
    )
