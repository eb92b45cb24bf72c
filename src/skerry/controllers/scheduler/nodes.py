"""Whether a node by itself suits a pod: cordon, taints, labels, ports, room. Pure; called by `choose` and `score`.

Each refusal is in upstream's words and says whether fewer pods on the node would help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skerry.api.types import core
from skerry.controllers.scheduler.asks import ANY_ADDRESS, Ask, Port
from skerry.controllers.scheduler.books import Place
from skerry.controllers.tolerations import tolerates as covers

UNSCHEDULABLE = "node(s) were unschedulable"
TAINTS = "node(s) had untolerated taint(s)"
AFFINITY = "node(s) didn't match Pod's node affinity/selector"
NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
PORTS = "node(s) didn't have free ports for the requested pod ports"
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
    if one.ports and any(_clash(port, place.ports) for port in one.ports):
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


def _clash(port: Port, taken: Iterable[Port]) -> bool:
    protocol, number, address = port
    return any(
        other[:2] == (protocol, number) and (address == other[2] or ANY_ADDRESS in (address, other[2]))
        for other in taken
    )


def tolerates(tolerations: Iterable[core.Toleration], taint: core.Taint) -> bool:
    """Whether any of the tolerations covers the taint."""
    return any(covers(one, taint) for one in tolerations)


def matches(pod: core.Pod, place: Place) -> bool:
    """NodeSelector and the required node affinity."""
    if pod.spec.node_selector and not pod.spec.node_selector.items() <= place.labels.items():
        return False
    required = _required(pod)
    return required is None or any(matches_term(one, place) for one in required.node_selector_terms)


def _required(pod: core.Pod) -> core.NodeSelector | None:
    affinity = pod.spec.affinity and pod.spec.affinity.node_affinity
    return affinity.required_during_scheduling_ignored_during_execution if affinity else None


def named(pod: core.Pod) -> frozenset[str] | None:
    """The only nodes that the required affinity can mean because every term names some; None if one does not."""
    required = _required(pod)
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
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": place.name}
    return all(_holds(one, place.labels) for one in term.match_expressions) and all(
        _holds(one, fields) for one in term.match_fields
    )


def _holds(one: core.NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
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
