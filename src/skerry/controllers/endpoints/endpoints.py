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
from skerry.controllers.endpoints.roster import Roster
from skerry.controllers.endpoints.truncate import ANNOTATION as CAPACITY_ANNOTATION
from skerry.controllers.endpoints.truncate import CAPACITY, TRUNCATED

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"


def desired_labels(service: core.Service) -> dict[str, str]:
    """The labels of the Endpoints (E40)."""
    labels = dict(service.metadata.labels)
    labels.pop(members.HEADLESS_LABEL, None)
    if members.is_headless(service):
        labels[members.HEADLESS_LABEL] = ""
    labels[MANAGED_BY] = CONTROLLER
    return labels


def is_ours(current: core.Endpoints) -> bool:
    """Whether this controller wrote the object, and not a user."""
    return current.metadata.labels.get(MANAGED_BY) == CONTROLLER


def decide(
    service: core.Service,
    pods: Iterable[core.Pod],
    current: core.Endpoints | None,
    trigger: str = "",
    capacity: int = CAPACITY,
) -> core.Endpoints | None:
    """What `decide_from` says of a Service and all the pods that its selector matches."""
    return decide_from(Roster(service, pods), current, trigger, capacity)


def decide_from(
    roster: Roster, current: core.Endpoints | None, trigger: str = "", capacity: int = CAPACITY
) -> core.Endpoints | None:
    """The object to write, or None. It is to be created if `current` is None, else updated with its resourceVersion.

    `trigger` is the trigger time to note, "" to remove it (E43). Services whose endpoints are not ours (E9, E10) give
    None whatever there is. Beyond upstream, an object that is over capacity is not written again on every sync (the
    quirk of E39): its annotation is compared with the one wanted.
    """
    service = roster.service
    if not members.wants_endpoints(service):
        return None
    subsets, over = roster.subsets(capacity)
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
    if current == wanted:
        return True
    # What we wrote comes back as it was: a difference in numbers is a difference. The rest is rare and may cost more.
    return _count(current) == _count(wanted) and _comparable(repack(current)) == _comparable(repack(wanted))


def _count(subsets: list[core.EndpointSubset]) -> int:
    """How many pairs of address and port there are, ready or not; the same in every packing."""
    return sum(
        (len(one.addresses) + (1 << 32) * len(one.not_ready_addresses)) * max(1, len(one.ports)) for one in subsets
    )


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
