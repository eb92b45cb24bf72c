"""Pods and nodes for the scheduler's tests, in one line each."""

from __future__ import annotations

from typing import Any

from skerry.api.types import core, meta
from skerry.controllers.scheduler.asks import ask
from skerry.controllers.scheduler.books import Books

ROOM = {"cpu": "2", "memory": "4Gi", "pods": "10"}


def node(name: str = "n1", *, ready: bool = True, room: dict[str, str] | None = None, **more: Any) -> core.Node:
    """`more`: `labels` and what a NodeSpec has. Every node has its name as kubernetes.io/hostname."""
    marks = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    return core.Node(
        metadata=meta.ObjectMeta(name=name, labels=marks),
        spec=core.NodeSpec(**more),
        status=core.NodeStatus(
            allocatable=room or ROOM,
            conditions=[core.NodeCondition(type="Ready", status="True" if ready else "False")],
        ),
    )


def pod(name: str = "a", requests: dict[str, str] | None = None, owner: str = "", **spec: Any) -> core.Pod:
    """`spec`: `labels`, `namespace`, `host_ports`, `going` and what a PodSpec has."""
    ports = [core.ContainerPort(container_port=80, host_port=one) for one in spec.pop("host_ports", [])]
    container = core.Container(name="c", ports=ports, resources=core.ResourceRequirements(requests=requests or {}))
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=spec.pop("namespace", "default"),
            uid=name,
            labels=spec.pop("labels", {}),
            deletion_timestamp="2026-01-01T00:00:00Z" if spec.pop("going", False) else None,
            owner_references=[meta.OwnerReference(uid=owner, controller=True)] if owner else [],
        ),
        spec=core.PodSpec(containers=[container], **spec),
    )


def books(nodes: list[core.Node], on: dict[str, list[core.Pod]] | None = None, **namespaces: dict[str, str]) -> Books:
    """`on`: pods by the node that they are counted on."""
    made = Books()
    made.namespaces.update(namespaces)
    for one in nodes:
        made.put_node(one)
    for where, pods in (on or {}).items():
        for each in pods:
            made.count(ask(each), where)
    return made


def selector(**labels: str) -> meta.LabelSelector:
    return meta.LabelSelector(match_labels=labels)


def term(topology: str = "kubernetes.io/hostname", **more: Any) -> core.PodAffinityTerm:
    more.setdefault("label_selector", selector(app="web"))
    return core.PodAffinityTerm(topology_key=topology, **more)


def near(*terms: core.PodAffinityTerm) -> core.Affinity:
    return core.Affinity(pod_affinity=core.PodAffinity(required_during_scheduling_ignored_during_execution=list(terms)))


def far(*terms: core.PodAffinityTerm) -> core.Affinity:
    return core.Affinity(
        pod_anti_affinity=core.PodAntiAffinity(required_during_scheduling_ignored_during_execution=list(terms))
    )


def weighted(*terms: core.PodAffinityTerm) -> list[core.WeightedPodAffinityTerm]:
    return [core.WeightedPodAffinityTerm(weight=100, pod_affinity_term=one) for one in terms]


def node_term(*requirements: tuple[str, str, list[str]], fields: bool = False) -> core.NodeSelectorTerm:
    made = [core.NodeSelectorRequirement(key=k, operator=o, values=v) for k, o, v in requirements]
    return core.NodeSelectorTerm(match_fields=made) if fields else core.NodeSelectorTerm(match_expressions=made)


def on_nodes(*terms: core.NodeSelectorTerm) -> core.Affinity:
    required = core.NodeSelector(node_selector_terms=list(terms))
    return core.Affinity(node_affinity=core.NodeAffinity(required_during_scheduling_ignored_during_execution=required))


def spread(skew: int = 1, topology: str = "kubernetes.io/hostname", **more: Any) -> core.TopologySpreadConstraint:
    more.setdefault("label_selector", selector(app="web"))
    more.setdefault("when_unsatisfiable", "DoNotSchedule")
    return core.TopologySpreadConstraint(max_skew=skew, topology_key=topology, **more)
