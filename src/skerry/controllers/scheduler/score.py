"""Which of the nodes that a pod fits on it gets: the scores of upstream's default profile. Pure; called by `choose`.

Each score is brought to 0..100 over the nodes and weighted: taints one would rather avoid 3, preferred node affinity 2,
topology spread 2, pod affinity 2, free CPU and memory 1, their balance 1. Where an image is already does not count:
the nodes of one machine share their images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from skerry.api import labels
from skerry.controllers.scheduler import nodes, peers
from skerry.controllers.scheduler.asks import Ask, Kind, Spread, Term
from skerry.controllers.scheduler.books import Books, Numbers, Place

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
_TOP = 100
_DEFAULT = ((HOSTNAME, 3), (ZONE, 5))  # how far pods without constraints of their own may be apart, and where


def best(one: Ask, places: Sequence[Place], books: Books, kin: labels.Selector) -> Place:
    """The node with the highest score; of equal ones that with the fewest pods, then the first by name.

    `kin` selects the pods that serve the same Services, for a pod without a controller.
    """
    if len(places) == 1:
        return places[0]
    rated: tuple[tuple[int, Callable[[], list[int]]], ...] = (
        (3, lambda: _reversed([_avoided(one, place) for place in places])),
        (2, lambda: _normal([_preferred(one, place) for place in places])),
        (2, lambda: _spread(one, places, books, kin)),
        (2, lambda: _company(one, places, books)),
        (1, lambda: [_free(one, place) for place in places]),
        (1, lambda: [_balance(one, place) for place in places]),
    )
    total = [0] * len(places)
    for weight, rate in rated:
        for i, value in enumerate(rate()):
            total[i] += weight * value
    order = sorted(range(len(places)), key=lambda i: (-total[i], len(places[i].pods), places[i].name))
    return places[order[0]]


def _normal(values: list[int]) -> list[int]:
    most = max(values)
    return [_TOP * one // most for one in values] if most else values


def _reversed(values: list[int]) -> list[int]:
    most = max(values)
    return [_TOP - _TOP * one // most for one in values] if most else [_TOP] * len(values)


def _avoided(one: Ask, place: Place) -> int:
    tolerations = [each for each in one.pod.spec.tolerations if each.effect in ("", "PreferNoSchedule")]
    return sum(taint.effect == "PreferNoSchedule" and not nodes.tolerates(tolerations, taint) for taint in place.taints)


def _preferred(one: Ask, place: Place) -> int:
    affinity = one.pod.spec.affinity and one.pod.spec.affinity.node_affinity
    if not affinity:
        return 0
    terms = affinity.preferred_during_scheduling_ignored_during_execution
    return sum(each.weight for each in terms if nodes.matches_term(each.preference, place))


def _free(one: Ask, place: Place) -> int:
    """The share of CPU and memory that stays free."""
    parts = []
    for name in ("cpu", "memory"):
        room = place.room.get(name, 0)
        if room:
            free = room - place.likely[name] - one.likely.get(name, 0)
            parts.append(free * _TOP // room if free > 0 else 0)
    return sum(parts) // len(parts) if parts else 0


def _balance(one: Ask, place: Place) -> int:
    """How alike the shares of CPU and memory are that would be taken; a pod that asks for nothing changes nothing."""
    if not any(one.amounts.get(name) for name in ("cpu", "memory")):
        return 0
    shares = [
        min(1.0, (place.taken[name] + one.amounts.get(name, 0)) / place.room[name])
        for name in ("cpu", "memory")
        if place.room.get(name)
    ]
    apart = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
    return int((1 - apart) * _TOP)


def _spread(one: Ask, places: Sequence[Place], books: Books, kin: labels.Selector) -> list[int]:
    """Few of its kind in the node's domains is good: as its constraints say, or its controller, or its Services."""
    own = bool(one.spreads)
    soft = [each for each in one.spreads if not each.hard]
    if not own:
        soft = [Spread(topology, skew, kin, hard=False) for topology, skew in _DEFAULT]
    if not soft or not (own or one.owner or kin):
        return [0] * len(places)
    left_out = {place.name for place in places if own and any(each.topology not in place.labels for each in soft)}
    counts = _siblings(one, books) if not own and one.owner else _matching(one, soft, books, need_all=own)
    domains = [{other.labels.get(each.topology) for other in places if other.name not in left_out} for each in soft]
    weights = [math.log(len(each) + 2) for each in domains]  # few domains with many pods each weigh less
    values = []
    for place in places:
        value = 0.0
        for each, count, weight in zip(soft, counts, weights, strict=True):
            if each.topology in place.labels:
                value += count[place.labels[each.topology]] * weight + each.skew - 1
        values.append(round(value))
    rated = [value for place, value in zip(places, values, strict=True) if place.name not in left_out]
    most, least = max(rated, default=0), min(rated, default=0)
    out = []
    for place, value in zip(places, values, strict=True):
        if place.name in left_out:
            out.append(0)
        else:
            out.append(_TOP * (most + least - value) // most if most else _TOP)
    return out


def _matching(one: Ask, soft: list[Spread], books: Books, *, need_all: bool) -> list[Counter[str]]:
    return peers.tally(one, soft, books.nodes(), books, need_all=need_all)


def _siblings(one: Ask, books: Books) -> list[Counter[str]]:
    """The pods of the same controller in each domain of the default constraints, without looking at pods."""
    counts: list[Counter[str]] = [Counter() for _ in _DEFAULT]
    for place in books.nodes():
        number = place.owners[one.owner]
        for (topology, _), count in zip(_DEFAULT, counts, strict=True):
            if number and topology in place.labels and nodes.matches(one.pod, place):
                count[place.labels[topology]] += number
    return counts


def _company(one: Ask, places: Sequence[Place], books: Books) -> list[int]:
    """Near pods that it likes or that like it, far from those of whom that is true of dislike."""
    worth: dict[tuple[str, str], int] = {}

    def note(terms: Sequence[Term], sign: int, whom: Kind, where: Numbers, weight: int = 0) -> None:
        for term in terms:
            if not term.means(whom, books.namespaces):
                continue
            for name, number in where.items():
                value = books.places[name].labels.get(term.topology)
                if value is not None:
                    pair = (term.topology, value)
                    worth[pair] = worth.get(pair, 0) + sign * number * (weight or term.weight)

    mine = one.kind
    for other, where in books.everyone() if mine.likes or mine.dislikes else books.social():
        note(mine.likes, 1, other, where)
        note(mine.dislikes, -1, other, where)
        note(other.affinity, 1, mine, where, weight=1)
        note(other.likes, 1, mine, where)
        note(other.dislikes, -1, mine, where)
    if not worth:
        return [0] * len(places)
    values = [sum(worth.get(pair, 0) for pair in place.labels.items()) for place in places]
    most, least = max(0, *values), min(0, *values)
    return [_TOP * (value - least) // (most - least) if most > least else 0 for value in values]
