"""What a node and its pods must be for a pod to go there: labels (selector, required affinity), host ports. Pure.

Called by the scheduler before it binds a pod, and by the node agent when a pod arrives, however it was bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api.labels import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from skerry.api.types import core

Port = tuple[str, int, str]  # protocol, number, address on the host

ANY_ADDRESS = "0.0.0.0"
_OPERATORS = {
    "In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists", "Gt": "gt", "Lt": "lt",
}  # fmt: skip
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"


def matches(pod: core.Pod, name: str, labels: Mapping[str, str]) -> bool:
    """Whether the pod's nodeSelector and required node affinity allow the node of that name with these labels."""
    if pod.spec.node_selector and not pod.spec.node_selector.items() <= labels.items():
        return False
    selector = required(pod)
    return selector is None or any(matches_term(one, name, labels) for one in selector.node_selector_terms)


def required(pod: core.Pod) -> core.NodeSelector | None:
    """The required node affinity; None if the pod has none."""
    affinity = pod.spec.affinity and pod.spec.affinity.node_affinity
    return affinity.required_during_scheduling_ignored_during_execution if affinity else None


def matches_term(term: core.NodeSelectorTerm, name: str, labels: Mapping[str, str]) -> bool:
    """Whether all requirements of a term hold; a term without any selects nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": name}
    return all(_holds(one, labels) for one in term.match_expressions) and all(
        _holds(one, fields) for one in term.match_fields
    )


def _holds(one: core.NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    return holds(values.get(one.key), _OPERATORS[one.operator], one.values)


def host_ports(pod: core.Pod) -> frozenset[Port]:
    """The ports of the node that the pod's containers take."""
    sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    return frozenset(
        (one.protocol or "TCP", one.host_port, one.host_ip or ANY_ADDRESS)
        for container in [*pod.spec.containers, *sidecars]
        for one in container.ports
        if one.host_port
    )


def clash(port: Port, taken: Iterable[Port]) -> bool:
    """Whether any of the taken ports is the same, at the same address or where either is meant for every address."""
    protocol, number, address = port
    return any(
        other[:2] == (protocol, number) and (address == other[2] or ANY_ADDRESS in (address, other[2]))
        for other in taken
    )
