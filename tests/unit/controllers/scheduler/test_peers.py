"""What other pods have to do with it: pod affinity, anti-affinity, topology spread."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.controllers.scheduler.build import (
    books,
    far,
    near,
    node,
    node_term,
    on_nodes,
    pod,
    selector,
    spread,
    term,
)

from skerry.api.types import core, meta
from skerry.controllers.scheduler import peers
from skerry.controllers.scheduler.asks import ask
from skerry.controllers.scheduler.books import Books

WEB = {"app": "web"}
ZONE = "zone"


def zones(*names: str, **more: Any) -> list[core.Node]:
    """Nodes n1, n2 ... in these zones; "" for a node without that label."""
    return [node(f"n{i}", labels={ZONE: zone} if zone else {}, **more) for i, zone in enumerate(names, 1)]


def answers(one: core.Pod, here: Books) -> dict[str, str]:
    """Node by node: what other pods have against it, "" for nothing."""
    sight = peers.look(ask(one), here)
    found = {place.name: peers.refusal(ask(one), place, sight) for place in here.nodes()}
    return {name: each.reasons[0] if each else "" for name, each in found.items()}


def test_affinity_wants_to_be_near() -> None:
    here = books(zones("a", "a", "b", ""), {"n1": [pod("x", labels=WEB)]})
    wish = near(term(ZONE))
    assert answers(pod(affinity=wish), here) == {"n1": "", "n2": "", "n3": peers.AFFINITY, "n4": peers.AFFINITY}


def test_the_first_of_its_kind_may_go_anywhere_that_has_the_label() -> None:
    here = books(zones("a", ""), {"n1": [pod("x")]})
    wish = near(term(ZONE))
    assert answers(pod(labels=WEB, affinity=wish), here) == {"n1": "", "n2": peers.AFFINITY}
    assert answers(pod(affinity=wish), here) == {"n1": peers.AFFINITY, "n2": peers.AFFINITY}


def test_one_pod_has_to_match_all_terms() -> None:
    both = near(term(ZONE), term(label_selector=selector(tier="front")))
    here = books(zones("a", "b"), {"n1": [pod("x", labels=WEB)], "n2": [pod("y", labels={**WEB, "tier": "front"})]})
    assert answers(pod(affinity=both), here) == {"n1": peers.AFFINITY, "n2": ""}


def test_anti_affinity_wants_to_be_far() -> None:
    here = books(zones("a", "a", "b", ""), {"n1": [pod("x", labels=WEB)]})
    assert answers(pod(affinity=far(term(ZONE))), here) == {"n1": peers.ANTI, "n2": peers.ANTI, "n3": "", "n4": ""}


def test_anti_affinity_of_pods_that_are_there_counts_too() -> None:
    here = books(zones("a", "a", "b"), {"n1": [pod("x", affinity=far(term(ZONE)))]})
    assert answers(pod(labels=WEB), here) == {"n1": peers.EXISTING, "n2": peers.EXISTING, "n3": ""}
    assert set(answers(pod(labels={"app": "db"}), here).values()) == {""}
    here.uncount("default/x")
    assert set(answers(pod(labels=WEB), here).values()) == {""}


TEAM = selector(team="blue")


@pytest.mark.parametrize(
    ("more", "meant"),
    [
        ({}, {"default"}),
        ({"namespaces": ["blue"]}, {"blue"}),
        ({"namespace_selector": TEAM}, {"blue", "sky"}),
        ({"namespaces": ["default"], "namespace_selector": TEAM}, {"default", "blue", "sky"}),
        ({"namespace_selector": meta.LabelSelector()}, {"default", "blue", "sky", "red"}),
        ({"label_selector": None}, set()),
        ({"label_selector": meta.LabelSelector()}, {"default"}),
    ],
)
def test_whose_pods_a_term_means(more: dict[str, Any], meant: set[str]) -> None:
    labels = {"default": {}, "blue": {"team": "blue"}, "sky": {"team": "blue"}, "red": {"team": "red"}}
    for name in labels:
        here = books(zones("a"), {"n1": [pod("x", namespace=name, labels=WEB)]}, **labels)
        found = answers(pod(affinity=far(term(ZONE, **more))), here)["n1"]
        assert (found == peers.ANTI) == (name in meant), name


def test_label_keys_of_the_pod_itself() -> None:
    """matchLabelKeys: only pods of the same revision; mismatchLabelKeys: only those of another."""
    here = books(zones("a"), {"n1": [pod("x", labels={**WEB, "rev": "1"})]})
    for rev, same, other in (("1", peers.ANTI, ""), ("2", "", peers.ANTI)):
        one = pod(labels={**WEB, "rev": rev}, affinity=far(term(ZONE, match_label_keys=["rev"])))
        assert answers(one, here)["n1"] == same
        one = pod(labels={**WEB, "rev": rev}, affinity=far(term(ZONE, mismatch_label_keys=["rev"])))
        assert answers(one, here)["n1"] == other


@pytest.mark.parametrize(
    ("constraint", "counts", "refused"),
    [
        (spread(1), [1, 0, 0], ["n1"]),
        (spread(1), [1, 1, 0], ["n1", "n2"]),
        (spread(1), [1, 1, 1], []),
        (spread(2), [1, 0, 0], []),
        (spread(1, min_domains=4), [1, 1, 1], ["n1", "n2", "n3"]),  # too few domains: the least counts as 0
        (spread(1, when_unsatisfiable="ScheduleAnyway"), [5, 0, 0], []),
        (spread(1, label_selector=selector(app="db")), [5, 0, 0], []),
    ],
)
def test_spread(constraint: core.TopologySpreadConstraint, counts: list[int], refused: list[str]) -> None:
    on = {f"n{i}": [pod(f"x{i}{n}", labels=WEB) for n in range(count)] for i, count in enumerate(counts, 1)}
    here = books(zones("a", "a", "b"), on)
    found = answers(pod(labels=WEB, topology_spread_constraints=[constraint]), here)
    assert [name for name, why in found.items() if why == peers.SPREAD] == refused


def test_spread_over_zones() -> None:
    here = books(zones("a", "a", "b", ""), {"n1": [pod("x", labels=WEB)]})
    one = pod(labels=WEB, topology_spread_constraints=[spread(1, ZONE)])
    assert answers(one, here) == {"n1": peers.SPREAD, "n2": peers.SPREAD, "n3": "", "n4": peers.NO_LABEL}
    # Pods that are going, and those of other namespaces, do not count.
    for other in (pod("y", labels=WEB, going=True), pod("y", labels=WEB, namespace="else")):
        assert answers(one, books(zones("a", "b"), {"n1": [other]})) == {"n1": "", "n2": ""}
    # A pod that the selector does not mean adds nothing where it goes.
    other = pod(topology_spread_constraints=[spread(1, ZONE)])
    assert answers(other, here)["n1"] == ""


def test_which_nodes_count_for_spread() -> None:
    """Nodes that the pod cannot use anyway do not hold the least at 0; tainted ones do, unless told otherwise."""
    taint = core.Taint(key="k", effect="NoSchedule")
    here = books([node("n1", labels={ZONE: "a"}), node("n2", labels={ZONE: "b"}, taints=[taint])])
    here.count(ask(pod("x", labels=WEB)), "n1")
    only_a = on_nodes(node_term((ZONE, "In", ["a"])))

    def first(**more: Any) -> str:
        affinity = more.pop("affinity", None)
        return answers(pod(labels=WEB, affinity=affinity, topology_spread_constraints=[spread(1, ZONE, **more)]), here)[
            "n1"
        ]

    assert first() == peers.SPREAD
    assert first(node_taints_policy="Honor") == ""
    assert first(affinity=only_a) == ""
    assert first(affinity=only_a, node_affinity_policy="Ignore") == peers.SPREAD


def test_match_label_keys_of_spread() -> None:
    here = books(zones("a", "b"), {"n1": [pod("x", labels={**WEB, "rev": "1"})]})
    for rev, why in (("1", peers.SPREAD), ("2", "")):
        one = pod(labels={**WEB, "rev": rev}, topology_spread_constraints=[spread(1, match_label_keys=["rev"])])
        assert answers(one, here)["n1"] == why


@pytest.mark.parametrize(
    ("one", "other", "about"),
    [
        (pod(affinity=near(term())), pod("x", labels=WEB), True),
        (pod(affinity=near(term())), pod("x"), False),
        (pod(labels=WEB), pod("x", affinity=far(term())), True),
        (pod(labels=WEB), pod("x", affinity=near(term())), False),
        (pod(topology_spread_constraints=[spread()]), pod("x", labels=WEB), True),
        (pod(topology_spread_constraints=[spread()]), pod("x", labels=WEB, namespace="else"), False),
    ],
)
def test_whom_a_refused_pod_waits_for(one: core.Pod, other: core.Pod, about: bool) -> None:
    assert peers.concerns(ask(one), ask(other), {}) == about
