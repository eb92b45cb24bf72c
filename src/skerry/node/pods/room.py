"""Whether a node has room for one more pod, whoever bound it: resources, labels, host ports. Pure.

Called by node/agent/manager.py when a pod arrives. The scheduler asks the same beforehand; pods with spec.nodeName come
without it. Critical pods displace nobody here, and taints are left to their controller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skerry.api import nodefit, podresources
from skerry.node.pods.state import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.api.nodefit import Port
    from skerry.api.podresources import Whole
    from skerry.api.types import core

_ALWAYS = ("cpu", "memory", "ephemeral-storage")
"""What is looked at first, in upstream's order."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pod takes of its node."""

    amounts: Whole
    ports: frozenset[Port]


def claim(pod: core.Pod) -> Claim:
    return Claim(podresources.whole(podresources.requests(pod)), nodefit.host_ports(pod))


def no_room(pod: core.Pod, node: core.Node, others: Iterable[Claim]) -> Problem | None:
    """Why the node does not take the pod, as the pod's status tells; None if it does.

    `others`: of the pods that the node has and that have not ended. Of several reasons the first one is told.
    """
    room = {name: podresources.amount(name, text) for name, text in node.status.allocatable.items()}
    wanted, taken = claim(pod), list(others)
    problem = _shortage(wanted.amounts, room, taken)
    if problem is not None:
        return problem
    if not nodefit.matches(pod, node.metadata.name, node.metadata.labels):
        return _failed("NodeAffinity", nodefit.AFFINITY)
    if any(nodefit.clash(port, one.ports) for port in wanted.ports for one in taken):
        return _failed("NodePorts", nodefit.PORTS)
    return None


def _shortage(wanted: Whole, room: Whole, taken: list[Claim]) -> Problem | None:
    if "pods" in room and len(taken) + 1 > room["pods"]:
        return _out_of("pods", 1, len(taken), room["pods"])
    for name in (*_ALWAYS, *sorted(wanted.keys() - {*_ALWAYS})):
        number = wanted.get(name, 0)
        if not number or (name not in room and "/" in name):
            continue  # a resource that no node has by itself is not the node's to count
        used = sum(one.amounts.get(name, 0) for one in taken)
        if number > room.get(name, 0) - used:
            return _out_of(name, number, used, room.get(name, 0))
    return None


def _out_of(name: str, wanted: int, used: int, room: int) -> Problem:
    text = f"Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {room}"
    return Problem(f"OutOf{name}", f"Pod was rejected: {text}")


def _failed(predicate: str, why: str) -> Problem:
    return Problem(predicate, f"Pod was rejected: Predicate {predicate} failed: {why}")
