"""On which nodes a DaemonSet has pods, and how they are renewed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.types import apps, core, meta
from skerry.clock import parse_rfc3339
from skerry.controllers.daemonset import decide
from skerry.controllers.daemonset import pods as placing
from skerry.controllers.revisions import HASH_LABEL

NOW = parse_rfc3339("2026-01-01T01:00:00Z")


def daemonset(unavailable: int | str = 1, surge: int | str = 0, **spec: Any) -> apps.DaemonSet:
    rolling = apps.RollingUpdateDaemonSet(max_unavailable=unavailable, max_surge=surge)
    return apps.DaemonSet(
        metadata=meta.ObjectMeta(name="agent", namespace="default", uid="d"),
        spec=apps.DaemonSetSpec(
            update_strategy=apps.DaemonSetUpdateStrategy(type=spec.pop("strategy", "RollingUpdate"),
                                                         rolling_update=rolling),
            min_ready_seconds=spec.pop("min_ready_seconds", 0),
            template=core.PodTemplateSpec(spec=core.PodSpec(**spec)),
        ),
    )  # fmt: skip


def node(name: str, *taints: tuple[str, str], **labels: str) -> core.Node:
    return core.Node(
        metadata=meta.ObjectMeta(name=name, labels=labels),
        spec=core.NodeSpec(taints=[core.Taint(key=key, effect=effect) for key, effect in taints]),
    )


def pod(name: str, on: str, state: str = "ready", version: str = "new", born: int = 0) -> core.Pod:
    condition = core.PodCondition(
        type="Ready", status="True" if state in ("ready", "going") else "False",
        last_transition_time="2026-01-01T00:59:50Z",
    )  # fmt: skip
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace="default",
            uid=name,
            labels={HASH_LABEL: version},
            creation_timestamp=f"2026-01-01T00:00:{born:02}Z",
            deletion_timestamp="2026-01-01T01:00:00Z" if state == "going" else None,
        ),
        spec=core.PodSpec(node_name=on),
        status=core.PodStatus(
            phase={"failed": "Failed", "ended": "Succeeded"}.get(state, "Running"), conditions=[condition]
        ),
    )


def world(one: apps.DaemonSet, nodes: list[core.Node], pods: list[core.Pod]) -> decide.World:
    return decide.World(one, pods, nodes, "new", NOW)


def step(one: apps.DaemonSet, nodes: list[core.Node], *pods: core.Pod) -> tuple[list[str], list[str]]:
    """(nodes that get a pod, pods that are deleted)."""
    found = decide.decide(world(one, nodes, list(pods)))
    return found.create, [each.metadata.name for each in found.delete]


A, B, C = node("a"), node("b"), node("c")


@pytest.mark.parametrize(
    ("spec", "one", "wanted"),
    [
        ({}, node("a"), (True, True)),
        ({"node_name": "b"}, node("a"), (False, False)),
        ({"node_selector": {"disk": "ssd"}}, node("a"), (False, False)),
        ({"node_selector": {"disk": "ssd"}}, node("a", disk="ssd"), (True, True)),
        ({}, node("a", ("gpu", "NoSchedule")), (False, True)),
        ({}, node("a", ("gpu", "NoExecute")), (False, False)),
        ({}, node("a", ("gpu", "PreferNoSchedule")), (True, True)),
        ({"tolerations": [core.Toleration(operator="Exists")]}, node("a", ("gpu", "NoExecute")), (True, True)),
        ({}, node("a", ("node.kubernetes.io/unschedulable", "NoSchedule")), (True, True)),
        ({}, node("a", ("node.kubernetes.io/not-ready", "NoExecute")), (True, True)),
        ({}, node("a", ("node.kubernetes.io/not-ready", "NoSchedule")), (False, True)),
        ({}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), (False, True)),
        ({"host_network": True}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), (True, True)),
    ],
)  # fmt: skip
def test_where_it_belongs(spec: dict[str, Any], one: core.Node, wanted: tuple[bool, bool]) -> None:
    assert placing.belongs(daemonset(**spec), one) == wanted


def test_a_pod_is_tied_to_its_node() -> None:
    made = placing.new_pod(daemonset(), "a", "new")
    assert placing.node_of(made) == "a" and made.metadata.labels == {HASH_LABEL: "new"}
    assert len(made.spec.tolerations) == 6
    zone = core.NodeSelectorRequirement(key="zone", operator="In", values=["z"])
    terms = [core.NodeSelectorTerm(match_expressions=[zone]), core.NodeSelectorTerm()]
    required = core.NodeSelector(node_selector_terms=terms)
    affinity = core.NodeAffinity(required_during_scheduling_ignored_during_execution=required)
    made = placing.new_pod(daemonset(affinity=core.Affinity(node_affinity=affinity)), "a", "new")
    known = made.spec.affinity and made.spec.affinity.node_affinity
    selector = known and known.required_during_scheduling_ignored_during_execution
    assert selector and [one.match_fields[0].values for one in selector.node_selector_terms] == [["a"], ["a"]]
    assert selector.node_selector_terms[0].match_expressions == [zone]


@pytest.mark.parametrize(
    ("pods", "wanted"),
    [
        ([], (["a", "b"], [])),
        ([pod("1", "a")], (["b"], [])),
        ([pod("1", "a"), pod("2", "b", "going")], ([], [])),
        ([pod("1", "a"), pod("2", "b", born=1), pod("3", "b", born=2)], ([], ["3"])),
        ([pod("1", "a"), pod("2", "b", "failed")], ([], ["2"])),
        ([pod("1", "a"), pod("2", "b", "ended")], ([], ["2"])),
        ([pod("1", "a"), pod("2", "b"), pod("3", "gone")], ([], [])),
        ([pod("1", "a", version="old"), pod("2", "b", version="old")], ([], ["1"])),
        ([pod("1", "a", version="old"), pod("2", "b", "unready")], ([], [])),
        ([pod("1", "a", version="old"), pod("2", "b", "unready", "old")], ([], ["2"])),
        # A failed pod that has to wait holds up no update.
        ([pod("1", "a", version="old"), pod("2", "b", "failed", "old")], ([], ["2"])),
    ],
)  # fmt: skip
def test_steps(pods: list[core.Pod], wanted: tuple[list[str], list[str]]) -> None:
    assert step(daemonset(), [A, B], *pods) == wanted


def test_pods_leave_nodes_that_refuse_them() -> None:
    refusing, tainted = node("a", ("x", "NoExecute")), node("b", ("x", "NoSchedule"))
    assert step(daemonset(), [refusing, tainted], pod("1", "a"), pod("2", "b")) == ([], ["1"])
    said, _ = decide.status(world(daemonset(), [refusing, tainted], [pod("2", "b")]))
    assert (said.desired_number_scheduled, said.number_misscheduled) == (0, 1)


def test_ondelete_waits_and_surge_doubles() -> None:
    old = [pod(name, name, version="old") for name in "abc"]
    assert step(daemonset(strategy="OnDelete"), [A, B, C], *old) == ([], [])
    more = daemonset(0, "50%")
    assert step(more, [A, B, C], *old) == (["a", "b"], [])
    assert step(more, [A, B, C], *old, pod("4", "a", "unready"), pod("5", "b")) == (["c"], ["b"])
    assert step(more, [A, B, C], pod("a", "a", "unready", "old"), *old[1:]) == (["a", "b", "c"], [])


def test_status() -> None:
    pods = [pod("1", "a"), pod("2", "b", "unready", "old")]
    said, wait = decide.status(world(daemonset(min_ready_seconds=15), [A, B, C], pods))
    assert (
        said.desired_number_scheduled, said.current_number_scheduled, said.number_ready, said.number_available,
        said.number_unavailable, said.updated_number_scheduled, wait,
    ) == (3, 2, 1, 0, 3, 1, 5.0)  # fmt: skip


def served(here: decide.World, without: list[core.Pod]) -> int:
    """Nodes with an available pod that is none of these."""
    gone = {one.metadata.name for one in without}
    return len({
        one.spec.node_name for one in here.pods
        if one.metadata.name not in gone and one.metadata.deletion_timestamp is None
        and one.status.phase == "Running" and here.is_available(one)
    })  # fmt: skip


@settings(max_examples=60)
@given(
    st.integers(1, 6), st.sampled_from([(1, 0), (2, 0), ("50%", 0), (0, 1), (0, 2), (0, "100%")]), st.integers(),
    st.lists(st.tuples(st.sampled_from(["ready", "unready", "going", "failed"]), st.booleans()), max_size=6),
)  # fmt: skip
def test_from_anywhere_every_node_gets_one_new_pod_within_bounds(
    count: int, bounds: tuple[int | str, int | str], seed: int, there: list[tuple[str, bool]]
) -> None:
    chance = random.Random(seed)
    one = daemonset(*bounds)
    nodes = [node(f"n{number}") for number in range(count)]
    names = (str(number) for number in range(10_000))
    pods = {
        name: pod(name, f"n{number % count}", state, "new" if new else "old")
        for number, (state, new) in enumerate(there)
        for name in [next(names)]
    }
    for _ in range(300):
        here = world(one, nodes, list(pods.values()))
        surge, unavailable = decide._surge(here)
        found = decide.decide(here)

        if not found.failed and decide.manage(here).delete == []:
            before, after = served(here, []), served(here, found.delete)
            assert after == before or count - after <= unavailable
            if surge and not decide.manage(here).create:
                doubled = [each for each in here.wanted if None not in here.pair(each)]
                useless = [
                    each for each in found.create
                    if (old := here.pair(each)[0]) is not None and not here.is_available(old)
                ]  # fmt: skip
                leaving = len(found.delete)
                assert len(doubled) - leaving + len(found.create) - len(useless) <= max(surge, len(doubled) - leaving)
        for name in found.create:
            made = next(names)
            pods[made] = pod(made, name, "unready")
        for each in found.delete:
            known = pods[each.metadata.name]
            pods[each.metadata.name] = pod(each.metadata.name, known.spec.node_name, "going",
                                           known.metadata.labels[HASH_LABEL])  # fmt: skip
        for name, each in list(pods.items()):
            if chance.random() < 0.5:
                continue
            if each.metadata.deletion_timestamp:
                del pods[name]
            elif each.status.phase == "Running" and not here.is_available(each):
                pods[name] = pod(name, each.spec.node_name, "ready", each.metadata.labels[HASH_LABEL])
        places = sorted(each.spec.node_name for each in pods.values())
        if places == sorted(one.metadata.name for one in nodes) and all(
            here.is_new(each) and each.metadata.deletion_timestamp is None and here.is_available(each)
            for each in pods.values()
        ):
            return
    raise AssertionError(f"it never got there: {places}")
