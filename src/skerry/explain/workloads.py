"""Why there is no pod although something is there that makes such pods. Pure; called by `why`, `read` and `events`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skerry.api.types import apps
from skerry.explain import containers
from skerry.explain.findings import Finding, finding
from skerry.explain.seen import Seen

_FAILURE = "ReplicaFailure"


def findings(seen: Seen) -> Iterator[Finding]:
    """Of each workload whose pods the selector would match; for when it matches none."""
    wanted = seen.service.spec.selector.items()
    for one in seen.workloads:
        if wanted <= one.spec.template.metadata.labels.items():
            yield _of(one)


def _of(one: apps.Deployment | apps.ReplicaSet) -> Finding:
    name, kind = one.metadata.name, "Deployment" if isinstance(one, apps.Deployment) else "ReplicaSet"
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


def _problem(conditions: Sequence[apps.DeploymentCondition | apps.ReplicaSetCondition]) -> str:
    """What its controller says of pods that it cannot make."""
    found = next((one for one in conditions if one.type == _FAILURE and one.status == "True"), None)
    return containers.tidy(found.message or found.reason) if found is not None else ""


def of_their_own(
    deployments: Sequence[apps.Deployment], sets: Sequence[apps.ReplicaSet]
) -> list[apps.Deployment | apps.ReplicaSet]:
    """Without the ReplicaSets that belong to a Deployment."""
    return [
        *deployments,
        *(one for one in sets if not any(owner.controller for owner in one.metadata.owner_references)),
    ]
