"""The node for a pod, or upstream's sentence about why there is none, or who has to go. Pure; called by the shell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from skerry.api import budgets, labels
from skerry.api.types import meta
from skerry.controllers.scheduler import nodes, peers, score
from skerry.controllers.scheduler.asks import Ask
from skerry.controllers.scheduler.books import Books, Place
from skerry.controllers.scheduler.claims import Storage
from skerry.controllers.scheduler.nodes import Refusal

NO_NODES = "no nodes available to schedule pods"
CONFLICT = "pod affinity terms conflict"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
WAITING = "not eligible due to a terminating pod on the nominated node."


@dataclass(frozen=True)
class Choice:
    """`node`: where the pod goes. Else `message` says why nowhere; with `victims` they have to leave `nominated` first.

    `local`: whether a node or room on it is what is missing; `peers`: whether it is about other pods.
    """

    node: str = ""
    message: str = ""
    nominated: str = ""
    victims: tuple[Ask, ...] = ()
    local: bool = False
    peers: bool = False


def choose(one: Ask, books: Books, kin: labels.Selector = labels.EVERYTHING, storage: Storage | None = None) -> Choice:
    """Decides for one pod. `kin`: see `score.best`; `storage`: what its claims mean, if it has any."""
    places = books.nodes()
    if not places:
        return Choice(message=NO_NODES, local=True)
    allowed = nodes.named(one.pod)
    nowhere = CONFLICT if allowed is not None and not allowed else storage.problem if storage is not None else ""
    if nowhere:
        refused = dict.fromkeys((place.name for place in places), Refusal((nowhere,)))
        return Choice(message=f"{_head(len(places))} {nowhere}. {_preemption(one, refused, {}, books)}", local=True)
    fitting: list[Place] = []
    refused = {}
    sight = peers.look(one, books)
    for place in places:
        if allowed is not None and place.name not in allowed:
            refused[place.name] = Refusal((nodes.NAMED,))
            continue
        with _reserved(one, place, books) as changed:
            found = nodes.refusal(one, place)
            found = found or peers.refusal(one, place, peers.look(one, books) if changed else sight)
            if storage is not None and (found is None or found.helps):
                found = storage.refusal(place) or found
        if found is None:
            fitting.append(place)
        else:
            refused[place.name] = found
    if fitting:
        return Choice(node=score.best(one, fitting, books, kin).name)
    return _refused(one, refused, books)


def _refused(one: Ask, refused: dict[str, Refusal], books: Books) -> Choice:
    told: Counter[str] = Counter()
    for found in refused.values():
        told.update(found.reasons)
    said = f"{_head(len(refused))} {_list(told)}."
    local, social = (any(each.peers is wanted for each in refused.values()) for wanted in (False, True))
    tried: dict[str, str | Victims] = {}
    if _may_preempt(one, books) == "":
        tried = {name: _victims(one, books.places[name], books) for name, found in refused.items() if found.helps}
    candidates = {name: found for name, found in tried.items() if not isinstance(found, str)}
    if candidates:
        name = min(candidates, key=lambda each: _loss(candidates[each]))
        return Choice(message=said, nominated=name, victims=candidates[name].pods, local=local, peers=social)
    answers = {name: found for name, found in tried.items() if isinstance(found, str)}
    return Choice(message=f"{said} {_preemption(one, refused, answers, books)}", local=local, peers=social)


def _head(number: int) -> str:
    return f"0/{number} nodes are available:"


def _list(reasons: Counter[str]) -> str:
    return ", ".join(sorted(f"{number} {reason}" for reason, number in reasons.items()))


def _preemption(one: Ask, refused: dict[str, Refusal], answers: dict[str, str], books: Books) -> str:
    why = _may_preempt(one, books)
    if why:
        return f"preemption: {why}"
    told = Counter(part for name in refused for part in answers.get(name, NOT_HELPFUL).split(", "))
    return f"preemption: {_head(len(refused))} {_list(told)}."


def _may_preempt(one: Ask, books: Books) -> str:
    """Why the pod may not send others away, "" if it may."""
    if one.pod.spec.preemption_policy == "Never":
        return NEVER
    place = books.places.get(one.pod.status.nominated_node_name)
    if place is not None and any(
        each.kind.terminating and each.priority < one.priority for each in place.pods.values()
    ):
        return WAITING
    return ""


@dataclass(frozen=True)
class Victims:
    """Who has to leave a node. `broken`: how many of them their PodDisruptionBudgets would rather keep."""

    pods: tuple[Ask, ...]
    broken: int


def _victims(one: Ask, place: Place, books: Books) -> Victims | str:
    """The fewest pods of lower priority that must leave the node, most important first; or why that is no way.

    Pods whose budgets would be broken are kept before others, and then the more important ones.
    """
    lower = sorted(
        (each for each in place.pods.values() if each.priority < one.priority),
        key=lambda each: (-each.priority, each.pod.status.start_time or "", each.key),
    )
    if not lower:
        return NO_VICTIMS
    breaking = _breaking(lower, books)
    for each in lower:
        books.uncount(each.key)
    gone: list[Ask] = []
    try:
        found = _fits(one, place, books)
        if found is not None:
            for each in lower:
                books.count(each, place.name)
            return ", ".join(found.reasons)
        for each in sorted(lower, key=lambda each: each.key not in breaking):
            books.count(each, place.name)
            if _fits(one, place, books) is not None:
                books.uncount(each.key)
                gone.append(each)
    finally:
        for each in gone:
            books.count(each, place.name)
    gone.sort(key=lower.index)
    return Victims(tuple(gone), sum(each.key in breaking for each in gone))


def _breaking(lower: list[Ask], books: Books) -> set[str]:
    """Which of these pods could not go, after those before them, without breaking a PodDisruptionBudget."""
    left = {key: budget.status.disruptions_allowed for key, budget in books.budgets.items()}
    out: set[str] = set()
    for each in lower:
        for key, budget in books.budgets.items():
            # Here, unlike for evictions, an empty selector means no pod.
            selects = budget.spec.selector is not None and budget.spec.selector != meta.LabelSelector()
            if not selects or not each.kind.labels or not budgets.covers(budget, each.pod):
                continue
            if each.pod.metadata.name in budget.status.disrupted_pods:
                continue
            left[key] -= 1
            if left[key] < 0:
                out.add(each.key)
    return out


def _fits(one: Ask, place: Place, books: Books) -> Refusal | None:
    with _reserved(one, place, books):
        return nodes.refusal(one, place) or peers.refusal(one, place, peers.look(one, books))


def _loss(found: Victims) -> tuple[int, int, int, int, tuple[int, ...]]:
    """Least is best: broken budgets, the highest priority, the sum of priorities, the number; then who started last."""
    victims = found.pods
    highest = max(each.priority for each in victims)
    started = min(each.pod.status.start_time or "" for each in victims if each.priority == highest)
    total = sum(each.priority + 2**31 for each in victims)
    return found.broken, highest, total, len(victims), tuple(-ord(c) for c in started)


@contextmanager
def _reserved(one: Ask, place: Place, books: Books) -> Iterator[bool]:
    """Counts the pods for which room was made on this node, as long as they are at least as important."""
    waiting: Sequence[Ask] = [
        each
        for each in books.nominated.get(place.name, {}).values()
        if each.key != one.key and each.priority >= one.priority and books.place_of(each.key) is None
    ]
    for each in waiting:
        books.count(each, place.name)
    try:
        yield bool(waiting)
    finally:
        for each in waiting:
            books.uncount(each.key)
