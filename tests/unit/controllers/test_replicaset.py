"""Which pods a ReplicaSet makes, keeps and deletes: A2-A4."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.types import apps, core, meta
from skerry.clock import parse_rfc3339
from skerry.controllers import keeper, owners
from skerry.controllers.replicaset import decide

NOW = parse_rfc3339("2026-01-01T01:00:00Z")


def replicaset(replicas: int = 3, **more: Any) -> apps.ReplicaSet:
    return apps.ReplicaSet(
        metadata=meta.ObjectMeta(name="web", namespace="default", uid="rs", generation=4),
        spec=apps.ReplicaSetSpec(
            replicas=replicas,
            selector=meta.LabelSelector(match_labels={"app": "web"}),
            template=core.PodTemplateSpec(metadata=meta.ObjectMeta(labels={"app": "web"}, annotations={"a": "b"})),
            **more,
        ),
    )


def pod(name: str, **more: Any) -> core.Pod:
    """A running, ready pod of the set on node n1, two minutes old."""
    owner = more.pop("owner", "rs")
    ready = more.pop("ready", True)
    since = more.pop("since", "2026-01-01T00:58:00Z")
    condition = core.PodCondition(type="Ready", status="True" if ready else "False", last_transition_time=since)
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels=more.pop("labels", {"app": "web"}),
            annotations=more.pop("annotations", {}),
            creation_timestamp=more.pop("created", "2026-01-01T00:58:00Z"),
            deletion_timestamp=more.pop("deleting", None),
            owner_references=[meta.OwnerReference(kind="ReplicaSet", uid=owner, controller=True)] if owner else [],
        ),
        spec=core.PodSpec(node_name=more.pop("node", "n1")),
        status=core.PodStatus(
            phase=more.pop("phase", "Running"),
            conditions=[condition],
            container_statuses=[core.ContainerStatus(restart_count=more.pop("restarts", 0))],
        ),
    )


def decided(one: apps.ReplicaSet, *pods: core.Pod) -> decide.Decision:
    return decide.decide(one, pods, lambda: pods, NOW)


def names(pods: list[core.Pod]) -> list[str]:
    return [one.metadata.name for one in pods]


def test_a4_missing_pods_are_made_and_surplus_goes() -> None:
    assert decided(replicaset(3), pod("a")).create == 2
    assert decided(replicaset(2000)).create == 500
    assert decided(replicaset(0), pod("a"), pod("b")).delete
    same = decided(replicaset(1), pod("a"))
    assert (same.create, same.delete) == (0, [])


@pytest.mark.parametrize(
    "inactive", [{"phase": "Failed"}, {"phase": "Succeeded"}, {"deleting": "2026-01-01T01:00:00Z"}]
)
def test_a4_only_active_pods_count(inactive: dict[str, str]) -> None:
    assert decided(replicaset(1), pod("a", **inactive)).create == 1


def test_a4_adopting_and_releasing() -> None:
    found = decided(
        replicaset(2),
        pod("mine"),
        pod("orphan", owner=""),
        pod("strange orphan", owner="", labels={"app": "other"}),
        pod("relabelled", labels={"app": "debug"}),
        pod("other's", owner="someone"),
    )
    assert names(found.pods) == ["mine", "orphan"]
    assert (names(found.adopt), names(found.release)) == (["orphan"], ["relabelled"])
    assert (found.create, found.delete) == (0, [])


def test_a_set_that_is_going_does_nothing() -> None:
    one = replicaset(5)
    one.metadata.deletion_timestamp = "2026-01-01T00:59:00Z"
    found = decided(one, pod("a"), pod("orphan", owner=""), pod("relabelled", labels={}))
    assert (found.create, found.delete, found.adopt, found.release) == (0, [], [], [])


def test_adopted_and_released() -> None:
    one = replicaset()
    taken = owners.adopted(pod("a", owner=""), one)
    assert owners.controller_uid(taken) == "rs"
    assert owners.controller_of(owners.released(taken, one)) is None


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"node": ""}, {}),
        ({"phase": "Pending"}, {"phase": "Unknown"}),
        ({"phase": "Unknown"}, {"phase": "Running"}),
        ({"ready": False}, {"ready": True}),
        ({"annotations": {decide.DELETION_COST: "-1"}}, {}),
        ({}, {"annotations": {decide.DELETION_COST: "10"}}),
        ({"annotations": {decide.DELETION_COST: "nonsense"}, "ready": False}, {}),
        ({"since": "2026-01-01T00:59:00Z"}, {"since": "2026-01-01T00:01:00Z"}),  # ready for a shorter time
        ({"restarts": 3}, {"restarts": 1}),
        ({"created": "2026-01-01T00:59:30Z"}, {"created": "2026-01-01T00:01:00Z"}),
    ],
)
def test_a3_who_goes_first(first: dict[str, Any], then: dict[str, Any]) -> None:
    # Names are against the order, so that a rule which does nothing is noticed.
    one, other = pod("z", **first), pod("a", **then)
    assert names(decide.worst([other, one], [], NOW)) == ["z", "a"]
    assert names(decide.worst([one, other], [], NOW)) == ["z", "a"]


def test_a3_the_fuller_node_gives_first() -> None:
    here, there = pod("here", node="n1"), pod("there", node="n2")
    crowd = [here, there, pod("sibling", owner="another", node="n2")]
    assert names(decide.worst([here, there], crowd, NOW)) == ["there", "here"]


def test_a3_old_pods_of_nearly_one_age_are_alike() -> None:
    """On the logarithmic scale 50 and 55 minutes are the same; the UID decides."""
    one, other = pod("b", since="2026-01-01T00:10:00Z"), pod("a", since="2026-01-01T00:05:00Z")
    assert names(decide.worst([one, other], [], NOW)) == ["a", "b"]


@given(st.integers(0, 600))
def test_a4_slow_start(count: int) -> None:
    sizes = keeper.batches(count)
    assert sum(sizes) == count
    assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(sizes))
    assert not sizes or sizes[0] == 1


def test_a2_a_new_pod() -> None:
    made = decide.new_pod(replicaset())
    assert (made.metadata.generate_name, made.metadata.name, made.metadata.namespace) == ("web-", "", "default")
    assert (made.metadata.labels, made.metadata.annotations) == ({"app": "web"}, {"a": "b"})
    [owner] = made.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("ReplicaSet", "web", "rs", True)


def test_the_status() -> None:
    one = replicaset(3, min_ready_seconds=150)
    pods = [
        pod("old", since="2026-01-01T00:50:00Z"),
        pod("young"),  # ready for 120 s
        pod("bare", ready=False, labels={}),
    ]
    made, wait = decide.status(one, pods, None, NOW)
    assert (made.replicas, made.fully_labeled_replicas, made.ready_replicas, made.available_replicas) == (3, 2, 2, 1)
    assert made.observed_generation == 4
    assert wait == 30
    made, wait = decide.status(one, pods, ("FailedCreate", "quota"), NOW)
    [condition] = made.conditions
    assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
    one.status = made
    assert decide.status(one, pods, ("FailedCreate", "another text"), NOW + 60)[0].conditions == made.conditions
    assert decide.status(one, pods, None, NOW)[0].conditions == []
