"""Whether a node by itself suits a pod: cordon, taints, labels, ports, room. Pure; called by `choose` and `score`.

Each refusal is in upstream's words and says whether fewer pods on the node would help.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skerry.api import nodefit
from skerry.api.types import core
from skerry.controllers.scheduler.asks import Ask
from skerry.controllers.scheduler.books import Place
from skerry.controllers.tolerations import tolerates as covers

UNSCHEDULABLE = "node(s) were unschedulable"
TAINTS = "node(s) had untolerated taint(s)"
AFFINITY = nodefit.AFFINITY
NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
PORTS = nodefit.PORTS
TOO_MANY = "Too many pods"

_CORDONED = core.Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node was not taken. `helps`: whether it would be if pods went; `peers`: whether it is because of others."""

    reasons: tuple[str, ...]
    helps: bool = False
    peers: bool = False


def refusal(one: Ask, place: Place) -> Refusal | None:
    """What of the node itself speaks against it, in the order in which upstream asks; None if nothing does."""
    spec = one.pod.spec
    assert place.node is not None
    if place.node.spec.unschedulable and not tolerates(spec.tolerations, _CORDONED):
        return Refusal((UNSCHEDULABLE,))
    if any(each.effect != "PreferNoSchedule" and not tolerates(spec.tolerations, each) for each in place.taints):
        return Refusal((TAINTS,))
    if not matches(one.pod, place):
        return Refusal((AFFINITY,))
    if one.ports and any(nodefit.clash(port, place.ports) for port in one.ports):
        return Refusal((PORTS,), helps=True)
    return _shortage(one, place)


def _shortage(one: Ask, place: Place) -> Refusal | None:
    short: list[str] = []
    helps = True
    if "pods" in place.room and len(place.pods) + 1 > place.room["pods"]:
        short.append(TOO_MANY)
    for name, number in one.amounts.items():
        room = place.room.get(name, 0)
        if number and number + place.taken[name] > room:
            short.append(f"Insufficient {name}")
            helps = helps and number <= room
    return Refusal(tuple(short), helps=helps) if short else None


def tolerates(tolerations: Iterable[core.Toleration], taint: core.Taint) -> bool:
    """Whether any of the tolerations covers the taint."""
    return any(covers(one, taint) for one in tolerations)


def matches(pod: core.Pod, place: Place) -> bool:
    """NodeSelector and the required node affinity."""
    return nodefit.matches(pod, place.name, place.labels)


def named(pod: core.Pod) -> frozenset[str] | None:
    """The only nodes that the required affinity can mean because every term names some; None if one does not."""
    required = nodefit.required(pod)
    if required is None:
        return None
    out: set[str] = set()
    for term in required.node_selector_terms:
        sets = [set(one.values) for one in term.match_fields if one.key == "metadata.name" and one.operator == "In"]
        if not sets:
            return None
        out |= set.intersection(*sets)
    return frozenset(out)


def matches_term(term: core.NodeSelectorTerm, place: Place) -> bool:
    """Whether all requirements of a term hold; a term without any selects nothing."""
    return nodefit.matches_term(term, place.name, place.labels)
