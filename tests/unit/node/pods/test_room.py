"""Pods that a node has no room for, or that do not belong on it."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.types import core, meta
from skerry.node.pods import room
from skerry.node.pods.state import Problem

NODE = core.Node(
    metadata=meta.ObjectMeta(name="n1", labels={"disk": "ssd"}),
    status=core.NodeStatus(
        capacity={"cpu": "8"},
        allocatable={"cpu": "2", "memory": "1Gi", "ephemeral-storage": "10Gi", "pods": "3", "example.com/gpu": "1"},
    ),
)


def pod(requests: dict[str, str] | None = None, port: int = 0, address: str = "", **spec: Any) -> core.Pod:
    ports = [core.ContainerPort(container_port=80, host_port=port, host_ip=address)] if port else []
    resources = core.ResourceRequirements(requests=requests or {})
    web = core.Container(name="web", resources=resources, ports=ports)
    return core.Pod(metadata=meta.ObjectMeta(name="p"), spec=core.PodSpec(containers=[web], **spec))


def affinity(*expressions: core.NodeSelectorRequirement, fields: tuple[core.NodeSelectorRequirement, ...] = ()) -> Any:
    term = core.NodeSelectorTerm(match_expressions=list(expressions), match_fields=list(fields))
    required = core.NodeSelector(node_selector_terms=[term])
    return core.Affinity(node_affinity=core.NodeAffinity(required_during_scheduling_ignored_during_execution=required))


def requirement(key: str, operator: str, *values: str) -> core.NodeSelectorRequirement:
    return core.NodeSelectorRequirement(key=key, operator=operator, values=list(values))


ELSEWHERE = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
PORTS = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"


def short(what: str, requested: int, used: int, capacity: int) -> str:
    return f"Node didn't have enough resource: {what}, requested: {requested}, used: {used}, capacity: {capacity}"


@pytest.mark.parametrize(
    ("one", "others", "reason", "message"),
    [
        (pod(), [], "", ""),
        (pod({"cpu": "2"}), [], "", ""),
        (pod({"cpu": "50"}), [pod({"cpu": "100m"})], "OutOfcpu", short("cpu", 50000, 100, 2000)),
        (pod({"cpu": "1901m"}), [pod({"cpu": "100m"})], "OutOfcpu", short("cpu", 1901, 100, 2000)),
        (pod({"cpu": "1900m"}), [pod({"cpu": "100m"})], "", ""),
        (pod(), [pod({"cpu": "9"})], "", ""),  # what asks for nothing finds nothing lacking
        (pod({"memory": "1Gi"}), [pod({"memory": "1"})], "OutOfmemory", short("memory", 1 << 30, 1, 1 << 30)),
        (pod({"memory": "2Gi", "cpu": "3"}), [], "OutOfcpu", short("cpu", 3000, 0, 2000)),
        (pod({"ephemeral-storage": "11Gi"}), [], "OutOfephemeral-storage",
         short("ephemeral-storage", 11 << 30, 0, 10 << 30)),
        (pod(), [pod(), pod()], "", ""),
        (pod({"cpu": "50"}), [pod(), pod(), pod()], "OutOfpods", short("pods", 1, 3, 3)),
        (pod({"example.com/gpu": "1"}), [pod({"example.com/gpu": "1"})], "OutOfexample.com/gpu",
         short("example.com/gpu", 1, 1, 1)),
        (pod({"example.com/other": "1"}), [], "", ""),  # nobody's: upstream's kubelet overlooks it as well
        (pod({"hugepages-2Mi": "2Mi"}), [], "OutOfhugepages-2Mi", short("hugepages-2Mi", 2 << 20, 0, 0)),
        (pod({"cpu": "1"}, overhead={"cpu": "1500m"}), [], "OutOfcpu", short("cpu", 2500, 0, 2000)),
        (pod(node_selector={"disk": "ssd"}), [], "", ""),
        (pod(node_selector={"disk": "tape"}), [], "NodeAffinity", ELSEWHERE),
        (pod(affinity=affinity(requirement("disk", "In", "ssd"))), [], "", ""),
        (pod(affinity=affinity(requirement("disk", "NotIn", "ssd"))), [], "NodeAffinity", ELSEWHERE),
        (pod(affinity=affinity()), [], "NodeAffinity", ELSEWHERE),
        (pod(affinity=affinity(fields=(requirement("metadata.name", "In", "n1"),))), [], "", ""),
        (pod(affinity=affinity(fields=(requirement("metadata.name", "In", "n2"),))), [], "NodeAffinity", ELSEWHERE),
        (pod({"cpu": "3"}, node_selector={"disk": "tape"}), [], "OutOfcpu", short("cpu", 3000, 0, 2000)),
        (pod(port=80), [pod(port=81)], "", ""),
        (pod(port=80), [pod(port=80)], "NodePorts", PORTS),
        (pod(port=80, address="10.0.0.1"), [pod(port=80)], "NodePorts", PORTS),
        (pod(port=80, address="10.0.0.1"), [pod(port=80, address="10.0.0.2")], "", ""),
        (pod(port=80, node_selector={"disk": "tape"}), [pod(port=80)], "NodeAffinity", ELSEWHERE),
    ],
)  # fmt: skip
def test_whether_there_is_room(one: core.Pod, others: list[core.Pod], reason: str, message: str) -> None:
    claims = [room.claim(other) for other in others]
    found = room.no_room(one, NODE, claims)
    assert found == (Problem(reason, f"Pod was rejected: {message}") if reason else None)
