"""Which elements of the kernel's maps change, and in which order. Pure: no clock, no socket.

Called by family.py. The planner keeps a model of what the maps hold and turns a change of the service table into
*steps*; a step is done wholly before the next begins.

A packet looks a frontend up several times (its count, its list, then list and index), and what it sees may be older at
the first lookup than at the last. So nothing that an older answer leads to goes away at once:

- a list that grows gets its elements first, then its frontends' counts are raised;
- a list that shrinks gets its hole filled by its last element while the counts go down; the last index is *stale* and
  only swept milliseconds later, when no packet can be on its way to it any more;
- a frontend that changes to a shorter list finds that list padded up to its old count until the sweep.

Lists with affinity have their backends in two more maps: `ids` numbers them, `places` leads back. A client's record
holds the number, so it is void from the transaction on in which its backend leaves the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from skerry.proxy.nftables.numbers import Numbers
from skerry.proxy.nftables.steps import (
    ADDRESSES,
    ALLOWED,
    COUNTS,
    DISPATCH,
    DROPPED,
    ENDPOINTS,
    GUARDED,
    HAIRPIN,
    IDS,
    KEEPERS,
    LISTS,
    MAPS,
    MASQUERADED,
    NEAR_COUNTS,
    NEAR_LISTS,
    PLACES,
    REFUSED,
    Fill,
    Keep,
    Maps,
    Put,
    Remove,
    Size,
    Step,
    filled,
)
from skerry.proxy.table import IPV4, Backend, Change, Empty, Frontend, ListKey, ServiceTable

FILLED_AT_ONCE = 500
"""Backends of one `Fill`."""

_ABSENT = object()

_FIRST = (ENDPOINTS, LISTS, NEAR_LISTS, PLACES, GUARDED)
"""What packets come to in later lookups than the one that leads them there: has to be there before that does."""


class Planner:
    """Plans changes against `maps`, its model of the kernel. After an error of the kernel it is worthless."""

    def __init__(self) -> None:
        self.maps: Maps = {name: {} for name in MAPS}
        self.stamp = 0
        self._stale: dict[tuple[str, Hashable], int] = {}
        self.numbers = Numbers()
        self._live: dict[int, list[Backend]] = {}
        self._last_counts: dict[tuple[str, Frontend], int] = {}
        self._sources: dict[Frontend, set[str]] = {}

    @classmethod
    def adopt(
        cls, maps: Maps, table: ServiceTable, family: str = IPV4, last_place: int = 0
    ) -> tuple[Planner, list[Step]]:
        """A planner that goes on from what the kernel holds of a family, and the steps to what it should hold.

        `maps` becomes the planner's. `last_place`: the highest place that clients remember.
        """
        found = cls()
        found.maps = maps
        found.numbers.keepers(maps[KEEPERS])
        tidy = found._recognize(table, last_place)
        change = table.everything().of(family)
        change.addresses.update(maps[ADDRESSES])
        change.hairpins.update(maps[HAIRPIN])
        for name in (COUNTS, LISTS, NEAR_COUNTS, NEAR_LISTS, REFUSED, DROPPED, MASQUERADED, GUARDED):
            change.frontends.update(maps[name])
        change.frontends.update(frontend for frontend, _ in maps[ALLOWED])
        steps = found.plan(table, change)
        for keeper in maps[KEEPERS]:
            if not found.numbers.in_use(keeper):
                found._retire(KEEPERS, keeper)
        return found, [step for step in (tidy, *steps) if step]

    def _recognize(self, table: ServiceTable, last_place: int) -> Step:
        """Finds out which list has which number; what no list has is stale, and backends' places in it go at once."""
        counts: dict[int, int] = {}
        for frontend, entry in table.frontends.items():
            for in_counts, in_lists, key in ((COUNTS, LISTS, entry.list), (NEAR_COUNTS, NEAR_LISTS, entry.near)):
                number = self.maps[in_lists].get(frontend)
                if key is not None and number is not None and self.numbers.adopt(key, number):
                    counts[number] = max(counts.get(number, 0), self.maps[in_counts].get(frontend, 0))
        for number, count in counts.items():
            there = range(count)
            held = [self.maps[ENDPOINTS].get((number, index)) for index in there]
            live = held[: held.index(None)] if None in held else held
            if live:
                self._live[number] = [backend for backend in live if backend is not None]
        for number, index in self.maps[ENDPOINTS]:
            self.numbers.lists_above(number)
            if index >= len(self._live.get(number, ())):
                self._retire(ENDPOINTS, (number, index))
        for in_counts, in_lists in ((COUNTS, LISTS), (NEAR_COUNTS, NEAR_LISTS)):
            for frontend in self.maps[in_lists]:
                if frontend not in self.maps[in_counts]:
                    self._retire(in_lists, frontend)
        for frontend, prefix in self.maps[ALLOWED]:
            self._sources.setdefault(frontend, set()).add(prefix)
        return self._recognize_places(last_place)

    def _recognize_places(self, last_place: int) -> Step:
        tidy: Step = []
        known = set()
        for (number, backend), place in list(self.maps[IDS].items()):
            there_too = self.maps[PLACES].get((number, place)) == backend and backend in self._live.get(number, ())
            if there_too and self.numbers.adopt_place(number, backend, place):
                known.add((number, place))
            else:
                self._remove(tidy, IDS, (number, backend))
        for number, place in list(self.maps[PLACES]):
            last_place = max(last_place, place)
            if (number, place) not in known:
                self._remove(tidy, PLACES, (number, place))
        self.numbers.places_from(last_place + 1)
        return tidy

    def backends(self) -> Iterator[tuple[int, Backend]]:
        """All lists' numbers and backends."""
        return ((number, backend) for number, live in self._live.items() for backend in live)

    @property
    def stale(self) -> int:
        """How many elements wait for a sweep."""
        return len(self._stale)

    def plan(self, table: ServiceTable, change: Change) -> list[Step]:
        """The steps that lead to `table`, looking only at what may have changed; none if nothing did."""
        self.stamp += 1
        fill: Step = []
        switch: Step = []
        for key in change.lists:
            self._list(key, table.lists.get(key, ()), fill, switch)
            if key not in table.lists:
                self._forget(key)
        for address in change.addresses:
            self._member(ADDRESSES, address, address in table.addresses, fill, switch)
        for address in change.hairpins:
            if address in table.hairpins:
                self._put(fill, HAIRPIN, address, None)
            else:
                self._retire(HAIRPIN, address)
        for frontend in change.frontends:
            self._frontend(table, frontend, fill, switch)
        grows = any(type(op) is Fill or (isinstance(op, Put) and not op.replaces and op.map in _FIRST) for op in fill)
        return [step for step in ((fill, switch) if grows else (fill + switch,)) if step]

    def sweep(self, stamp: int) -> Step:
        """Removes what became stale in plans up to `stamp`; to be called when no packet can be using it any more."""
        step: Step = []
        for (name, key), when in list(self._stale.items()):
            if when > stamp:
                break
            del self._stale[name, key]
            self._remove(step, name, key)
            if name == GUARDED and isinstance(key, Frontend):
                self._sources.pop(key, None)
            if isinstance(key, Frontend):
                self._last_counts.pop((name, key), None)
        return step

    def _list(self, key: ListKey, new: Sequence[Backend], fill: Step, switch: Step) -> None:
        number = self.numbers.get(key)
        if number is None:
            if not new:
                return
            number = self.numbers.assign(key)
            keeper = self.numbers.keeper(number)
            if keeper is not None and keeper in self.maps[KEEPERS]:
                self._stale.pop((KEEPERS, keeper), None)
            elif keeper is not None:
                self.maps[KEEPERS][keeper] = None
                fill.append(Keep(*keeper))
        old = self._live.get(number, [])
        live = arrange(old, new)
        held = self.maps[ENDPOINTS]
        if not old and not any((number, index) in held for index in range(len(live))):
            for first in range(0, len(live), FILLED_AT_ONCE):
                part = Fill(number, first, tuple(live[first : first + FILLED_AT_ONCE]))
                held.update(filled(part))
                fill.append(part)
        else:
            for index, backend in enumerate(live):
                if index >= len(old) or old[index] != backend:
                    self._put(fill, ENDPOINTS, (number, index), backend)
        for index in range(len(live), len(old)):
            self._retire(ENDPOINTS, (number, index))
        if key.affinity:
            self._places(number, set(old), set(live), fill, switch)
        if live:
            self._live[number] = live
        else:
            self._live.pop(number, None)

    def _places(self, number: int, old: set[Backend], new: set[Backend], fill: Step, switch: Step) -> None:
        """Who leaves goes at once: a client whose record leads nowhere chooses anew."""
        for backend in sorted(new):
            if (number, backend) not in self.maps[IDS]:
                place = self.numbers.place(number, backend)
                self._put(fill, PLACES, (number, place), backend)
                self._put(fill, IDS, (number, backend), place)
        for backend in sorted(old - new):
            gone = self.maps[IDS].get((number, backend))
            if gone is None:  # somebody took it away
                continue
            self._remove(switch, IDS, (number, backend))
            self._remove(switch, PLACES, (number, gone))
            self.numbers.leave(number, backend)

    def _forget(self, key: ListKey) -> None:
        """A list is no more; if it was the last one with its time-out, that one's chain goes, too."""
        number = self.numbers.release(key)
        keeper = self.numbers.keeper(number) if number is not None else None
        if keeper is not None and not self.numbers.in_use(keeper):
            self._retire(KEEPERS, keeper)

    def _frontend(self, table: ServiceTable, frontend: Frontend, fill: Step, switch: Step) -> None:
        entry = table.frontends.get(frontend)
        self._guard(frontend, entry.sources if entry is not None else (), fill)
        self._choice(COUNTS, LISTS, frontend, entry.list if entry is not None else None, table, fill, switch)
        self._choice(NEAR_COUNTS, NEAR_LISTS, frontend, entry.near if entry is not None else None, table, fill, switch)
        empty = entry.empty if entry is not None and not table.lists[entry.list] else None
        self._member(REFUSED, frontend, empty is Empty.REJECT, switch, switch)
        self._member(DROPPED, frontend, empty is Empty.DROP, switch, switch)
        if entry is not None and entry.masquerade:
            self._put(fill, MASQUERADED, frontend, None)
        elif frontend in self.maps[MASQUERADED]:
            self._retire(MASQUERADED, frontend)

    def _choice(
        self,
        counts: str,
        lists: str,
        frontend: Frontend,
        key: ListKey | None,
        table: ServiceTable,
        fill: Step,
        switch: Step,
    ) -> None:
        """Which list a frontend chooses from, in one of the two pairs of maps that say so."""
        backends = table.lists[key] if key is not None else ()
        number = self.numbers.get(key) if key is not None else None
        if backends and number is not None:
            held = self.maps[lists].get(frontend)
            if held is None or held == number:
                self._put(fill, lists, frontend, number)
            else:
                self._pad(number, self.maps[counts].get(frontend, self._last_counts.get((lists, frontend), 0)), fill)
                self._put(switch, lists, frontend, number)
            if len(backends) not in self.maps[DISPATCH]:
                fill.append(Size(len(backends)))
                self.maps[DISPATCH][len(backends)] = None
            self._put(switch, counts, frontend, len(backends))
        elif frontend in self.maps[counts]:
            self._last_counts[lists, frontend] = self.maps[counts][frontend]
            self._remove(switch, counts, frontend)
            self._retire(lists, frontend)

    def _guard(self, frontend: Frontend, sources: Sequence[str], fill: Step) -> None:
        """Prefixes of one frontend must not overlap, so old ones go in the transaction in which others come."""
        held = self._sources.get(frontend, set())
        if sources:
            for prefix in sorted(held.difference(sources)):
                self._stale.pop((ALLOWED, (frontend, prefix)), None)
                self._remove(fill, ALLOWED, (frontend, prefix))
            for prefix in sources:
                self._put(fill, ALLOWED, (frontend, prefix), None)
            self._put(fill, GUARDED, frontend, None)
            self._sources[frontend] = set(sources)
        elif held or frontend in self.maps[GUARDED]:
            self._retire(GUARDED, frontend)
            for prefix in held:
                self._retire(ALLOWED, (frontend, prefix))

    def _pad(self, number: int, count: int, fill: Step) -> None:
        """Repeats a list's backends up to `count` indexes, for packets that still go by that count."""
        live = self._live[number]
        for index in range(len(live), count):
            self._put(fill, ENDPOINTS, (number, index), live[index % len(live)])
            self._retire(ENDPOINTS, (number, index))

    def _member(self, name: str, key: Hashable, wanted: bool, into: Step, out_of: Step) -> None:
        if wanted:
            self._put(into, name, key, None)
        else:
            self._remove(out_of, name, key)

    def _put(self, step: Step, name: str, key: Hashable, value: Any) -> None:
        held = self.maps[name]
        if self._stale:
            self._stale.pop((name, key), None)
        before = held.get(key, _ABSENT)
        if before is not _ABSENT and before == value:
            return
        step.append(Put(name, key, value, before is not _ABSENT))
        held[key] = value

    def _remove(self, step: Step, name: str, key: Hashable) -> None:
        if key in self.maps[name]:
            del self.maps[name][key]
            step.append(Remove(name, key))

    def _retire(self, name: str, key: Hashable) -> None:
        self._stale.pop((name, key), None)
        self._stale[name, key] = self.stamp


def arrange(old: Sequence[Backend], new: Sequence[Backend]) -> list[Backend]:
    """The new backends in an order that differs from the old in as few places as can be.

    Who stays keeps its place; who comes takes the place of one who goes, else the end; what is still open then is
    filled from the end. A backend may be there several times.
    """
    if not old:
        return list(new)
    wanted = Counter(new)
    slots: list[Backend | None] = []
    for backend in old:
        keep = wanted[backend] > 0
        slots.append(backend if keep else None)
        wanted[backend] -= keep
    holes = [index for index, backend in enumerate(slots) if backend is None]
    holes.reverse()
    for backend in new:
        if wanted[backend] > 0:
            wanted[backend] -= 1
            if holes:
                slots[holes.pop()] = backend
            else:
                slots.append(backend)
    spare = [backend for backend in slots[len(new) :] if backend is not None]
    return [backend if backend is not None else spare.pop() for backend in slots[: len(new)]]
