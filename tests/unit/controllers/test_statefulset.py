"""Which pods of a StatefulSet come, go and are renewed, in which order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.types import apps, core, meta
from skerry.clock import parse_rfc3339
from skerry.controllers import revisions
from skerry.controllers.statefulset import decide
from skerry.controllers.statefulset import pods as naming

NOW = parse_rfc3339("2026-01-01T01:00:00Z")
OLD = apps.ControllerRevision(metadata=meta.ObjectMeta(name="web-old"), data={"spec": {"template": {}}}, revision=1)
NEW = apps.ControllerRevision(metadata=meta.ObjectMeta(name="web-new"), data={"spec": {"template": {}}}, revision=2)


def statefulset(replicas: int = 3, *, parallel: bool = False, start: int = 0, **more: Any) -> apps.StatefulSet:
    partition, most = more.pop("partition", 0), more.pop("unavailable", None)
    rolling = apps.RollingUpdateStatefulSetStrategy(partition=partition, max_unavailable=most)
    return apps.StatefulSet(
        metadata=meta.ObjectMeta(name="web", namespace="default", uid="s", generation=2),
        spec=apps.StatefulSetSpec(
            replicas=replicas,
            ordinals=apps.StatefulSetOrdinals(start=start) if start else None,
            pod_management_policy="Parallel" if parallel else "OrderedReady",
            update_strategy=apps.StatefulSetUpdateStrategy(
                type=more.pop("strategy", "RollingUpdate"), rolling_update=rolling
            ),
            selector=meta.LabelSelector(match_labels={"app": "web"}),
            **more,
        ),
        status=apps.StatefulSetStatus(current_revision="web-old"),
    )


def pod(ordinal: int, state: str = "ready", revision: str = "web-new") -> core.Pod:
    """`state`: ready, unready, going, failed or succeeded."""
    phase = {"failed": "Failed", "succeeded": "Succeeded"}.get(state, "Running")
    condition = core.PodCondition(
        type="Ready", status="True" if state in ("ready", "going") else "False",
        last_transition_time="2026-01-01T00:59:50Z",
    )  # fmt: skip
    name = f"web-{ordinal}"
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=name,
            labels={revisions.HASH_LABEL: revision, naming.NAME_LABEL: name, naming.INDEX_LABEL: str(ordinal)},
            deletion_timestamp="2026-01-01T01:00:00Z" if state == "going" else None,
        ),
        status=core.PodStatus(phase=phase, conditions=[condition]),
    )


def world(one: apps.StatefulSet, *pods: core.Pod) -> decide.World:
    return decide.World(one, pods, revisions.History(NEW, [OLD, NEW]), NOW)


def step(one: apps.StatefulSet, *pods: core.Pod) -> dict[str, list[Any]]:
    """What is done: numbers of pods."""
    found = decide.decide(world(one, *pods))

    def numbers(those: list[core.Pod]) -> list[int]:
        return [naming.ordinal_of(one, pod) for pod in those]

    said = {
        "create": [number for number, _ in found.create], "recreate": numbers(found.recreate),
        "condemned": numbers(found.condemned), "renew": numbers(found.renew),
    }  # fmt: skip
    return {key: value for key, value in said.items() if value}


@pytest.mark.parametrize(
    ("pods", "wanted"),
    [
        ([], {"create": [0]}),
        ([pod(0, "unready")], {}),
        ([pod(0)], {"create": [1]}),
        ([pod(0, "going"), pod(1)], {}),
        ([pod(1), pod(2)], {"create": [0]}),
        ([pod(0), pod(1, "failed"), pod(2)], {"recreate": [1]}),
        ([pod(0), pod(1, "succeeded")], {"recreate": [1]}),
        ([pod(0), pod(1), pod(2)], {}),
        ([pod(0), pod(1), pod(2), pod(3), pod(4)], {"condemned": [4]}),
        ([pod(0), pod(1), pod(2), pod(3), pod(4, "going")], {}),
        # The highest goes only when those below it are well, unless it is itself what is not well.
        ([pod(0), pod(1), pod(2), pod(3, "unready"), pod(4)], {"condemned": [4]}),
        ([pod(0), pod(1), pod(2), pod(3), pod(4, "unready")], {"condemned": [4]}),
        ([pod(0), pod(1), pod(2), pod(3, "unready"), pod(4, "unready")], {}),
        ([pod(0, "unready"), pod(1), pod(2), pod(3)], {}),
        ([pod(0), pod(1), pod(2, revision="web-old")], {"renew": [2]}),
        ([pod(0, revision="web-old"), pod(1, revision="web-old"), pod(2)], {"renew": [1]}),
        ([pod(0, revision="web-old"), pod(1, revision="web-old"), pod(2, "unready")], {}),
        # A broken pod stops it, also when the template is good again: as upstream.
        ([pod(0, revision="web-old"), pod(1, "unready", "web-old"), pod(2)], {}),
    ],
)  # fmt: skip
def test_one_by_one(pods: list[core.Pod], wanted: dict[str, list[int]]) -> None:
    assert step(statefulset(), *pods) == wanted


@pytest.mark.parametrize(
    ("more", "pods", "wanted"),
    [
        ({}, [], {"create": [0, 1, 2]}),
        ({"start": 5}, [pod(6)], {"create": [5, 7]}),
        ({"start": 5}, [pod(4), pod(5), pod(6), pod(7), pod(9)], {"condemned": [9, 4]}),
        ({"replicas": 1}, [pod(0, "unready"), pod(1), pod(2, "going")], {"condemned": [1]}),
        ({"unavailable": 2}, [pod(one, revision="web-old") for one in range(3)], {"renew": [2, 1]}),
        ({"unavailable": "50%"}, [pod(one, revision="web-old") for one in range(3)], {"renew": [2, 1]}),
        ({"unavailable": 2}, [pod(0, revision="web-old"), pod(1, revision="web-old"), pod(2, "unready")],
         {"renew": [1]}),
        # One that is not available anyhow costs nothing.
        ({}, [pod(0, revision="web-old"), pod(1, "unready", "web-old"), pod(2)], {"renew": [1]}),
        ({"partition": 2}, [pod(one, revision="web-old") for one in range(3)], {"renew": [2]}),
        ({"partition": 9}, [pod(one, revision="web-old") for one in range(3)], {}),
        ({"strategy": "OnDelete"}, [pod(one, revision="web-old") for one in range(3)], {}),
    ],
)  # fmt: skip
def test_in_parallel(more: dict[str, Any], pods: list[core.Pod], wanted: dict[str, list[int]]) -> None:
    assert step(statefulset(parallel=True, **more), *pods) == wanted


def test_a_pod_below_the_partition_is_made_of_the_former_version() -> None:
    found = decide.decide(world(statefulset(parallel=True, partition=2)))
    assert [(number, one.metadata.name) for number, one in found.create] == [
        (0, "web-old"), (1, "web-old"), (2, "web-new"),
    ]  # fmt: skip
    found = decide.decide(world(statefulset(parallel=True, strategy="OnDelete", partition=2)))
    assert {one.metadata.name for _, one in found.create} == {"web-new"}


def test_min_ready_seconds_are_waited_for() -> None:
    found = decide.decide(world(statefulset(min_ready_seconds=30), pod(0)))
    assert (found.create, found.wait) == ([], 20.0)
    status, wait = decide.status(world(statefulset(1, min_ready_seconds=30), pod(0)))
    assert (status.ready_replicas, status.available_replicas, wait) == (1, 0, 20.0)


def test_status_and_the_end_of_an_update() -> None:
    status, _ = decide.status(world(statefulset(), pod(0, revision="web-old"), pod(1, "unready"), pod(2, "going")))
    assert (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas) == (3, 2, 1, 1)
    assert (status.current_revision, status.update_revision, status.observed_generation) == ("web-old", "web-new", 2)
    status, _ = decide.status(world(statefulset(2), pod(0), pod(1)))
    assert (status.current_revision, status.current_replicas) == ("web-new", 2)


def test_names_volumes_and_claims() -> None:
    claim = core.PersistentVolumeClaim(metadata=meta.ObjectMeta(name="data"))
    one = statefulset(volume_claim_templates=[claim], service_name="db")
    template = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels={"app": "web"}),
        spec=core.PodSpec(volumes=[core.Volume(name="data"), core.Volume(name="tmp")]),
    )
    one.spec.template = template
    made = naming.named(one, 7, revisions.named(one, 1))
    assert (made.metadata.name, made.spec.hostname, made.spec.subdomain) == ("web-7", "web-7", "db")
    volume = made.spec.volumes[0].persistent_volume_claim
    assert volume is not None and volume.claim_name == "data-web-7"
    assert [each.name for each in made.spec.volumes] == ["data", "tmp"]
    kept = one.spec.persistent_volume_claim_retention_policy = apps.StatefulSetPersistentVolumeClaimRetentionPolicy(
        when_deleted="Delete", when_scaled="Retain"
    )
    [found] = naming.claims(one, "web-7")
    assert (found.metadata.name, found.metadata.labels) == ("data-web-7", {"app": "web"})
    assert [owner.kind for owner in found.metadata.owner_references] == ["StatefulSet"]
    kept.when_scaled = "Delete"
    assert [owner.name for owner in naming.claim_owners(one, made)] == ["web-7"]
    kept.when_deleted = kept.when_scaled = "Retain"
    assert naming.claim_owners(one, made) == []


@pytest.mark.parametrize(
    ("name", "wanted"), [("web-0", 0), ("web-12", 12), ("web-01", -1), ("web", -1), ("other-1", -1), ("web-a-1", -1)]
)
def test_ordinals(name: str, wanted: int) -> None:
    assert naming.ordinal_of(statefulset(), core.Pod(metadata=meta.ObjectMeta(name=name))) == wanted


@settings(max_examples=60)
@given(
    st.integers(0, 6), st.integers(0, 6), st.booleans(), st.integers(1, 3), st.integers(0, 4), st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from(["ready", "unready", "going"]), st.booleans()), max_size=7), st.integers(),
)  # fmt: skip
def test_from_anywhere_it_gets_there_within_its_bounds(
    replicas: int, began: int, parallel: bool, most: int, partition: int, start: int,
    there: list[tuple[str, bool]], seed: int,
) -> None:  # fmt: skip
    """Steps of the controller and moves of nodes until nothing happens: never more than `most` are taken away."""
    chance = random.Random(seed)
    one = statefulset(replicas, parallel=parallel, unavailable=most, partition=partition, start=start)
    pods = {
        began + number: pod(began + number, state, "web-new" if new else "web-old")
        for number, (state, new) in enumerate(there)
    }
    for _ in range(200):
        here = world(one, *pods.values())
        found = decide.decide(here)
        slots = here.slots()
        up = [number for number, each in slots.items() if here.is_available(each)]
        taken = {naming.ordinal_of(one, each) for each in found.renew}
        if taken.intersection(up):
            assert replicas - len(up) + len(taken.intersection(up)) <= most
        assert all(number >= start + partition for number in taken)
        assert sorted(taken, reverse=True) == [naming.ordinal_of(one, each) for each in found.renew]
        if not parallel:
            assert len(found.create) + len(found.recreate) + len(found.condemned) <= 1
            for number, _ in found.create:
                assert all(other in up for other in range(start, number))
            if found.condemned:
                assert naming.ordinal_of(one, found.condemned[0]) == max(
                    number for number in pods if number not in here.ordinals
                )
        for number, revision in found.create:
            assert number not in pods
            pods[number] = pod(number, "unready", revision.metadata.name)
        for each in (*found.recreate, *found.condemned, *found.renew):
            number = naming.ordinal_of(one, each)
            pods[number] = pod(number, "going", naming.revision_of(each))
        for number, each in list(pods.items()):
            if chance.random() < 0.5:
                continue
            if each.metadata.deletion_timestamp:
                del pods[number]
            elif not here.is_available(each):
                pods[number] = pod(number, "ready", naming.revision_of(each))
        wanted = range(start, start + replicas)
        renewed = [naming.revision_of(pods[one]) == "web-new" for one in wanted[partition:] if one in pods]
        if sorted(pods) == list(wanted) and all(renewed) and all(here.is_available(one) for one in pods.values()):
            return
    raise AssertionError(f"it never got there: {sorted(pods)}")
