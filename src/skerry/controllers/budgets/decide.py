"""How many pods of a PodDisruptionBudget may go. Pure. Called by controller.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from skerry.api import budgets
from skerry.api.percent import scaled
from skerry.api.types import core, policy
from skerry.clock import parse_rfc3339

PATIENCE = 120.0
"""Seconds for which a pod that was evicted counts as gone although it is still there."""


class NoScale(Exception):
    """Nobody knows how many pods there should be."""


@dataclass
class Decision:
    """`wait`: seconds until the status changes by itself. `stuck`: evicted pods that nobody has deleted."""

    status: policy.PodDisruptionBudgetStatus
    wait: float | None = None
    stuck: list[core.Pod] = field(default_factory=list)


def decide(
    budget: policy.PodDisruptionBudget, pods: list[core.Pod], scale: Callable[[list[core.Pod]], int], now: float
) -> Decision:
    """The budget's status. `scale(pods)`: how many pods their controllers want; where it raises NoScale, this does."""
    expected, desired = _expected(budget, pods, scale)
    out = Decision(policy.PodDisruptionBudgetStatus())
    disrupted: dict[str, str] = {}
    healthy = 0
    for pod in pods:
        if pod.metadata.deletion_timestamp:
            continue
        evicted = budget.status.disrupted_pods.get(pod.metadata.name)
        if evicted is not None:
            left = parse_rfc3339(evicted) + PATIENCE - now
            if left > 0:
                disrupted[pod.metadata.name] = evicted
                out.wait = left if out.wait is None else min(out.wait, left)
                continue
            out.stuck.append(pod)
        healthy += budgets.is_ready(pod)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    generation = budget.metadata.generation
    out.status = policy.PodDisruptionBudgetStatus(
        observed_generation=generation,
        disrupted_pods=disrupted,
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        conditions=budgets.conditions(budget.status.conditions, allowed, generation, now),
    )
    return out


def failed(budget: policy.PodDisruptionBudget, why: str, now: float) -> policy.PodDisruptionBudgetStatus:
    """The status while nobody knows: nothing is allowed."""
    known = budget.status
    return policy.PodDisruptionBudgetStatus(
        observed_generation=budget.metadata.generation,
        disrupted_pods=known.disrupted_pods,
        disruptions_allowed=0,
        current_healthy=known.current_healthy,
        desired_healthy=known.desired_healthy,
        expected_pods=known.expected_pods,
        conditions=budgets.conditions(known.conditions, 0, budget.metadata.generation, now, why),
    )


def _expected(
    budget: policy.PodDisruptionBudget, pods: list[core.Pod], scale: Callable[[list[core.Pod]], int]
) -> tuple[int, int]:
    """How many pods there should be, and how many of them must be ready."""
    least, most = budget.spec.min_available, budget.spec.max_unavailable
    if most is not None:
        expected = scale(pods)
        return expected, max(0, expected - scaled(most, expected, up=True))
    if isinstance(least, str):
        expected = scale(pods)
        return expected, scaled(least, expected, up=True)
    return (len(pods), least) if least is not None else (0, 0)
