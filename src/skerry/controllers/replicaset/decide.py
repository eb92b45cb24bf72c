"""Which pods a ReplicaSet keeps, takes over, lets go, makes and deletes (A2-A4), and what its status says.

Pure; called by the shell beside it and by tests.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from skerry import clock
from skerry.api.types import apps, core, meta
from skerry.controllers import owners
from skerry.controllers.claims import Claim, claim

BURST = 500
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass
class Decision(Claim):
    """`pods` are the active ones that belong to the set once `adopt` and `release` are done."""

    create: int = 0
    delete: list[core.Pod] = field(default_factory=list)


def decide(
    replicaset: apps.ReplicaSet, pods: Iterable[core.Pod], related: Callable[[], Iterable[core.Pod]], now: float
) -> Decision:
    """What to do. `pods` are the set's own and the namespace's orphans, in any state.

    `related` is asked for the pods of all sets with the same controller when some must go: of two equal pods, the one
    on the fuller node goes.
    """
    claimed = claim(replicaset, replicaset.spec.selector, [one for one in pods if owners.is_active(one)])
    found = Decision(claimed.pods, claimed.adopt, claimed.release)
    if replicaset.metadata.deletion_timestamp is not None:
        return Decision(pods=found.pods)
    missing = (replicaset.spec.replicas or 0) - len(found.pods)
    if missing > 0:
        found.create = min(missing, BURST)
    elif missing < 0:
        found.delete = worst(found.pods, related(), now)[: min(-missing, BURST)]
    return found


def new_pod(replicaset: apps.ReplicaSet) -> core.Pod:
    """A pod from the template, named by the server."""
    template = replicaset.spec.template
    return core.Pod(
        metadata=meta.ObjectMeta(
            generate_name=f"{replicaset.metadata.name}-",
            namespace=replicaset.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=[owners.reference(replicaset)],
        ),
        spec=template.spec,
    )


def worst(pods: Sequence[core.Pod], related: Iterable[core.Pod], now: float) -> list[core.Pod]:
    """The pods, those to be deleted first in front (A3)."""
    crowd = Counter(one.spec.node_name for one in related if owners.is_active(one))

    def compare(one: core.Pod, other: core.Pod) -> int:
        return _compare(one, other, crowd, now)

    return sorted(pods, key=functools.cmp_to_key(compare))


def _compare(one: core.Pod, other: core.Pod, crowd: Counter[str], now: float) -> int:
    """Negative if `one` goes before `other`."""
    ready = owners.is_ready(one), owners.is_ready(other)
    rules = (
        (bool(one.spec.node_name), bool(other.spec.node_name)),
        (_PHASES.get(one.status.phase, 0), _PHASES.get(other.status.phase, 0)),
        ready,
        (_cost(one), _cost(other)),
        (-crowd[one.spec.node_name], -crowd[other.spec.node_name]),
    )
    for mine, theirs in rules:
        if mine != theirs:
            return -1 if mine < theirs else 1
    if all(ready):
        since = _ready_since(one), _ready_since(other)
        if since[0] != since[1]:
            ages = _magnitude(since[0], now), _magnitude(since[1], now)
            if ages[0] != ages[1]:
                return -1 if ages[0] < ages[1] else 1
            return -1 if one.metadata.uid < other.metadata.uid else 1
    restarts = _restarts(one), _restarts(other)
    if restarts[0] != restarts[1]:
        return -1 if restarts[0] > restarts[1] else 1
    created = one.metadata.creation_timestamp or "", other.metadata.creation_timestamp or ""
    if created[0] != created[1]:
        ages = _magnitude(_seconds(created[0]), now), _magnitude(_seconds(created[1]), now)
        if ages[0] != ages[1]:
            return -1 if ages[0] < ages[1] else 1
        return -1 if one.metadata.uid < other.metadata.uid else 1
    return 0


def _cost(pod: core.Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    try:
        return int(text)
    except ValueError:
        return 0


def _ready_since(pod: core.Pod) -> float:
    condition = owners.ready_condition(pod)
    return _seconds(condition.last_transition_time or "" if condition else "")


def _seconds(time: str) -> float:
    return clock.parse_rfc3339(time) if time else 0.0


def _magnitude(since: float, now: float) -> int:
    """The age on a logarithmic scale, so that a few seconds of difference between old pods do not decide."""
    age = int((now - since) * 1e9)
    return int(math.log2(age)) if age > 0 else -1


def _restarts(pod: core.Pod) -> int:
    return max((one.restart_count for one in pod.status.container_statuses), default=0)


def status(
    replicaset: apps.ReplicaSet, pods: Sequence[core.Pod], failure: tuple[str, str] | None, now: float
) -> tuple[apps.ReplicaSetStatus, float | None]:
    """(the status these active pods make, seconds until a ready pod becomes available or None).

    `failure` is (reason, message) of what went wrong in this sync.
    """
    template = replicaset.spec.template.metadata.labels.items()
    waits = [owners.available_in(one, replicaset.spec.min_ready_seconds, now) for one in pods]
    made = msgspec.structs.replace(
        replicaset.status,
        replicas=len(pods),
        fully_labeled_replicas=sum(1 for one in pods if template <= one.metadata.labels.items()),
        ready_replicas=sum(1 for one in pods if owners.is_ready(one)),
        available_replicas=sum(1 for one in waits if one == 0),
        observed_generation=replicaset.metadata.generation,
        conditions=_conditions(replicaset, failure, now),
    )
    return made, min((one for one in waits if one), default=None)


def _conditions(
    replicaset: apps.ReplicaSet, failure: tuple[str, str] | None, now: float
) -> list[apps.ReplicaSetCondition]:
    others = [one for one in replicaset.status.conditions if one.type != "ReplicaFailure"]
    if failure is None:
        return others
    known = next((one for one in replicaset.status.conditions if one.type == "ReplicaFailure"), None)
    if known is not None and known.reason == failure[0]:
        return replicaset.status.conditions
    return [
        *others,
        apps.ReplicaSetCondition(
            type="ReplicaFailure",
            status="True",
            reason=failure[0],
            message=failure[1],
            last_transition_time=clock.rfc3339(now),
        ),
    ]
