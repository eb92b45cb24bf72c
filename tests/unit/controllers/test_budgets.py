"""How many pods a PodDisruptionBudget lets go."""

from __future__ import annotations

import pytest

from skerry.api import budgets
from skerry.api.types import core, meta, policy
from skerry.clock import rfc3339
from skerry.controllers.budgets import decide

NOW = 1_767_225_600.0


def budget(disrupted: dict[str, str] | None = None, **spec: int | str) -> policy.PodDisruptionBudget:
    selector = meta.LabelSelector(match_labels={"app": "web"})
    return policy.PodDisruptionBudget(
        metadata=meta.ObjectMeta(name="b", namespace="default", generation=3),
        spec=policy.PodDisruptionBudgetSpec(selector=selector, **spec),  # type: ignore[arg-type]
        status=policy.PodDisruptionBudgetStatus(disrupted_pods=disrupted or {}),
    )


def pods(ready: int, unready: int = 0, going: int = 0) -> list[core.Pod]:
    made = []
    for index in range(ready + unready + going):
        condition = core.PodCondition(type="Ready", status="True" if index < ready else "False")
        time = rfc3339(NOW) if index >= ready + unready else None
        where = meta.ObjectMeta(name=f"p{index}", namespace="default", labels={"app": "web"}, deletion_timestamp=time)
        made.append(core.Pod(metadata=where, status=core.PodStatus(conditions=[condition])))
    return made


@pytest.mark.parametrize(
    ("spec", "found", "scale", "expected", "desired", "healthy", "allowed"),
    [
        ({"min_available": 2}, pods(3), 3, 3, 2, 3, 1),
        ({"min_available": 2}, pods(2, 1), 3, 3, 2, 2, 0),
        ({"min_available": 2}, pods(2, going=1), 3, 3, 2, 2, 0),
        ({"min_available": 5}, pods(3), 3, 3, 5, 3, 0),
        ({"min_available": 0}, pods(3), 3, 3, 0, 3, 3),
        ({"min_available": 0}, [], 3, 0, 0, 0, 0),
        ({"min_available": "50%"}, pods(3), 3, 3, 2, 3, 1),  # rounded up
        ({"min_available": "100%"}, pods(3), 3, 3, 3, 3, 0),
        ({"max_unavailable": 1}, pods(3), 3, 3, 2, 3, 1),
        ({"max_unavailable": 1}, pods(2), 3, 3, 2, 2, 0),  # one is missing already
        ({"max_unavailable": "30%"}, pods(3), 3, 3, 2, 3, 1),
        ({"max_unavailable": 7}, pods(3), 3, 3, 0, 3, 3),
        ({}, pods(3), 3, 0, 0, 3, 0),
    ],
)
def test_how_many_may_go(
    spec: dict[str, int | str],
    found: list[core.Pod],
    scale: int,
    expected: int,
    desired: int,
    healthy: int,
    allowed: int,
) -> None:
    said = decide.decide(budget(**spec), found, lambda _: scale, NOW).status  # type: ignore[arg-type]
    assert (said.expected_pods, said.desired_healthy, said.current_healthy) == (expected, desired, healthy)
    assert said.disruptions_allowed == allowed and said.observed_generation == 3
    (condition,) = said.conditions
    wanted = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    assert (condition.type, condition.status, condition.reason) == ("DisruptionAllowed", *wanted)


def test_an_evicted_pod_counts_as_gone_for_two_minutes() -> None:
    found, evicted = pods(3), {"p0": rfc3339(NOW - 100), "other": rfc3339(NOW)}
    said = decide.decide(budget(evicted, min_available=2), found, lambda _: 3, NOW)
    assert (said.status.current_healthy, said.status.disruptions_allowed, said.wait) == (2, 0, 20)
    assert said.status.disrupted_pods == {"p0": rfc3339(NOW - 100)}  # who is no pod any more is forgotten
    later = decide.decide(budget(evicted, min_available=2), found, lambda _: 3, NOW + 21)
    assert (later.status.current_healthy, later.status.disruptions_allowed, later.wait) == (3, 1, None)
    assert [pod.metadata.name for pod in later.stuck] == ["p0"]
    gone = decide.decide(budget({"p2": rfc3339(NOW)}, min_available=1), pods(2, going=1), lambda _: 3, NOW)
    assert gone.status.disrupted_pods == {} and gone.status.current_healthy == 2


def test_without_knowing_the_scale_nothing_is_allowed() -> None:
    def unknown(_: list[core.Pod]) -> int:
        raise decide.NoScale("why")

    with pytest.raises(decide.NoScale):
        decide.decide(budget(max_unavailable=1), pods(3), unknown, NOW)
    said = decide.failed(budget(max_unavailable=1), "why", NOW)
    assert said.disruptions_allowed == 0
    assert (said.conditions[0].reason, said.conditions[0].message) == ("SyncFailed", "why")
    made = budget(max_unavailable=1)
    made.status = said
    assert budgets.sync_failure(made) == "why"


def test_the_time_of_the_condition_changes_with_its_status_only() -> None:
    first = budgets.conditions([], 1, 1, NOW)
    second = budgets.conditions(first, 2, 2, NOW + 10)
    assert second[0].last_transition_time == rfc3339(NOW) and second[0].observed_generation == 2
    assert budgets.conditions(second, 0, 2, NOW + 20)[0].last_transition_time == rfc3339(NOW + 20)


@pytest.mark.parametrize(
    ("selector", "yes"),
    [
        (meta.LabelSelector(match_labels={"app": "web"}), True),
        (meta.LabelSelector(match_labels={"app": "other"}), False),
        (meta.LabelSelector(), True),
        (None, False),
    ],
)
def test_whom_a_budget_covers(selector: meta.LabelSelector | None, yes: bool) -> None:
    made = budget(min_available=1)
    made.spec.selector = selector
    assert budgets.covers(made, pods(1)[0]) is yes
    made.metadata.namespace = "elsewhere"
    assert not budgets.covers(made, pods(1)[0])
