"""Why there is no pod although something is there that makes such pods. Pure; called by `why`, `read` and `events`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skerry.api.types import apps
from skerry.explain import containers
from skerry.explain.findings import Finding, finding
from skerry.explain.seen import Seen, Workload

_FAILURE = "ReplicaFailure"


def findings(seen: Seen) -> Iterator[Finding]:
    """Of each workload whose pods the selector would match; for when it matches none."""
    wanted = seen.service.spec.selector.items()
    for one in seen.workloads:
        if wanted <= one.spec.template.metadata.labels.items():
            yield _of(one)


def _of(one: Workload) -> Finding:
    name, kind = one.metadata.name, one.kind
    if isinstance(one, apps.DaemonSet):
        return _of_nodes(one)
    count = 1 if one.spec.replicas is None else one.spec.replicas
    if not count:
        text = f"The pods of {kind} {name} would match, but it is scaled to 0."
        more = f"`kubectl scale {kind.lower()} {name} --replicas=1` makes one."
        return finding("ScaledToZero", text, obj=f"{kind}/{name}", more=(more,), details={"replicas": 0})
    why = _problem(one.status.conditions)
    if isinstance(one, apps.Deployment) and one.spec.paused:
        why = why or "it is paused, and `kubectl rollout resume` ends that"
    pods = "a pod that matches" if count == 1 else f"{count} pods that match"
    text = f"{kind} {name} should have {pods}, and has none" + containers.stop(f": {why}" if why else " yet")
    return finding("NoPodsMade", text, obj=f"{kind}/{name}", details={"replicas": count, "message": why or None})


def _of_nodes(one: apps.DaemonSet) -> Finding:
    name, count = one.metadata.name, one.status.desired_number_scheduled
    pods = "a pod that matches" if count == 1 else f"{count} pods that match"
    text = f"DaemonSet {name} should have {pods}, and has none yet."
    if not count:
        why = "no node has the labels that it asks for, without taints that it does not tolerate"
        text = f"DaemonSet {name} would have pods that match, and has none: {why}."
    return finding("NoPodsMade", text, obj=f"DaemonSet/{name}", details={"replicas": count, "message": None})


def _problem(
    conditions: Sequence[apps.DeploymentCondition | apps.ReplicaSetCondition | apps.StatefulSetCondition],
) -> str:
    """What its controller says of pods that it cannot make."""
    found = next((one for one in conditions if one.type == _FAILURE and one.status == "True"), None)
    return containers.tidy(found.message or found.reason) if found is not None else ""


def of_their_own(*found: Sequence[Workload]) -> list[Workload]:
    """Without those that belong to another, as ReplicaSets do to a Deployment."""
    return [
        one for group in found for one in group if not any(owner.controller for owner in one.metadata.owner_references)
    ]
