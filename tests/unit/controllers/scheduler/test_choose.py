"""Which node a pod gets, what is said when there is none, and who makes room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.controllers.scheduler.build import (
    ROOM,
    books,
    far,
    near,
    node,
    node_term,
    pod,
    selector,
    spread,
    term,
    weighted,
)

from skerry.api import labels
from skerry.api.types import core, meta, policy
from skerry.controllers.scheduler.asks import ask
from skerry.controllers.scheduler.books import Books
from skerry.controllers.scheduler.choose import choose

WEB = {"app": "web"}


def where(one: core.Pod, here: Books, kin: labels.Selector = labels.EVERYTHING) -> str:
    return choose(ask(one), here, kin).node


def test_the_sentence() -> None:
    """As `kubectl describe pod` shows it: reasons in the order of their text, then what preemption could do."""
    assert choose(ask(pod()), Books()).message == "no nodes available to schedule pods"
    taint = core.Taint(key="a", effect="NoSchedule")
    here = books([node("n1", taints=[taint]), node("n2"), node("n3")], {"n2": [pod("x", {"cpu": "1"})]})
    here.count(ask(pod("y", {"cpu": "1"})), "n3")
    assert choose(ask(pod(requests={"cpu": "1500m"})), here).message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )
    # More than a whole node has: no matter who goes, it does not fit.
    assert choose(ask(pod(requests={"cpu": "9", "memory": "5Gi"})), here).message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    assert choose(ask(pod(requests={"cpu": "9"}, preemption_policy="Never")), here).message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
        "preemption: not eligible due to preemptionPolicy=Never."
    )


def test_what_would_help_a_refused_pod() -> None:
    here = books([node("n1", unschedulable=True)])
    found = choose(ask(pod()), here)
    assert (found.local, found.peers) == (True, False)
    found = choose(ask(pod(affinity=near(term()))), books([node("n1")]))
    assert (found.local, found.peers) == (False, True)


def test_pods_go_where_most_is_free() -> None:
    here = books([node("n1"), node("n2"), node("n3")], {"n1": [pod("x")], "n2": [pod("y"), pod("z")]})
    assert where(pod(), here) == "n3"
    here = books([node("n1"), node("n2")], {"n1": [pod("x", {"cpu": "1"})], "n2": [pod("y"), pod("z")]})
    assert where(pod(requests={"cpu": "100m"}), here) == "n2"
    # A large node is freer than a small one with the same pods.
    assert where(pod(), books([node("n1"), node("n2", room={**ROOM, "cpu": "8", "memory": "16Gi"})])) == "n2"


def test_pods_of_one_controller_are_spread() -> None:
    here = books([node("n1"), node("n2")], {"n1": [pod("x", owner="rs")], "n2": [pod("y"), pod("z")]})
    assert where(pod(owner="rs"), here) == "n2"
    # So are those of one Service; zones count as well as nodes.
    here = books(
        [node(f"n{i}", labels={"topology.kubernetes.io/zone": zone}) for i, zone in enumerate("aab", 1)],
        {"n1": [pod("x", labels=WEB)], "n3": [pod("y"), pod("z")]},
    )
    assert where(pod(labels=WEB), here, labels.from_map(WEB)) == "n3"
    assert where(pod(labels=WEB), here) == "n2"


def preferring(*terms: tuple[int, core.NodeSelectorTerm]) -> core.Affinity:
    wishes = [core.PreferredSchedulingTerm(weight=weight, preference=one) for weight, one in terms]
    return core.Affinity(node_affinity=core.NodeAffinity(preferred_during_scheduling_ignored_during_execution=wishes))


AVOID = core.Taint(key="a", effect="PreferNoSchedule")


@pytest.mark.parametrize(
    ("one", "nodes", "on", "expected"),
    [
        (pod(), [node("n1", taints=[AVOID]), node("n2")], {"n2": [pod("x")]}, "n2"),
        (pod(tolerations=[core.Toleration(key="a", operator="Exists")]),
         [node("n1", taints=[AVOID]), node("n2")], {"n2": [pod("x")]}, "n1"),
        (pod(affinity=preferring((1, node_term(("disk", "In", ["ssd"]))))),
         [node("n1"), node("n2", labels={"disk": "ssd"})], {"n2": [pod("x")]}, "n2"),
        (pod(affinity=preferring((1, node_term(("a", "Exists", []))), (5, node_term(("b", "Exists", []))))),
         [node("n1", labels={"a": ""}), node("n2", labels={"b": ""})], {}, "n2"),
        (pod(affinity=core.Affinity(pod_affinity=core.PodAffinity(
            preferred_during_scheduling_ignored_during_execution=weighted(term())))),
         [node("n1"), node("n2")], {"n2": [pod("x", labels=WEB)]}, "n2"),
        (pod(affinity=core.Affinity(pod_anti_affinity=core.PodAntiAffinity(
            preferred_during_scheduling_ignored_during_execution=weighted(term())))),
         [node("n1"), node("n2")], {"n1": [pod("x", labels=WEB)], "n2": [pod("y"), pod("z")]}, "n2"),
        # Liking is mutual: a pod that is there and wants web near it draws web.
        (pod(labels=WEB), [node("n1"), node("n2")], {"n2": [pod("x", affinity=near(term()))]}, "n2"),
        (pod(labels=WEB, topology_spread_constraints=[spread(when_unsatisfiable="ScheduleAnyway")]),
         [node("n1"), node("n2")], {"n1": [pod("x", labels=WEB)], "n2": [pod("y"), pod("z")]}, "n2"),
    ],
)  # fmt: skip
def test_what_is_preferred(one: core.Pod, nodes: list[core.Node], on: dict[str, list[core.Pod]], expected: str) -> None:
    assert where(one, books(nodes, on)) == expected


# Preemption.


def full(*priorities: int, cpu: str = "1", **more: Any) -> Books:
    """One node of two CPUs with pods p0, p1 ... of these priorities."""
    pods = [pod(f"p{i}", {"cpu": cpu}, priority=each, **more) for i, each in enumerate(priorities)]
    return books([node("n1")], {"n1": pods})


def victims(one: core.Pod, here: Books) -> list[str]:
    before = {key: place.taken.copy() for key, place in here.places.items()}
    found = choose(ask(one), here)
    assert {key: place.taken for key, place in here.places.items()} == before, "the books stay as they were"
    assert not found.node
    return [each.uid for each in found.victims]


def test_the_least_important_make_room() -> None:
    here = full(0, 5)
    assert victims(pod(requests={"cpu": "1"}, priority=10), here) == ["p0"]
    assert victims(pod(requests={"cpu": "2"}, priority=10), here) == ["p1", "p0"]
    assert victims(pod(requests={"cpu": "1"}, priority=5), here) == ["p0"]
    assert victims(pod(requests={"cpu": "1"}), here) == []
    found = choose(ask(pod(requests={"cpu": "1"}, priority=10)), here)
    assert (found.message, found.nominated) == ("0/1 nodes are available: 1 Insufficient cpu.", "n1")
    found = choose(ask(pod(requests={"cpu": "2"}, priority=3)), here)  # p1 is more important
    assert found.message == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Insufficient cpu."
    )


def test_the_node_that_loses_least() -> None:
    here = full(5, 5)
    here.put_node(node("n2"))
    here.count(ask(pod("q", {"cpu": "2"}, priority=1)), "n2")
    assert victims(pod(requests={"cpu": "1"}, priority=10), here) == ["q"]


def budget(name: str, allowed: int, selects: meta.LabelSelector | None, **status: Any) -> policy.PodDisruptionBudget:
    return policy.PodDisruptionBudget(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=policy.PodDisruptionBudgetSpec(selector=selects),
        status=policy.PodDisruptionBudgetStatus(disruptions_allowed=allowed, **status),
    )


def test_budgets_are_broken_last() -> None:
    """On a node a pod whose budget allows no more disruptions stays, even if it is the less important one."""
    here = books([node("n1")], {"n1": [pod("kept", {"cpu": "1"}, labels=WEB), pod("p", {"cpu": "1"}, priority=5)]})
    want = pod(requests={"cpu": "1"}, priority=10)
    assert victims(want, here) == ["kept"]
    here.budgets["default/web"] = budget("web", 0, selector(**WEB))
    assert victims(want, here) == ["p"]
    assert victims(pod(requests={"cpu": "2"}, priority=10), here) == ["p", "kept"], "it is a wish, no law"
    for harmless in (
        budget("web", 1, selector(**WEB)),
        budget("web", 0, meta.LabelSelector()),
        budget("web", 0, None),
        budget("web", 0, selector(app="other")),
        budget("web", 0, selector(**WEB), disrupted_pods={"kept": "2026-01-01T00:00:00Z"}),
    ):
        here.budgets["default/web"] = harmless
        assert victims(want, here) == ["kept"]


def test_a_budget_counts_for_all_its_pods() -> None:
    """One may go of two: the node where one is enough loses least, before priorities are compared."""
    one, two = ({"cpu": "1", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"})
    on = {"n1": [pod("a", one, labels=WEB), pod("b", one, labels=WEB)], "n2": [pod("c", two, priority=5)]}
    here = books([node("n1"), node("n2")], on)
    want = pod(requests={"cpu": "2"}, priority=10)
    assert victims(want, here) == ["a", "b"]
    here.budgets["default/web"] = budget("web", 1, selector(**WEB))
    assert victims(want, here) == ["c"]


def test_anti_affinity_and_ports_can_make_room_too() -> None:
    here = books([node("n1")], {"n1": [pod("x", labels=WEB, host_ports=[80]), pod("y")]})
    assert victims(pod(affinity=far(term()), priority=1), here) == ["x"]
    assert victims(pod(host_ports=[80], priority=1), here) == ["x"]


def test_room_that_was_made_is_kept() -> None:
    """While the victims take their time, nobody less important gets their place."""
    here = full(0)
    here.nominated["n1"] = {"default/vip": ask(pod("vip", {"cpu": "1"}, priority=10))}
    assert choose(ask(pod(requests={"cpu": "1"})), here).node == ""
    assert choose(ask(pod(requests={"cpu": "1"}, priority=11)), here).node == "n1"
    assert choose(ask(pod("vip", {"cpu": "1"}, priority=10)), here).node == "n1"
    going = full(0, 0, going=True)
    vip = pod("vip", {"cpu": "1"}, priority=10)
    vip.status.nominated_node_name = "n1"
    assert choose(ask(vip), going).message == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: not eligible due to a terminating pod on the nominated node."
    )


@given(st.lists(st.sampled_from(["100m", "500m", "900m", "2"]), max_size=25), st.integers(1, 4))
def test_nothing_is_promised_twice(sizes: list[str], count: int) -> None:
    """Whatever is asked for in whatever order: no node gives more than it has, and who waits fits nowhere."""
    here = books([node(f"n{i}") for i in range(count)])
    waiting = []
    for i, size in enumerate(sizes):
        one = ask(pod(f"p{i}", {"cpu": size}))
        found = choose(one, here)
        if found.node:
            here.count(one, found.node)
        else:
            waiting.append(one)
    for place in here.nodes():
        assert place.taken["cpu"] <= 2000 and len(place.pods) <= 10
        assert not [one for one in waiting if place.taken["cpu"] + one.amounts["cpu"] <= 2000 and len(place.pods) < 10]
