"""Topology mode Auto: endpoints shared out to zones in proportion to the CPU of their nodes (L38-L40).

Called by `placement` once it is known what each slice holds, and by the controller's shell, which keeps one `Zones`
of all nodes. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from skerry.api import quantity
from skerry.api.types import core, discovery
from skerry.controllers.endpoints.slices import ZONE_LABEL

OVERLOAD = 0.2  # how much more than its share any endpoint may be asked to take
ENABLED, DISABLED = "TopologyAwareHintsEnabled", "TopologyAwareHintsDisabled"
IS_ENABLED, IS_DISABLED = "Topology Aware Hints has been enabled", "Topology Aware Hints has been disabled"
_NO_INFO = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
_TOO_FEW = "Insufficient number of endpoints"
_OVERLOADED = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
_NO_ZONE = "One or more endpoints do not have a zone specified"
_EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class Zones:
    """The share of the cluster's CPU that each zone has; empty where Auto cannot work.

    `put` and `remove` follow the nodes and say whether the shares changed.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, int]] = {}  # zone, milli-CPU; of nodes that count
        self._zones: Counter[str] = Counter()
        self._unknown: set[str] = set()  # nodes whose zone or CPU is missing
        self.ratios: Mapping[str, float] = {}

    def put(self, node: core.Node) -> bool:
        self._forget(node.metadata.name)
        if _counts(node):
            zone = node.metadata.labels.get(ZONE_LABEL, "")
            cpu = quantity.milli(node.status.allocatable.get("cpu", "0"))
            if zone and cpu:
                self._nodes[node.metadata.name] = zone, cpu
                self._zones[zone] += cpu
            else:
                self._unknown.add(node.metadata.name)
        return self._recount()

    def remove(self, name: str) -> bool:
        self._forget(name)
        return self._recount()

    def _forget(self, name: str) -> None:
        self._unknown.discard(name)
        known = self._nodes.pop(name, None)
        if known is not None:
            zone, cpu = known
            self._zones[zone] -= cpu
            if not self._zones[zone]:
                del self._zones[zone]

    def _recount(self) -> bool:
        before, total = self.ratios, self._zones.total()
        enough = not self._unknown and len(self._zones) >= 2
        self.ratios = {zone: cpu / total for zone, cpu in self._zones.items()} if enough else {}
        return before != self.ratios


def _counts(node: core.Node) -> bool:
    if any(label in node.metadata.labels for label in _EXCLUDED):
        return False
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


class _Share(NamedTuple):
    least: int
    desired: float
    most: int


@dataclass
class Outcome:
    """`by_zone`: how many endpoints each zone was given, None if hints cannot be made; then `problem` says why."""

    by_zone: Counter[str] | None = None
    problem: str = ""


def add_hints(
    ratios: Mapping[str, float],
    changing: list[discovery.EndpointSlice],
    unchanged: list[discovery.EndpointSlice],
    update: list[discovery.EndpointSlice],
) -> Outcome:
    """Sets the hints of one Service's slices of one family.

    `changing` are written anyway and get new hints in place; of `unchanged`, those whose hints no longer fit are
    copied into `update` with new ones.
    """
    shares = _shares(ratios, sum(_ready(one) for each in (*changing, *unchanged) for one in each.endpoints))
    if isinstance(shares, str):
        return _without(changing, unchanged, update, shares)
    given: Counter[str] = Counter()
    unfit: list[discovery.EndpointSlice] = []
    for one in unchanged:
        found = _fitting(one, given, shares)
        if found is None:
            unfit.append(one)
        else:
            given += found
    if any(_ready(one) and not one.zone for each in (*changing, *unfit) for one in each.endpoints):
        return _without(changing, unchanged, update, _NO_ZONE)
    copies = [_copy(one) for one in unfit]
    for one in (*changing, *copies):
        for at, endpoint in enumerate(one.endpoints):
            zone = endpoint.zone if _ready(endpoint) else None
            _hint(one, at, zone)
            if zone:
                given[zone] += 1
    _redistribute([*changing, *copies], shares, given)
    # Where CPU is very uneven, what does not fit can still be the best there is: not written again and again.
    update += [new for old, new in zip(unfit, copies, strict=True) if new.endpoints != old.endpoints]
    return Outcome(+given)


def is_overloaded(by_zone: Mapping[str, int], ratios: Mapping[str, float]) -> bool:
    """Whether hints that were given earlier ask too much of some zone now (L40)."""
    if not by_zone:
        return False
    total = sum(by_zone.values())
    return not ratios or any(
        by_zone.get(zone, 0) < math.ceil(total * ratio / (1 + OVERLOAD)) or zone not in by_zone
        for zone, ratio in ratios.items()
    )


def _shares(ratios: Mapping[str, float], count: int) -> dict[str, _Share] | str:
    """What each zone is to have of `count` ready endpoints, or why there can be no hints."""
    if not ratios:
        return _NO_INFO
    told = f"({count} endpoints, {len(ratios)} zones)"
    if len(ratios) > count:
        return f"{_TOO_FEW} {told}"
    least = {zone: math.ceil(ratio * count * (1 / (1 + OVERLOAD))) for zone, ratio in ratios.items()}
    spare = count - sum(least.values())
    if spare < 0:
        return f"{_OVERLOADED} {told}"
    return {zone: _Share(low, max(ratios[zone] * count, low), low + spare) for zone, low in least.items()}


def _fitting(one: discovery.EndpointSlice, given: Counter[str], shares: Mapping[str, _Share]) -> Counter[str] | None:
    """How many hints for each zone a slice has, None if it has to get new ones."""
    found: Counter[str] = Counter()
    for endpoint in one.endpoints:
        if not _ready(endpoint):
            continue
        if endpoint.hints is None or not endpoint.hints.for_zones:
            return None
        found.update(zone.name for zone in endpoint.hints.for_zones)
    fits = all(zone in shares and number + given[zone] <= shares[zone].most for zone, number in found.items())
    return found if fits else None


def _redistribute(slices: list[discovery.EndpointSlice], shares: Mapping[str, _Share], given: Counter[str]) -> None:
    """Lets zones with more than their share give endpoints to those with less, as long as that helps."""
    over = {zone: given[zone] - share.desired for zone, share in shares.items() if given[zone] > share.desired}
    under = {zone: share.desired - given[zone] for zone, share in shares.items() if given[zone] < share.desired}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while over and under:
        giver, receiver = max(sorted(over), key=over.__getitem__), max(sorted(under), key=under.__getitem__)
        if min(over[giver], under[receiver]) < 0.5 or max(over[giver], under[receiver]) < 1:
            break
        giving[giver] += 1
        receiving[receiver] += 1
        over[giver] -= 1
        under[receiver] -= 1
    for one in slices:
        for at, endpoint in enumerate(one.endpoints):
            zone = endpoint.zone or ""
            if not receiving:
                return
            if _ready(endpoint) and giving[zone] > 0:
                receiver = min(receiving)
                _hint(one, at, receiver)
                for numbers, name in ((giving, zone), (receiving, receiver)):
                    numbers[name] -= 1
                    if not numbers[name]:
                        del numbers[name]
                given[receiver] += 1
                given[zone] -= 1


def _without(
    changing: list[discovery.EndpointSlice],
    unchanged: list[discovery.EndpointSlice],
    update: list[discovery.EndpointSlice],
    why: str,
) -> Outcome:
    """No hints at all (L37): those that have some are written without."""
    update += [_copy(one) for one in unchanged if any(each.hints is not None for each in one.endpoints)]
    for one in (*changing, *update):
        for at, endpoint in enumerate(one.endpoints):
            if endpoint.hints is not None:
                _hint(one, at, None)
    return Outcome(problem=why)


def _ready(one: discovery.Endpoint) -> bool:
    return bool(one.conditions.ready)


def _copy(one: discovery.EndpointSlice) -> discovery.EndpointSlice:
    metadata = msgspec.structs.replace(one.metadata, annotations=dict(one.metadata.annotations))
    return msgspec.structs.replace(one, metadata=metadata, endpoints=list(one.endpoints))


def _hint(one: discovery.EndpointSlice, at: int, zone: str | None) -> None:
    hints = None if zone is None else discovery.EndpointHints(for_zones=[discovery.ForZone(name=zone)])
    one.endpoints[at] = msgspec.structs.replace(one.endpoints[at], hints=hints)
