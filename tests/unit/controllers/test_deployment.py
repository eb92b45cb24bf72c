"""How a Deployment gets from one version to the next: A1, A2, A5."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api import codec
from skerry.api.types import apps, core, meta
from skerry.clock import parse_rfc3339, rfc3339
from skerry.controllers.deployment import rollout, status, versions

NOW = parse_rfc3339("2026-01-01T01:00:00Z")


def deployment(replicas: int = 10, image: str = "v2", **more: Any) -> apps.Deployment:
    rolling = apps.RollingUpdateDeployment(
        max_surge=more.pop("surge", "25%"), max_unavailable=more.pop("unavailable", "25%")
    )
    strategy = more.pop("strategy", None) or apps.DeploymentStrategy(type="RollingUpdate", rolling_update=rolling)
    more.setdefault("progress_deadline_seconds", 600)
    return apps.Deployment(
        metadata=meta.ObjectMeta(name="web", namespace="default", uid="d", generation=2),
        spec=apps.DeploymentSpec(
            replicas=replicas,
            selector=meta.LabelSelector(match_labels={"app": "web"}),
            template=core.PodTemplateSpec(
                metadata=meta.ObjectMeta(labels={"app": "web"}),
                spec=core.PodSpec(containers=[core.Container(name="c", image=image)]),
            ),
            strategy=strategy,
            **more,
        ),
    )


def replicas_of(
    of: apps.Deployment, image: str, size: int, available: int | None = None, *, desired: int | None = None
) -> apps.ReplicaSet:
    template = codec.copy(of.spec.template)
    template.spec.containers[0].image = image
    template.metadata.labels[versions.HASH_LABEL] = image
    wanted = of.spec.replicas if desired is None else desired
    surged = (wanted or 0) + (rollout.bounds(of)[0] if desired is None else -(-(wanted or 0) // 4))
    count = size if available is None else available
    return apps.ReplicaSet(
        metadata=meta.ObjectMeta(
            name=f"web-{image}",
            namespace="default",
            uid=f"uid-{image}",
            creation_timestamp=f"2026-01-01T00:0{image[1]}:00Z",
            annotations={
                versions.REVISION: image[1],
                versions.DESIRED: str(wanted),
                versions.MAXIMUM: str(surged),
            },
        ),
        spec=apps.ReplicaSetSpec(replicas=size, template=template),
        status=apps.ReplicaSetStatus(replicas=size, ready_replicas=count, available_replicas=count),
    )


def world(of: apps.Deployment, *sets: apps.ReplicaSet, old_pods: bool = False) -> rollout.World:
    new = versions.find_new(of, sets)
    return rollout.World(of, new, [one for one in versions.by_age(sets) if one is not new], old_pods)


def steps(of: apps.Deployment, *sets: apps.ReplicaSet) -> dict[str, int]:
    plan = rollout.plan(world(of, *sets))
    assert plan.create is None
    return {one.metadata.name.removeprefix("web-"): size for one, size in plan.steps}


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expect"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (3, "0%", "10%", (0, 1)),
        (3, 1, 0, (1, 0)),
        (2, 1, 5, (1, 2)),
        (0, "25%", "25%", (0, 1)),
    ],
)
def test_a1_bounds(replicas: int, surge: int | str, unavailable: int | str, expect: tuple[int, int]) -> None:
    assert rollout.bounds(deployment(replicas, surge=surge, unavailable=unavailable)) == expect


def test_the_first_set_has_the_whole_size() -> None:
    assert rollout.plan(world(deployment(10))).create == 10


def test_a_rolling_update_step_by_step() -> None:
    """10 replicas, 13 at most, 8 available at least."""
    of = deployment(10)
    assert rollout.plan(world(of, replicas_of(of, "v1", 10))).create == 3
    assert steps(of, replicas_of(of, "v1", 10), replicas_of(of, "v2", 3, 0)) == {"v1": 8}
    assert steps(of, replicas_of(of, "v1", 8), replicas_of(of, "v2", 3, 0)) == {"v2": 5}
    assert steps(of, replicas_of(of, "v1", 8), replicas_of(of, "v2", 5, 0)) == {}
    assert steps(of, replicas_of(of, "v1", 8), replicas_of(of, "v2", 5, 3)) == {"v1": 5}
    assert steps(of, replicas_of(of, "v1", 0), replicas_of(of, "v2", 10)) == {}


def test_old_pods_that_are_not_available_go_first() -> None:
    of = deployment(10)
    assert steps(of, replicas_of(of, "v0", 4, 0), replicas_of(of, "v1", 6), replicas_of(of, "v2", 3, 0)) == {"v0": 2}


def test_recreate_waits_for_the_old_pods() -> None:
    of = deployment(3, strategy=apps.DeploymentStrategy(type="Recreate"))
    old = replicas_of(of, "v1", 3)
    assert steps(of, old) == {"v1": 0}
    gone = replicas_of(of, "v1", 0)
    assert rollout.plan(world(of, gone, old_pods=True)) == rollout.Plan()
    assert rollout.plan(world(of, gone)).create == 3


def test_scaling_a_settled_deployment() -> None:
    of = deployment(5)
    assert steps(of, replicas_of(of, "v1", 0), replicas_of(of, "v2", 10, desired=10)) == {"v2": 5}
    assert steps(deployment(0), replicas_of(of, "v2", 10, desired=10)) == {"v2": 0}


def test_scaling_in_the_middle_of_a_rollout_is_in_proportion() -> None:
    """From 10 (13 with surge) to 20 (25): the sets keep their shares."""
    of = deployment(20)
    new, old = replicas_of(of, "v2", 5, 2, desired=10), replicas_of(of, "v1", 8, desired=10)
    assert steps(of, new, old) == {"v1": 15, "v2": 10}
    of = deployment(5)  # 7 with surge
    assert steps(of, new, old) == {"v1": 4, "v2": 3}


def test_paused_only_scales() -> None:
    of = deployment(10, paused=True)
    assert rollout.plan(world(of, replicas_of(of, "v1", 10))) == rollout.Plan()
    of = deployment(12, paused=True)
    assert steps(of, replicas_of(of, "v1", 10, desired=10)) == {"v1": 12}


@settings(max_examples=60, deadline=None)
@given(
    replicas=st.integers(1, 30),
    surge=st.one_of(st.integers(0, 5), st.sampled_from(["25%", "50%", "100%"])),
    unavailable=st.one_of(st.integers(0, 5), st.sampled_from(["0%", "25%", "100%"])),
    seed=st.integers(0, 1000),
)
def test_every_rollout_ends_and_keeps_its_bounds(replicas: int, surge: Any, unavailable: Any, seed: int) -> None:
    luck = random.Random(seed)
    of = deployment(replicas, surge=surge, unavailable=unavailable)
    most, least = rollout.most(of), replicas - rollout.bounds(of)[1]
    sets = {"v1": replicas_of(of, "v1", replicas)}
    for _ in range(500):
        plan = rollout.plan(world(of, *sets.values()))
        if plan.create is not None:
            sets["v2"] = replicas_of(of, "v2", plan.create, 0)
        for one, size in plan.steps:
            name = one.metadata.name.removeprefix("web-")
            # Which pods go is the ReplicaSet's choice: those that are not available first (A3).
            sets[name] = replicas_of(of, name, size, min(size, one.status.available_replicas))
        assert sum(one.spec.replicas or 0 for one in sets.values()) <= most
        assert sum(one.status.available_replicas for one in sets.values()) >= least
        waiting = [one for one in sets.values() if one.status.available_replicas < (one.spec.replicas or 0)]
        if not waiting and not plan.steps and plan.create is None:
            break
        for one in waiting:
            one.status.available_replicas += luck.randint(0, 1)
    assert {name: one.spec.replicas for name, one in sets.items()} == {"v1": 0, "v2": replicas}


def test_a2_the_new_set() -> None:
    of = deployment(3)
    of.metadata.annotations = {"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    made = versions.new_set(of, 2, versions.annotations_of(of, None, 7))
    digest = made.metadata.labels[versions.HASH_LABEL]
    assert made.metadata.name == f"web-{digest}" and set(digest) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert made.spec.selector is not None
    assert made.spec.selector.match_labels == {"app": "web", versions.HASH_LABEL: digest}
    assert made.spec.template.metadata.labels == {"app": "web", versions.HASH_LABEL: digest}
    assert of.spec.template.metadata.labels == {"app": "web"}
    assert made.metadata.annotations == {"note": "x", versions.REVISION: "7"}
    assert made.metadata.owner_references[0].uid == "d"
    assert versions.find_new(of, [made]) is made


def test_a2_the_hash() -> None:
    one, other = deployment(image="v1").spec.template, deployment(image="v2").spec.template
    assert versions.template_hash(one, 0) == versions.template_hash(codec.copy(one), 0)
    assert versions.template_hash(one, 0) != versions.template_hash(other, 0)
    assert versions.template_hash(one, 0) != versions.template_hash(one, 1)


def test_revisions_and_rollback() -> None:
    of = deployment()
    sets = [replicas_of(of, f"v{n}", 0) for n in (1, 2, 3)]
    assert versions.next_revision(sets) == 4
    back = versions.annotations_of(of, sets[0], 4)
    assert (back[versions.REVISION], back[versions.HISTORY]) == ("4", "1")
    assert versions.annotations_of(of, sets[2], 3) == sets[2].metadata.annotations


def test_history_limit() -> None:
    of = deployment(revision_history_limit=1)
    sets = [replicas_of(of, f"v{n}", 0) for n in (1, 3, 4)]
    assert [one.metadata.name for one in versions.expired(of, sets)] == ["web-v1", "web-v3"]
    sets[0].spec.replicas = 1
    assert [one.metadata.name for one in versions.expired(of, sets)] == ["web-v3"]
    assert versions.expired(deployment(revision_history_limit=5), sets) == []


def conditions(made: apps.DeploymentStatus) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in made.conditions}


def test_a5_conditions_over_a_rollout() -> None:
    of = deployment(4)
    made, _ = status.decide(world(of, replicas_of(of, "v2", 4, 0)), NOW, created="web-v2")
    assert made.conditions[-1].message == 'ReplicaSet "web-v2" is progressing.'
    assert conditions(made) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }
    of.status = made
    same, wait = status.decide(world(of, replicas_of(of, "v2", 4, 0)), NOW + 5)
    assert same == made
    assert wait == pytest.approx(596)
    complete = replicas_of(of, "v2", 4)
    made, wait = status.decide(world(of, complete), NOW + 10)
    assert conditions(made) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    assert made.conditions[-1].message == 'ReplicaSet "web-v2" has successfully progressed.'
    assert made.conditions[-1].last_transition_time == rfc3339(NOW)  # still True
    assert (made.replicas, made.updated_replicas, made.available_replicas, made.unavailable_replicas) == (4, 4, 4, 0)
    assert made.observed_generation == 2
    assert wait is None


def test_a5_the_new_set_is_told() -> None:
    of = deployment(4)
    nothing = replicas_of(of, "v2", 4, 0)
    nothing.status.replicas = 0
    made, _ = status.decide(world(of, nothing), NOW, created="web-v2")
    assert conditions(made)["Progressing"] == ("True", "NewReplicaSetCreated")
    made, _ = status.decide(world(of, nothing), NOW)
    assert conditions(made)["Progressing"] == ("True", "FoundNewReplicaSet")


def test_a5_the_deadline() -> None:
    of = deployment(4)
    waiting = replicas_of(of, "v2", 4, 0)
    of.status, _ = status.decide(world(of, waiting), NOW, created="web-v2")
    made, _ = status.decide(world(of, waiting), NOW + 601)
    assert conditions(made)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    of.status = made
    made, wait = status.decide(world(of, replicas_of(of, "v2", 4, 1)), NOW + 700)
    assert conditions(made)["Progressing"] == ("True", "ReplicaSetUpdated")
    assert wait == pytest.approx(601)
    unlimited = deployment(4, progress_deadline_seconds=None)
    made, wait = status.decide(world(unlimited, waiting), NOW)
    assert ("Progressing" in conditions(made), wait) == (False, None)


def test_a5_paused_resumed_and_failures() -> None:
    of = deployment(4, paused=True)
    old = replicas_of(of, "v1", 4)
    of.status, _ = status.decide(world(of, old), NOW)
    assert conditions(of.status)["Progressing"] == ("Unknown", "DeploymentPaused")
    of.spec.paused = False
    waiting = replicas_of(of, "v2", 1, 0)
    waiting.status.replicas = 0
    waiting.status.conditions = [apps.ReplicaSetCondition(type="ReplicaFailure", status="True", reason="FailedCreate")]
    of.status, _ = status.decide(world(of, old, waiting), NOW)
    assert conditions(of.status)["Progressing"] == ("Unknown", "DeploymentResumed")
    assert conditions(of.status)["ReplicaFailure"] == ("True", "FailedCreate")
    waiting.status.conditions = []
    made, _ = status.decide(world(of, old, waiting), NOW)
    assert "ReplicaFailure" not in conditions(made)
