"""Which pods are to be removed by force, and why. Pure. Called by controller.py."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from skerry.api.types import core

KEPT = 12500
"""Pods that have ended and may stay."""
QUARANTINE = 40.0
"""Seconds for which a node must be missing before its pods go."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"


class Why(Enum):
    """Why a pod goes."""

    NODE_GONE = "PodGC: node no longer exists"
    OUT_OF_SERVICE = "its node is out of service"
    NEVER_SCHEDULED = "it is being deleted and was never scheduled"


def has_ended(pod: core.Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def verdict(pod: core.Pod, node: core.Node | None, missing_for: float) -> Why | None:
    """Why the pod is to go now, None if it may stay.

    `node`: the one that the pod is bound to; `missing_for`: seconds since that was seen to be missing.
    """
    going = pod.metadata.deletion_timestamp is not None
    if not pod.spec.node_name:
        return Why.NEVER_SCHEDULED if going else None
    if node is None:
        return Why.NODE_GONE if missing_for >= QUARANTINE else None
    return Why.OUT_OF_SERVICE if going and is_out_of_service(node) else None


def is_out_of_service(node: core.Node) -> bool:
    """Whether somebody has said that the node is gone for good, and it does not say otherwise itself."""
    ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    return not ready and any(one.key == OUT_OF_SERVICE for one in node.spec.taints)


def surplus(ended: Iterable[core.Pod], kept: int = KEPT) -> list[core.Pod]:
    """Of the pods that have ended, the oldest ones that are too many."""
    pods = sorted(ended, key=lambda one: (one.metadata.creation_timestamp or "", one.metadata.name))
    return pods[: max(0, len(pods) - kept)]
