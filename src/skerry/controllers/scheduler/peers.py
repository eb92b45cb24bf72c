"""Whether other pods speak for or against a node: pod affinity, anti-affinity and topology spread. Pure.

`look` gathers once per pod what `refusal` then answers for each node; called by `choose`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from skerry.controllers.scheduler import nodes
from skerry.controllers.scheduler.asks import Ask, Kind, Namespaces, Spread, Term
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
    kind, spaces = one.kind, books.namespaces
    for other, where in books.shy():
        for term in other.anti:
            if term.means(kind, spaces):
                _note(sight.forbidden, where, term, books)
    if kind.anti or kind.affinity:
        for other, where in books.everyone():
            for term in kind.anti:
                if term.means(other, spaces):
                    _note(sight.avoided, where, term, books)
            if kind.affinity and _all(kind.affinity, other, spaces):
                for term in kind.affinity:
                    _note(sight.wanted, where, term, books)
        sight.first = not sight.wanted and _all(kind.affinity, kind, spaces)
    hard = [each for each in one.spreads if each.hard]
    if hard:
        sight.spreads = list(zip(hard, tally(one, hard, books.nodes(), books), strict=True))
    return sight


def _note(pairs: set[_Pair], where: Iterable[str], term: Term, books: Books) -> None:
    for name in where:
        value = books.places[name].labels.get(term.topology)
        if value is not None:
            pairs.add((term.topology, value))


def _all(terms: Iterable[Term], other: Kind, namespaces: Namespaces) -> bool:
    return all(term.means(other, namespaces) for term in terms)


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
    for other, where in books.peers(one.kind.namespace):
        if other.terminating:
            continue
        for i, each in enumerate(spreads):
            if each.selector.matches(other.labels):
                for name in included[i] & where.keys():
                    counts[i][books.places[name].labels[each.topology]] += where[name]
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
        if counts[value] + spread.selector.matches(one.kind.labels) - least > spread.skew:
            return Refusal((SPREAD,), helps=True, peers=True)
    kind = one.kind
    if kind.affinity:
        if any(term.topology not in place.labels for term in kind.affinity):
            return Refusal((AFFINITY,), peers=True)
        near = all((term.topology, place.labels[term.topology]) in sight.wanted for term in kind.affinity)
        if not near and not sight.first:
            return Refusal((AFFINITY,), peers=True)
    if any((term.topology, place.labels.get(term.topology)) in sight.avoided for term in kind.anti):
        return Refusal((ANTI,), helps=True, peers=True)
    if sight.forbidden and any(pair in sight.forbidden for pair in place.labels.items()):
        return Refusal((EXISTING,), helps=True, peers=True)
    return None


def concerns(one: Ask, other: Ask, namespaces: Namespaces) -> bool:
    """Whether the coming or going of `other` can change what required rules say about `one`."""
    mine, its = one.kind, other.kind
    return (
        any(term.means(its, namespaces) for term in (*mine.affinity, *mine.anti))
        or any(term.means(mine, namespaces) for term in its.anti)
        or any(
            each.hard and its.namespace == mine.namespace and each.selector.matches(its.labels) for each in one.spreads
        )
    )
