"""Signs of life of one node, and what its conditions become without them. Pure.

Called by controller.py. A sign is a renewed Lease or a newer heartbeat in the Ready condition; what counts is when this
controller saw it, not the time in it, so that clocks need not agree. Signs are told by a clock that does not jump: a
machine that slept for an hour has lost no node.
"""

from __future__ import annotations

from dataclasses import dataclass

from skerry import clock
from skerry.api.types import coordination, core

GRACE = 50.0
"""Seconds without a sign after which nothing is known of a node."""
STARTUP_GRACE = 60.0
"""The same for a node that has never said how it is."""
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass(slots=True)
class Heartbeat:
    """The last sign of life."""

    seen: float
    """When it was seen, by this controller's monotonic clock."""
    posted: str | None
    """The Ready condition's heartbeat then; None if the node has no such condition."""
    renewed: str | None
    """The Lease's renewal then."""


def ready(node: core.Node) -> core.NodeCondition | None:
    """The Ready condition."""
    return next((one for one in node.status.conditions if one.type == "Ready"), None)


def is_ready(node: core.Node) -> bool:
    found = ready(node)
    return found is not None and found.status == "True"


def observe(
    known: Heartbeat | None, node: core.Node, lease: coordination.Lease | None, now: float, wall: float
) -> Heartbeat:
    """What is known after a look at the node and its Lease. A node seen for the first time has just given a sign.

    One that has no Ready condition is counted from its creation, for which `wall` is the time of day; `now`: monotonic.
    """
    condition = ready(node)
    posted = None if condition is None else condition.last_heartbeat_time or ""
    renewed = None if lease is None else lease.spec.renew_time
    if known is None:
        created = node.metadata.creation_timestamp
        seen = now - (wall - clock.parse_rfc3339(created)) if posted is None and created else now
        return Heartbeat(seen, posted, renewed)
    if posted != known.posted or (renewed is not None and renewed != known.renewed):
        return Heartbeat(now, posted, renewed)
    return known


def deadline(node: core.Node, beat: Heartbeat) -> float:
    """When the node counts as lost if it gives no sign before."""
    return beat.seen + (STARTUP_GRACE if ready(node) is None else GRACE)


def silent(node: core.Node, now: float) -> list[core.NodeCondition] | None:
    """The conditions of a node that is lost, None if it has them already."""
    time = clock.rfc3339(now)
    kept = {one.type: one for one in node.status.conditions}
    changed = False
    for kind in _CONDITIONS:
        known = kept.get(kind)
        if known is None:
            made = core.NodeCondition(
                type=kind,
                status="Unknown",
                reason="NodeStatusNeverUpdated",
                message="Kubelet never posted node status.",
                last_heartbeat_time=node.metadata.creation_timestamp,
                last_transition_time=time,
            )
        elif known.status != "Unknown":
            made = core.NodeCondition(
                type=kind,
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                last_heartbeat_time=known.last_heartbeat_time,
                last_transition_time=time,
            )
        else:
            continue
        kept[kind], changed = made, True
    return list(kept.values()) if changed else None
