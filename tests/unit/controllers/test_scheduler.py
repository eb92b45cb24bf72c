"""Which node a pod gets, and what is said when there is none."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.types import core, meta
from skerry.controllers.scheduler import fit


def node(name: str = "n1", *, ready: bool = True, labels: dict[str, str] | None = None, **more: Any) -> core.Node:
    amounts = more.pop("amounts", {"cpu": "2", "memory": "4Gi", "pods": "3"})
    return core.Node(
        metadata=meta.ObjectMeta(name=name, labels=labels or {}),
        spec=core.NodeSpec(**more),
        status=core.NodeStatus(
            allocatable=amounts,
            conditions=[core.NodeCondition(type="Ready", status="True" if ready else "False")],
        ),
    )


def pod(name: str = "a", requests: dict[str, str] | None = None, owner: str = "", **spec: Any) -> core.Pod:
    ports = [core.ContainerPort(container_port=80, host_port=one) for one in spec.pop("host_ports", [])]
    container = core.Container(name="c", ports=ports, resources=core.ResourceRequirements(requests=requests or {}))
    owners = [meta.OwnerReference(uid=owner, controller=True)] if owner else []
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", owner_references=owners),
        spec=core.PodSpec(containers=[container], **spec),
    )


def use(*pods: core.Pod) -> fit.Use:
    made = fit.Use()
    for one in pods:
        made.add(one.metadata.name, one)
    return made


def affinity(*requirements: tuple[str, str, list[str]]) -> core.Affinity:
    term = core.NodeSelectorTerm(
        match_expressions=[core.NodeSelectorRequirement(key=k, operator=o, values=v) for k, o, v in requirements]
    )
    required = core.NodeSelector(node_selector_terms=[term])
    return core.Affinity(node_affinity=core.NodeAffinity(required_during_scheduling_ignored_during_execution=required))


TAINT = core.Taint(key="gpu", value="yes", effect="NoSchedule")


@pytest.mark.parametrize(
    ("one", "where", "taken", "reasons"),
    [
        (pod(), node(), [], []),
        (pod(), node(unschedulable=True), [], ["node(s) were unschedulable"]),
        (pod(), node(ready=False), [], ["node(s) had untolerated taint {node.kubernetes.io/not-ready: }"]),
        (pod(), node(taints=[TAINT]), [], ["node(s) had untolerated taint {gpu: yes}"]),
        (pod(tolerations=[core.Toleration(key="gpu", value="yes")]), node(taints=[TAINT]), [], []),
        (pod(tolerations=[core.Toleration(operator="Exists")]), node(taints=[TAINT], ready=False), [], []),
        (
            pod(tolerations=[core.Toleration(key="gpu", value="yes", effect="NoExecute")]),
            node(taints=[TAINT]),
            [],
            ["node(s) had untolerated taint {gpu: yes}"],
        ),
        (pod(), node(taints=[core.Taint(key="a", effect="PreferNoSchedule")]), [], []),
        (pod(node_selector={"disk": "ssd"}), node(), [], [fit.AFFINITY]),
        (pod(node_selector={"disk": "ssd"}), node(labels={"disk": "ssd"}), [], []),
        (pod(affinity=affinity(("z", "In", ["a", "b"]))), node(labels={"z": "c"}), [], [fit.AFFINITY]),
        (pod(affinity=affinity(("z", "NotIn", ["a"]), ("n", "Gt", ["3"]))), node(labels={"n": "4"}), [], []),
        (pod(affinity=affinity(("z", "Exists", []), ("y", "DoesNotExist", []))), node(labels={"z": ""}), [], []),
        (pod(affinity=affinity(("n", "Lt", ["3"]))), node(labels={"n": "x"}), [], [fit.AFFINITY]),
        (pod(requests={"cpu": "1500m"}), node(), [pod("x", {"cpu": "500m"})], []),
        (pod(requests={"cpu": "1501m"}), node(), [pod("x", {"cpu": "500m"})], ["Insufficient cpu"]),
        (pod(requests={"cpu": "3", "memory": "5Gi"}), node(), [], ["Insufficient cpu", "Insufficient memory"]),
        (pod(requests={"example.com/gpu": "1"}), node(), [], ["Insufficient example.com/gpu"]),
        (pod(), node(), [pod("x"), pod("y"), pod("z")], ["Too many pods"]),
        (pod(host_ports=[8080]), node(), [pod("x", host_ports=[8080])], [fit.PORTS]),
        (pod(host_ports=[8081]), node(), [pod("x", host_ports=[8080])], []),
    ],
)
def test_what_keeps_a_pod_from_a_node(
    one: core.Pod, where: core.Node, taken: list[core.Pod], reasons: list[str]
) -> None:
    assert fit.refusals(one, where, use(*taken)) == reasons


def test_the_sentence() -> None:
    """As `kubectl describe pod` shows it."""
    assert fit.choose(pod(), [], {}).message == "no nodes available to schedule pods"
    nodes = [node("n1", unschedulable=True), node("n2"), node("n3")]
    choice = fit.choose(pod(requests={"cpu": "9"}), nodes, {})
    assert (choice.node, choice.message) == (
        "",
        (
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. "
            "preemption: 0/3 nodes are available: 2 No preemption victims found for incoming pod, "
            "1 Preemption is not helpful for scheduling."
        ),
    )


def test_pods_are_spread() -> None:
    nodes = [node("n1"), node("n2")]
    assert fit.choose(pod(), nodes, {"n1": use(pod("x"))}).node == "n2"
    # Siblings count more than the number of pods.
    uses = {"n1": use(pod("x", owner="rs")), "n2": use(pod("y"), pod("z"))}
    assert fit.choose(pod(owner="rs"), nodes, uses).node == "n2"
    avoid = [node("n1", taints=[core.Taint(key="a", effect="PreferNoSchedule")]), node("n2")]
    assert fit.choose(pod(), avoid, {"n2": use(pod("x"))}).node == "n2"


def test_what_is_counted_can_be_taken_back() -> None:
    made = use(pod("a", {"cpu": "1"}, host_ports=[1]), pod("b", {"cpu": "500m"}, owner="rs"))
    made.add("a", pod("a", {"cpu": "250m"}))
    assert float(made.amounts["cpu"]) == 0.75
    for name in ("a", "b", "never"):
        made.remove(name)
    assert (float(made.amounts["cpu"]), made.pods, made.owners["rs"], sum(made.ports.values())) == (0, {}, 0, 0)
