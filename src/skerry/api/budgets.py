"""What a PodDisruptionBudget says of its pods: facts that the API server (eviction) and its controller share. Pure."""

from __future__ import annotations

from skerry.api import labels
from skerry.api.types import core, meta, policy
from skerry.clock import rfc3339

ALLOWED = "DisruptionAllowed"
_SYNC_FAILED = "SyncFailed"


def covers(budget: policy.PodDisruptionBudget, pod: core.Pod) -> bool:
    """Whether the budget is about this pod. An empty selector means every pod of the namespace, none means none."""
    if budget.metadata.namespace != pod.metadata.namespace:
        return False
    return labels.from_selector(budget.spec.selector).matches(pod.metadata.labels)


def is_ready(pod: core.Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def conditions(
    known: list[meta.Condition], allowed: int, generation: int, now: float, failure: str = ""
) -> list[meta.Condition]:
    """The conditions with DisruptionAllowed as it must be; its time changes with its status only."""
    status, reason = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    if failure:
        status, reason = "False", _SYNC_FAILED
    before = next((one for one in known if one.type == ALLOWED), None)
    kept = before.last_transition_time if before is not None and before.status == status else None
    made = meta.Condition(
        type=ALLOWED,
        status=status,
        reason=reason,
        message=failure,
        observed_generation=generation,
        last_transition_time=kept or rfc3339(now),
    )
    return [*(one for one in known if one.type != ALLOWED), made]


def sync_failure(budget: policy.PodDisruptionBudget) -> str:
    """Why the controller could not tell how many disruptions are allowed; "" if it could."""
    found = next((one for one in budget.status.conditions if one.type == ALLOWED), None)
    return found.message if found is not None and found.reason == _SYNC_FAILED else ""
