"""What of a node itself keeps a pod from it, and what is counted on it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.controllers.scheduler.build import ROOM, books, node, node_term, on_nodes, pod

from skerry.api.types import core
from skerry.controllers.scheduler import nodes
from skerry.controllers.scheduler.asks import ask
from skerry.controllers.scheduler.choose import choose

TAINT = core.Taint(key="gpu", value="yes", effect="NoSchedule")
GONE = core.Taint(key="gpu", value="yes", effect="NoExecute")
AVOID = core.Taint(key="gpu", value="yes", effect="PreferNoSchedule")


def tolerant(**more: Any) -> core.Pod:
    return pod(tolerations=[core.Toleration(**more)])


@pytest.mark.parametrize(
    ("one", "where", "taken", "reasons"),
    [
        (pod(), node(), [], []),
        (pod(), node(unschedulable=True), [], [nodes.UNSCHEDULABLE]),
        (tolerant(key="node.kubernetes.io/unschedulable", operator="Exists"), node(unschedulable=True), [], []),
        (pod(), node(ready=False), [], [nodes.TAINTS]),
        (pod(), node(taints=[TAINT]), [], [nodes.TAINTS]),
        (pod(), node(taints=[GONE]), [], [nodes.TAINTS]),
        (pod(), node(taints=[AVOID]), [], []),
        (tolerant(key="gpu", value="yes"), node(taints=[TAINT]), [], []),
        (tolerant(key="gpu", operator="Equal", value="no"), node(taints=[TAINT]), [], [nodes.TAINTS]),
        (tolerant(key="gpu", operator="Exists"), node(taints=[TAINT, GONE]), [], []),
        (tolerant(key="cpu", operator="Exists"), node(taints=[TAINT]), [], [nodes.TAINTS]),
        (tolerant(operator="Exists"), node(taints=[TAINT], ready=False), [], []),
        (tolerant(key="gpu", value="yes", effect="NoExecute"), node(taints=[TAINT]), [], [nodes.TAINTS]),
        (pod(node_selector={"disk": "ssd"}), node(), [], [nodes.AFFINITY]),
        (pod(node_selector={"disk": "ssd"}), node(labels={"disk": "ssd"}), [], []),
        (pod(requests={"cpu": "1500m"}), node(), [pod("x", {"cpu": "500m"})], []),
        (pod(requests={"cpu": "1501m"}), node(), [pod("x", {"cpu": "500m"})], ["Insufficient cpu"]),
        (pod(requests={"cpu": "3", "memory": "5Gi"}), node(), [], ["Insufficient cpu", "Insufficient memory"]),
        (pod(requests={"example.com/gpu": "1"}), node(), [], ["Insufficient example.com/gpu"]),
        (pod(requests={"ephemeral-storage": "2Gi"}), node(room={**ROOM, "ephemeral-storage": "1Gi"}), [],
         ["Insufficient ephemeral-storage"]),
        (pod(overhead={"cpu": "1"}, requests={"cpu": "1500m"}), node(), [], ["Insufficient cpu"]),
        (pod(), node(room={**ROOM, "pods": "1"}), [pod("x")], [nodes.TOO_MANY]),
        (pod(host_ports=[8080]), node(), [pod("x", host_ports=[8080])], [nodes.PORTS]),
        (pod(host_ports=[8081]), node(), [pod("x", host_ports=[8080])], []),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_a_node(
    one: core.Pod, where: core.Node, taken: list[core.Pod], reasons: list[str]
) -> None:
    found = nodes.refusal(ask(one), books([where], {"n1": taken}).places["n1"])
    assert list(found.reasons if found else ()) == reasons


@pytest.mark.parametrize(
    ("terms", "labels", "fits"),
    [
        ([node_term(("z", "In", ["a", "b"]))], {"z": "b"}, True),
        ([node_term(("z", "In", ["a", "b"]))], {"z": "c"}, False),
        ([node_term(("z", "In", ["a"]))], {}, False),
        ([node_term(("z", "NotIn", ["a"]), ("n", "Gt", ["3"]))], {"n": "4"}, True),
        ([node_term(("z", "NotIn", ["a"]))], {"z": "a"}, False),
        ([node_term(("n", "Gt", ["3"]))], {"n": "3"}, False),
        ([node_term(("n", "Lt", ["3"]))], {"n": "2"}, True),
        ([node_term(("n", "Lt", ["3"]))], {"n": "x"}, False),
        ([node_term(("z", "Exists", []), ("y", "DoesNotExist", []))], {"z": ""}, True),
        ([node_term(("y", "DoesNotExist", []))], {"y": ""}, False),
        ([node_term(("z", "In", ["a"])), node_term(("z", "In", ["b"]))], {"z": "b"}, True),  # terms are alternatives
        ([core.NodeSelectorTerm()], {}, False),  # a term without requirements selects nothing
        ([node_term(("metadata.name", "NotIn", ["n1"]), fields=True)], {}, False),
        ([node_term(("metadata.name", "In", ["n1"]), fields=True)], {}, True),
    ],
)
def test_required_node_affinity(terms: list[core.NodeSelectorTerm], labels: dict[str, str], fits: bool) -> None:
    one = ask(pod(affinity=on_nodes(*terms)))
    found = nodes.refusal(one, books([node(labels=labels)]).places["n1"])
    assert found == (None if fits else nodes.Refusal((nodes.AFFINITY,)))


def test_affinity_that_names_nodes() -> None:
    """As for pods of a DaemonSet: the other nodes are not even looked at, and say so in words of their own."""
    terms = [node_term(("metadata.name", "In", [name]), fields=True) for name in ("n2", "n9")]
    here = books([node("n1"), node("n2"), node("n3", unschedulable=True)])
    assert choose(ask(pod(affinity=on_nodes(*terms))), here).node == "n2"
    here.put_node(node("n2", unschedulable=True))
    assert choose(ask(pod(affinity=on_nodes(*terms))), here).message == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    both = core.NodeSelectorTerm(match_fields=[terms[0].match_fields[0], terms[1].match_fields[0]])
    assert choose(ask(pod(affinity=on_nodes(both))), here).message == (
        "0/3 nodes are available: pod affinity terms conflict. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(
    ("taken", "wanted", "clash"),
    [
        (("TCP", 80, "0.0.0.0"), ("TCP", 80, "0.0.0.0"), True),
        (("TCP", 80, "127.0.0.1"), ("TCP", 80, "0.0.0.0"), True),
        (("TCP", 80, "0.0.0.0"), ("TCP", 80, "127.0.0.1"), True),
        (("TCP", 80, "127.0.0.2"), ("TCP", 80, "127.0.0.1"), False),
        (("UDP", 80, "0.0.0.0"), ("TCP", 80, "0.0.0.0"), False),
    ],
)
def test_ports_of_the_node(taken: tuple[str, int, str], wanted: tuple[str, int, str], clash: bool) -> None:
    def having(name: str, port: tuple[str, int, str]) -> core.Pod:
        made = pod(name, host_ports=[port[1]])
        made.spec.containers[0].ports[0].protocol = port[0]
        made.spec.containers[0].ports[0].host_ip = port[2]
        return made

    place = books([node()], {"n1": [having("x", taken)]}).places["n1"]
    assert (nodes.refusal(ask(having("a", wanted)), place) is not None) == clash


def test_what_a_pod_asks_for() -> None:
    """CPU in thousandths, all else in whole numbers; init containers count by the most that runs at once."""
    one = pod(requests={"cpu": "100m", "memory": "1Gi"}, overhead={"cpu": "10m"})
    quick = core.ResourceRequirements(requests={"cpu": "300m"})
    side = core.ResourceRequirements(requests={"cpu": "50m"})
    one.spec.init_containers = [
        core.Container(name="i", resources=quick),
        core.Container(name="s", restart_policy="Always", resources=side),
    ]
    assert ask(one).amounts == {"cpu": 310, "memory": 2**30}
    one.spec.containers[0].resources.requests["cpu"] = "400m"
    assert ask(one).amounts["cpu"] == 460
    assert ask(pod()).likely == {"cpu": 100, "memory": 200 * 2**20}


def test_what_is_counted_can_be_taken_back() -> None:
    here = books([node()], {"n1": [pod("a", {"cpu": "1"}, host_ports=[1]), pod("b", {"cpu": "500m"}, owner="rs")]})
    here.count(ask(pod("a", {"cpu": "250m"})), "n1")
    place = here.places["n1"]
    assert place.taken["cpu"] == 750
    here.count(ask(pod("a", {"cpu": "250m"})), "n2")  # of a node that is not known yet
    assert (place.taken["cpu"], here.places["n2"].taken["cpu"], len(here.nodes())) == (500, 250, 1)
    for key in ("default/a", "default/b", "default/never"):
        here.uncount(key)
    assert (place.taken["cpu"], place.pods, place.owners, place.ports) == (0, {}, {}, {})
    assert "n2" not in here.places
    here.drop_node("n1")
    assert (here.places, list(here.everyone()), list(here.social())) == ({}, [], [])
