"""The endpoints of one address type of a Service, and the slices that they are in (L24-L31). Called by placement.py.

Slices are filled as upstream fills them: full new slices first, at most one untouched slice opened, nothing moved
between slices. Pure: nothing that is given is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from skerry.api import weights
from skerry.api.types import core, discovery
from skerry.controllers.endpoints import slices, topology
from skerry.controllers.endpoints.plan import Plan
from skerry.controllers.endpoints.slices import Identity, Port

_Ports = tuple[Port, ...]
_SEVERAL = ""


class Wanted(NamedTuple):
    """An endpoint as it should be."""

    ports: _Ports
    endpoint: discovery.Endpoint
    weight: int


class _Seen(NamedTuple):
    """A slice as it was when it was last looked at."""

    slice: discovery.EndpointSlice
    ports: _Ports
    is_owned: bool


class Family:
    """The endpoints and slices of one address type."""

    def __init__(self, service: core.Service, family: str, limit: int, is_auto: bool) -> None:
        self._service, self._family, self._limit, self._is_auto = service, family, limit, is_auto
        self._labels = slices.service_labels(service)
        self._wanted: dict[Identity, Wanted] = {}
        self._counts: Counter[_Ports] = Counter()  # endpoints wanted, by their ports
        self._unusual: set[Identity] = set()  # endpoints that have not the usual weight
        self._seen: dict[str, _Seen] = {}  # slices by name
        self._placed: dict[Identity, str] = {}  # endpoint -> the slice that has it, _SEVERAL if not only one has
        self._loose: dict[Identity, None] = {}  # wanted and, as far as is known, in no slice with its ports
        self._suspect: set[str] = set()  # slices that may have to change

    def put(self, identity: Identity, wanted: Wanted) -> None:
        """This endpoint should be there, as `wanted`."""
        known = self._wanted.get(identity)
        if known is not None:
            same = known.ports == wanted.ports and known.weight == wanted.weight
            if same and self._says_the_same(known.endpoint, wanted.endpoint):
                return
            self._uncount(known.ports)
        self._wanted[identity] = wanted
        self._counts[wanted.ports] += 1
        (self._unusual.discard if wanted.weight == weights.USUAL else self._unusual.add)(identity)
        place = self._placed.get(identity, _SEVERAL)
        if place:
            self._suspect.add(place)
        if not place or self._seen[place].ports != wanted.ports:
            self._loose[identity] = None

    def remove(self, identity: Identity) -> None:
        """It should not be there any more; unknown ones are fine."""
        known = self._wanted.pop(identity, None)
        if known is None:
            return
        self._uncount(known.ports)
        self._unusual.discard(identity)
        self._loose.pop(identity, None)
        place = self._placed.get(identity, _SEVERAL)
        if place:
            self._suspect.add(place)

    def _uncount(self, ports: _Ports) -> None:
        self._counts[ports] -= 1
        if not self._counts[ports]:
            del self._counts[ports]

    def _says_the_same(self, one: discovery.Endpoint, other: discovery.Endpoint) -> bool:
        """Hints by trafficDistribution are compared too; those of Auto are none of an endpoint's own business."""
        return slices.same_beyond_identity(one, other) and (self._is_auto or one.hints == other.hints)

    def sizes(self) -> tuple[int, int]:
        """See Placement.sizes."""
        return len(self._wanted), max(1, sum(-(-count // self._limit) for count in self._counts.values()))

    # What slices there are.

    def _look(self, existing: list[discovery.EndpointSlice]) -> None:
        """Notes what changed since the last look, whoever did it."""
        found = {one.metadata.name: one for one in existing}
        for name, seen in list(self._seen.items()):
            if name not in found or found[name].metadata.resource_version != seen.slice.metadata.resource_version:
                self._forget(name)
        for name, one in found.items():
            if name not in self._seen:
                self._note(name, one)

    def _forget(self, name: str) -> None:
        for one in self._seen.pop(name).slice.endpoints:
            identity = slices.identity(one)
            if self._placed.get(identity) == name:
                del self._placed[identity]
                if identity in self._wanted:
                    self._loose[identity] = None
        self._suspect.discard(name)

    def _note(self, name: str, one: discovery.EndpointSlice) -> None:
        seen = self._seen[name] = _Seen(one, slices.port_key(one), slices.is_owned(one, self._service))
        self._suspect.add(name)
        if seen.is_owned:
            for endpoint in one.endpoints:
                self._place(slices.identity(endpoint), name, seen.ports)

    def _place(self, identity: Identity, name: str, ports: _Ports) -> None:
        wanted, place = self._wanted.get(identity), self._placed.setdefault(identity, name)
        if place != name:  # a person's doing; the first in order keeps it
            if place:
                self._suspect.add(place)
            self._placed[identity] = _SEVERAL
            if wanted is not None:
                self._loose[identity] = None
        elif wanted is not None and wanted.ports == ports:
            self._loose.pop(identity, None)

    # What is to be done.

    def plan(self, existing: list[discovery.EndpointSlice], plan: Plan, ratios: Mapping[str, float]) -> None:
        """Adds to `plan` the writes that make this address type's slices right."""
        self._look(existing)
        self._kept: set[Identity] = set()
        self._create: list[discovery.EndpointSlice] = []
        self._update: list[discovery.EndpointSlice] = []
        self._delete: list[discovery.EndpointSlice] = []
        foreign: list[discovery.EndpointSlice] = []
        by_ports: dict[_Ports, list[discovery.EndpointSlice]] = {}
        for name in (one.metadata.name for one in existing):
            seen = self._seen[name]
            if seen.is_owned:
                by_ports.setdefault(seen.ports, []).append(seen.slice)
            else:
                foreign.append(seen.slice)
        groups: dict[_Ports, list[Identity]] = {}
        for identity in sorted(self._loose, key=_order):
            groups.setdefault(self._wanted[identity].ports, []).append(identity)
        for ports in sorted(self._counts, key=repr):
            self._fill(ports, groups.get(ports, []), by_ports.pop(ports, []), plan)
        for left in by_ports.values():
            self._delete += left
            plan.removed += sum(len(one.endpoints) for one in left)
        self._placeholder(len(existing), foreign)
        if self._is_auto:
            self._hint(existing, foreign, plan, ratios)
        self._recycle()
        for one in (*self._create, *self._update):
            self._weigh(one)
        plan.create += self._create
        plan.update += self._update
        plan.delete += self._delete
        plan.delete += foreign

    def _fill(self, ports: _Ports, loose: list[Identity], found: list[discovery.EndpointSlice], plan: Plan) -> None:
        unchanged: list[discovery.EndpointSlice] = []
        updated: list[discovery.EndpointSlice] = []
        for one in found:  # step 1 (L24)
            if one.metadata.name not in self._suspect:
                unchanged.append(one)
                continue
            kept, changed = self._keep(one, ports)
            plan.removed += len(one.endpoints) - len(kept)
            if changed and not kept:
                self._delete.append(one)
            elif changed or not slices.same_labels(one.metadata.labels, self._labels) or self._weighs_other(one):
                updated.append(slices.replaced(one, kept, dict(self._labels)))
            else:
                self._suspect.discard(one.metadata.name)
                unchanged.append(one)
        left = [self._wanted[identity].endpoint for identity in loose if identity not in self._kept]
        plan.added += len(left)
        for one in sorted(updated, key=lambda each: -len(each.endpoints)):  # step 2 (L25)
            left = self._pour(left, one)
        while left:  # step 3 (L26)
            opened = self._closest(unchanged, len(left)) if len(left) < self._limit else None
            if opened is None:
                target = slices.new_slice(self._service, self._family, ports)
                self._create.append(target)
            else:
                unchanged.remove(opened)
                target = slices.replaced(opened, list(opened.endpoints), dict(self._labels))
                updated.append(target)
            left = self._pour(left, target)
        self._update += updated

    def _keep(self, one: discovery.EndpointSlice, ports: _Ports) -> tuple[list[discovery.Endpoint], bool]:
        """(the slice's endpoints that stay, in their new form; whether any changed or left)."""
        name = one.metadata.name
        kept: list[discovery.Endpoint] = []
        changed = False
        for old in one.endpoints:
            identity = slices.identity(old)
            wanted = self._wanted.get(identity)
            elsewhere = self._placed.get(identity, _SEVERAL) not in (_SEVERAL, name) or identity in self._kept
            if wanted is None or wanted.ports != ports or elsewhere:
                changed = True
                continue
            self._placed[identity] = name
            self._kept.add(identity)
            self._loose.pop(identity, None)
            if old is wanted.endpoint:
                kept.append(old)
            elif self._says_the_same(old, wanted.endpoint):
                kept.append(old)
                self._wanted[identity] = wanted._replace(endpoint=old)  # one object for both
            else:
                kept.append(wanted.endpoint)
                changed = True
        return kept, changed

    def _weights(self, one: discovery.EndpointSlice) -> str:
        """What the slice has to say of its endpoints' weights; as a rule nothing."""
        if not self._unusual:
            return ""
        unusual = [each for each in one.endpoints if slices.identity(each) in self._unusual]
        return weights.encode({each.addresses[0]: self._wanted[slices.identity(each)].weight for each in unusual})

    def _weighs_other(self, one: discovery.EndpointSlice) -> bool:
        return one.metadata.annotations.get(weights.WEIGHTS, "") != self._weights(one)

    def _weigh(self, one: discovery.EndpointSlice) -> None:
        said = self._weights(one)
        if said:
            one.metadata.annotations[weights.WEIGHTS] = said
        else:
            one.metadata.annotations.pop(weights.WEIGHTS, None)

    def _pour(self, left: list[discovery.Endpoint], target: discovery.EndpointSlice) -> list[discovery.Endpoint]:
        room = max(0, self._limit - len(target.endpoints))
        target.endpoints.extend(left[:room])
        return left[room:]

    def _closest(self, unchanged: list[discovery.EndpointSlice], count: int) -> discovery.EndpointSlice | None:
        fitting = [one for one in unchanged if len(one.endpoints) + count <= self._limit]
        return max(fitting, key=lambda one: len(one.endpoints), default=None)

    def _placeholder(self, existing: int, foreign: list[discovery.EndpointSlice]) -> None:
        """L29: a Service that is ours always has a slice, if need be an empty one."""
        if self._create or existing != len(self._delete) + len(foreign):
            return
        made = slices.new_slice(self._service, self._family, ())
        if len(self._delete) == 1 and not foreign and slices.is_placeholder(self._delete[0], made):
            self._delete.clear()
        else:
            self._create.append(made)

    def _hint(
        self,
        existing: list[discovery.EndpointSlice],
        foreign: list[discovery.EndpointSlice],
        plan: Plan,
        ratios: Mapping[str, float],
    ) -> None:
        touched = {one.metadata.name for one in (*self._update, *self._delete, *foreign)}
        unchanged = [one for one in existing if one.metadata.name not in touched]
        outcome = topology.add_hints(ratios, [*self._create, *self._update], unchanged, self._update)
        plan.problems[self._family] = outcome.problem
        if outcome.by_zone is not None:
            plan.by_zone[self._family] = outcome.by_zone

    def _recycle(self) -> None:
        """L31: a slice that would go becomes one that is to come, and keeps its name."""
        while self._create and self._delete:
            new, old = self._create.pop(0), self._delete.pop(0)
            self._update.append(slices.replaced(old, new.endpoints, new.metadata.labels, new.ports))


def _order(identity: Identity) -> tuple[str, Any]:
    return identity[3], identity
