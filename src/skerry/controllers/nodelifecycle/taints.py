"""Which taints a node's conditions make. Pure. Called by controller.py.

Only the taints named here are written and taken away; everybody else's stay as they are.
"""

from __future__ import annotations

from skerry.api.types import core

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_READINESS = (NOT_READY, UNREACHABLE)
_NO_SCHEDULE = (*_READINESS, UNSCHEDULABLE, *_PRESSURES.values())


def of_readiness(node: core.Node, lost: bool) -> list[str] | None:
    """The key that the Ready condition asks for (none if the node is ready), or None: leave them as they are.

    `lost`: no sign of life for too long. A node whose condition is Unknown for another reason (the cluster was opened
    a moment ago) keeps what it has until one or the other is known.
    """
    status = next((one.status for one in node.status.conditions if one.type == "Ready"), "Unknown")
    if status == "True":
        return []
    if status == "False":
        return [NOT_READY]
    return [UNREACHABLE] if lost else None


def no_schedule(node: core.Node, lost: bool) -> list[core.Taint]:
    """The node's taints with those NoSchedule ones that its conditions and its cordon ask for, new ones last."""
    keys = of_readiness(node, lost)
    if keys is None:
        keys = [one.key for one in node.spec.taints if one.key in _READINESS and one.effect == "NoSchedule"]
    found = {one.type: one.status for one in node.status.conditions}
    keys += [key for kind, key in _PRESSURES.items() if found.get(kind) == "True"]
    keys += [UNSCHEDULABLE] if node.spec.unschedulable else []
    return _with(node.spec.taints, _NO_SCHEDULE, keys, "NoSchedule")


def no_execute(taints: list[core.Taint], keys: list[str]) -> list[core.Taint]:
    """The taints with these NoExecute ones for readiness, and no other of those."""
    return _with(taints, _READINESS, keys, "NoExecute")


def has_no_execute(node: core.Node) -> bool:
    """Whether the node's readiness has tainted it NoExecute."""
    return any(one.key in _READINESS and one.effect == "NoExecute" for one in node.spec.taints)


def _with(taints: list[core.Taint], ours: tuple[str, ...], keys: list[str], effect: str) -> list[core.Taint]:
    kept = [one for one in taints if one.effect != effect or one.key not in ours or one.key in keys]
    there = {one.key for one in kept if one.effect == effect}
    return kept + [core.Taint(key=key, effect=effect) for key in keys if key not in there]


def stamped(taints: list[core.Taint], before: list[core.Taint], now: str) -> list[core.Taint]:
    """Gives those that were not there before the time at which they were added."""
    known = {(one.key, one.effect) for one in before}
    for one in taints:
        if (one.key, one.effect) not in known:
            one.time_added = now
    return taints
