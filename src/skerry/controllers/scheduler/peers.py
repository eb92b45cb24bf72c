"""Whether other pods speak for or against a node: pod affinity, anti-affinity and topology spread. Pure.

`look` gathers once per pod what `refusal` then answers for each node; called by `choose`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from skerry.controllers.scheduler import nodes
from skerry.controllers.scheduler.asks import Ask, Namespaces, Spread, Term
from skerry.controllers.scheduler.books import Books, Place
from skerry.controllers.scheduler.nodes import Refusal

SPREAD = "node(s) didn't match pod topology spread constraints"
NO_LABEL = "node(s) didn't match pod topology spread constraints (missing required label)"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"

_Pair = tuple[str, str]  # a label of nodes and its value: a domain


@dataclass
class Sight:
    """What other pods mean for one pod: which domains they forbid, ask for, and how many of its kind each has."""

    forbidden: set[_Pair] = field(default_factory=set)
    avoided: set[_Pair] = field(default_factory=set)
    wanted: set[_Pair] = field(default_factory=set)
    first: bool = False  # nobody it wants to be near exists, and it is one of those itself
    spreads: list[tuple[Spread, Counter[str]]] = field(default_factory=list)


def look(one: Ask, books: Books) -> Sight:
    """Gathers what the required rules of the pod, and those of other pods, say about domains."""
    sight = Sight()
    for other in books.shy():
        for term in other.anti:
            if term.matches(one.namespace, one.labels, books.namespaces):
                _note(sight.forbidden, other, term, books)
    if one.anti or one.affinity:
        for other in books.everyone():
            for term in one.anti:
                if term.matches(other.namespace, other.labels, books.namespaces):
                    _note(sight.avoided, other, term, books)
            if one.affinity and _all(one.affinity, other, books.namespaces):
                for term in one.affinity:
                    _note(sight.wanted, other, term, books)
        sight.first = not sight.wanted and _all(one.affinity, one, books.namespaces)
    hard = [each for each in one.spreads if each.hard]
    if hard:
        sight.spreads = list(zip(hard, tally(one, hard, books.nodes(), books), strict=True))
    return sight


def _note(pairs: set[_Pair], other: Ask, term: Term, books: Books) -> None:
    place = books.place_of(other.key)
    value = place.labels.get(term.topology) if place is not None else None
    if value is not None:
        pairs.add((term.topology, value))


def _all(terms: Iterable[Term], other: Ask, namespaces: Namespaces) -> bool:
    return all(term.matches(other.namespace, other.labels, namespaces) for term in terms)


def tally(
    one: Ask, spreads: list[Spread], places: Iterable[Place], books: Books, *, need_all: bool = True
) -> list[Counter[str]]:
    """For each constraint the number of matching pods in each domain; domains without any are there with 0."""
    counts: list[Counter[str]] = [Counter() for _ in spreads]
    included: list[set[str]] = [set() for _ in spreads]
    for place in places:
        if need_all and any(each.topology not in place.labels for each in spreads):
            continue
        for i, each in enumerate(spreads):
            if each.topology in place.labels and _included(one, each, place):
                included[i].add(place.name)
                counts[i][place.labels[each.topology]] += 0
    for other in books.peers(one.namespace):
        if other.terminating:
            continue
        found = books.place_of(other.key)
        assert found is not None
        for i, each in enumerate(spreads):
            if found.name in included[i] and each.selector.matches(other.labels):
                counts[i][found.labels[each.topology]] += 1
    return counts


def _included(one: Ask, spread: Spread, place: Place) -> bool:
    if spread.honours_affinity and not nodes.matches(one.pod, place):
        return False
    return not spread.honours_taints or all(
        taint.effect == "PreferNoSchedule" or nodes.tolerates(one.pod.spec.tolerations, taint) for taint in place.taints
    )


def refusal(one: Ask, place: Place, sight: Sight) -> Refusal | None:
    """What other pods have against this node, in the order in which upstream asks; None if nothing."""
    for spread, counts in sight.spreads:
        value = place.labels.get(spread.topology)
        if value is None:
            return Refusal((NO_LABEL,), peers=True)
        least = 0 if len(counts) < spread.domains else min(counts.values(), default=0)
        if counts[value] + spread.selector.matches(one.labels) - least > spread.skew:
            return Refusal((SPREAD,), helps=True, peers=True)
    if one.affinity:
        if any(term.topology not in place.labels for term in one.affinity):
            return Refusal((AFFINITY,), peers=True)
        near = all((term.topology, place.labels[term.topology]) in sight.wanted for term in one.affinity)
        if not near and not sight.first:
            return Refusal((AFFINITY,), peers=True)
    if any((term.topology, place.labels.get(term.topology)) in sight.avoided for term in one.anti):
        return Refusal((ANTI,), helps=True, peers=True)
    if sight.forbidden and any(pair in sight.forbidden for pair in place.labels.items()):
        return Refusal((EXISTING,), helps=True, peers=True)
    return None


def concerns(one: Ask, other: Ask, namespaces: Namespaces) -> bool:
    """Whether the coming or going of `other` can change what required rules say about `one`."""
    return (
        any(term.matches(other.namespace, other.labels, namespaces) for term in (*one.affinity, *one.anti))
        or any(term.matches(one.namespace, one.labels, namespaces) for term in other.anti)
        or any(
            each.hard and other.namespace == one.namespace and each.selector.matches(other.labels)
            for each in one.spreads
        )
    )
