"""Who controls an object, and since when a pod counts: facts that several controllers share. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from skerry import clock
from skerry.api.types import core, meta


def controller_of(obj: Any) -> meta.OwnerReference | None:
    """The owner that controls this object, if any."""
    owners: Iterable[meta.OwnerReference] = obj.metadata.owner_references
    return next((one for one in owners if one.controller), None)


def controller_uid(obj: Any) -> str:
    """The uid of the controlling owner, "" for none."""
    owner = controller_of(obj)
    return owner.uid if owner is not None else ""


def reference(owner: Any) -> meta.OwnerReference:
    """The owner reference that a controller writes into what it makes."""
    return meta.OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def adopted(obj: Any, owner: Any) -> Any:
    """The object with `owner` as its controller."""
    kept = [one for one in obj.metadata.owner_references if one.uid != owner.metadata.uid]
    return _owned(obj, [*kept, reference(owner)])


def released(obj: Any, owner: Any) -> Any:
    """The object without `owner`."""
    return _owned(obj, [one for one in obj.metadata.owner_references if one.uid != owner.metadata.uid])


def _owned(obj: Any, owners: list[meta.OwnerReference]) -> Any:
    return msgspec.structs.replace(obj, metadata=msgspec.structs.replace(obj.metadata, owner_references=owners))


def is_active(pod: core.Pod) -> bool:
    """Not finished and not being deleted (A4)."""
    return pod.status.phase not in ("Succeeded", "Failed") and pod.metadata.deletion_timestamp is None


def ready_condition(pod: core.Pod) -> core.PodCondition | None:
    return next((one for one in pod.status.conditions if one.type == "Ready"), None)


def is_ready(pod: core.Pod) -> bool:
    condition = ready_condition(pod)
    return condition is not None and condition.status == "True"


def available_in(pod: core.Pod, min_ready_seconds: int, now: float) -> float | None:
    """Seconds until the pod has been ready long enough: 0 if it has, None if it is not ready."""
    condition = ready_condition(pod)
    if condition is None or condition.status != "True":
        return None
    if not min_ready_seconds:
        return 0.0
    if not condition.last_transition_time:
        return None
    return max(0.0, clock.parse_rfc3339(condition.last_transition_time) + min_ready_seconds - now)
