"""Which nodes a pod fits on, and which of them it gets. Pure; called by the shell beside it and by tests.

A node is looked at together with what its pods ask for (`Use`), which the shell keeps up to date pod by pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from skerry.api import quantity
from skerry.api.podresources import Amounts, requests
from skerry.api.types import core
from skerry.controllers import owners

NOT_READY = core.Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")
Port = tuple[str, int, str]  # protocol, number, address on the host

UNSCHEDULABLE = "node(s) were unschedulable"
NODE_NAME = "node(s) didn't match the requested node name"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY = "Too many pods"
NO_NODES = "no nodes available to schedule pods"


@dataclass
class Use:
    """What the pods of one node ask for."""

    amounts: Amounts = field(default_factory=dict)
    ports: Counter[Port] = field(default_factory=Counter)
    pods: dict[str, tuple[Amounts, frozenset[Port], str]] = field(default_factory=dict)  # by key; controller's uid
    owners: Counter[str] = field(default_factory=Counter)

    def add(self, key: str, pod: core.Pod) -> None:
        """Counts a pod, in place of what was counted for it before."""
        self.remove(key)
        entry = requests(pod), host_ports(pod), owners.controller_uid(pod)
        self.pods[key] = entry
        for name, amount in entry[0].items():
            self.amounts[name] = self.amounts.get(name, Fraction()) + amount
        self.ports.update(entry[1])
        self.owners[entry[2]] += 1

    def remove(self, key: str) -> None:
        entry = self.pods.pop(key, None)
        if entry is None:
            return
        for name, amount in entry[0].items():
            self.amounts[name] -= amount
        self.ports.subtract(entry[1])
        self.owners[entry[2]] -= 1


@dataclass(frozen=True)
class Choice:
    """The node, or why there is none."""

    node: str = ""
    message: str = ""


def choose(pod: core.Pod, nodes: Iterable[core.Node], uses: Mapping[str, Use]) -> Choice:
    """The node for a pod, or upstream's sentence about why each node was refused."""
    fitting: list[core.Node] = []
    reasons: Counter[str] = Counter()
    count = helpless = 0
    for node in nodes:
        count += 1
        use = uses.get(node.metadata.name) or Use()
        found = refusals(pod, node, use)
        if not found:
            fitting.append(node)
        reasons.update(found)
        helpless += any(not _frees(one) for one in found)
    if not count:
        return Choice(message=NO_NODES)
    if fitting:
        best = min(fitting, key=lambda node: _score(pod, node, uses.get(node.metadata.name) or Use()))
        return Choice(node=best.metadata.name)
    return Choice(message=_sentence(count, reasons, helpless))


def _frees(reason: str) -> bool:
    """Whether fewer pods on the node would help."""
    return reason.startswith("Insufficient ") or reason in (TOO_MANY, PORTS)


def _sentence(count: int, reasons: Counter[str], helpless: int) -> str:
    told = ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))
    tries = []
    if count - helpless:
        tries.append(f"{count - helpless} No preemption victims found for incoming pod")
    if helpless:
        tries.append(f"{helpless} Preemption is not helpful for scheduling")
    preemption = f"preemption: 0/{count} nodes are available: {', '.join(tries)}."
    return f"0/{count} nodes are available: {told}. {preemption}"


def _score(pod: core.Pod, node: core.Node, use: Use) -> tuple[int, int, int, str]:
    """Least is best: nodes it would rather avoid, siblings, pods, name."""
    owner = owners.controller_uid(pod)
    avoid = sum(1 for taint in node.spec.taints if taint.effect == "PreferNoSchedule" and not tolerates(pod, taint))
    return avoid, use.owners[owner] if owner else 0, len(use.pods), node.metadata.name


def refusals(pod: core.Pod, node: core.Node, use: Use) -> list[str]:
    """Why the pod does not fit on the node, in upstream's words; empty if it does."""
    if node.spec.unschedulable and not tolerates(
        pod, core.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
    ):
        return [UNSCHEDULABLE]
    if pod.spec.node_name and pod.spec.node_name != node.metadata.name:
        return [NODE_NAME]
    for taint in _taints(node):
        if taint.effect in ("NoSchedule", "NoExecute") and not tolerates(pod, taint):
            return [f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"]
    if not matches(pod, node):
        return [AFFINITY]
    if any(_clash(port, use.ports) for port in host_ports(pod)):
        return [PORTS]
    return _shortages(pod, node, use)


def _taints(node: core.Node) -> list[core.Taint]:
    ready = any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
    return node.spec.taints if ready else [*node.spec.taints, NOT_READY]


def tolerates(pod: core.Pod, taint: core.Taint) -> bool:
    return any(_tolerates(one, taint) for one in pod.spec.tolerations)


def _tolerates(one: core.Toleration, taint: core.Taint) -> bool:
    if one.effect and one.effect != taint.effect:
        return False
    if one.operator == "Exists":
        return not one.key or one.key == taint.key
    return one.key == taint.key and one.value == taint.value


def matches(pod: core.Pod, node: core.Node) -> bool:
    """NodeSelector and the required node affinity."""
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return False
    affinity = pod.spec.affinity and pod.spec.affinity.node_affinity
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required is None or any(_term(one, node) for one in required.node_selector_terms)


def _term(term: core.NodeSelectorTerm, node: core.Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(_requirement(one, node.metadata.labels) for one in term.match_expressions) and all(
        _requirement(one, fields) for one in term.match_fields
    )


def _requirement(one: core.NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    value = values.get(one.key)
    match one.operator:
        case "In":
            return value is not None and value in one.values
        case "NotIn":
            return value is None or value not in one.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    try:
        number, bound = int(value or ""), int(one.values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if one.operator == "Gt" else number < bound


def _shortages(pod: core.Pod, node: core.Node, use: Use) -> list[str]:
    allocatable = node.status.allocatable or node.status.capacity
    short: list[str] = []
    if "pods" in allocatable and len(use.pods) + 1 > quantity.parse(allocatable["pods"]):
        short.append(TOO_MANY)
    for name, amount in requests(pod).items():
        there = quantity.parse(allocatable[name]) if name in allocatable else Fraction()
        if amount and amount + use.amounts.get(name, Fraction()) > there:
            short.append(f"Insufficient {name}")
    return short


def host_ports(pod: core.Pod) -> frozenset[Port]:
    return frozenset(
        (one.protocol or "TCP", one.host_port, one.host_ip or "0.0.0.0")
        for container in pod.spec.containers
        for one in container.ports
        if one.host_port
    )


def _clash(port: Port, taken: Counter[Port]) -> bool:
    protocol, number, address = port
    return any(
        count > 0 and other[:2] == (protocol, number) and (address == other[2] or "0.0.0.0" in (address, other[2]))
        for other, count in taken.items()
    )
