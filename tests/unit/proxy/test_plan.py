"""The order of changes in the kernel's maps: no packet may fall between two of them.

A packet looks its frontend's count up, then its list, then (list, index), while transactions go on; the tests replay
every such packet over all states that the kernel goes through.
"""

from __future__ import annotations

import copy
import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.proxy.nftables import steps
from skerry.proxy.nftables.numbers import FIRST_LIST, SERVICE_PORT, SLOT_SHIFT, SLOTS, Numbers
from skerry.proxy.nftables.plan import Planner, arrange
from skerry.proxy.nftables.steps import Maps, Put, Remove, Size, apply
from skerry.proxy.table import Backend, Change, Empty, Entry, Frontend, ListKey, Scope, ServiceTable

FRONTENDS = [Frontend("10.96.0.1", "TCP", 80), Frontend("10.96.0.2", "TCP", 80), Frontend("10.243.0.2", "TCP", 30080)]
KEYS = [
    ListKey("default/web", "x", "TCP", Scope.CLUSTER),
    ListKey("default/web", "y", "TCP", Scope.CLUSTER, 10),
    ListKey("default/web", "y", "TCP", Scope.LOCAL, 10),
    ListKey("default/web", "x", "TCP", Scope.CLUSTER, 20),
]
SOURCES = st.sampled_from([(), (), ("10.0.0.0/8",), ("10.0.0.0/16", "10.2.0.0/16"), ("10.2.0.0/15",)])
BACKENDS = [Backend(f"10.244.0.{last}", 80) for last in range(1, 7)]
F, L = FRONTENDS[0], KEYS[0]


class Kernel:
    """Plays the kernel: does what it is told and remembers every state in between."""

    def __init__(self) -> None:
        self.planner = Planner()
        self.maps: Maps = {name: {} for name in steps.MAPS}
        self.states: list[Maps] = []
        self.steps: list[steps.Step] = []

    def program(self, table: ServiceTable, change: Change | None = None) -> list[steps.Step]:
        """Does a change; `states` are then those from before it to after it."""
        self.states = [copy.deepcopy(self.maps)]
        planned = self.planner.plan(table, change if change is not None else table.everything())
        for step in planned:
            self._do(step)
        return planned

    def sweep(self) -> steps.Step:
        step = self.planner.sweep(self.planner.stamp)
        self._do(step)
        return step

    def _do(self, step: steps.Step) -> None:
        apply(self.maps, step)
        self.states.append(copy.deepcopy(self.maps))
        assert self.planner.maps[steps.ENDPOINTS].keys() >= self.maps[steps.ENDPOINTS].keys()


def table_of(lists: dict[ListKey, list[Backend]], frontends: dict[Frontend, Entry]) -> ServiceTable:
    return ServiceTable(frontends=frontends, lists={key: tuple(found) for key, found in lists.items()})


def simple(*backends: Backend) -> ServiceTable:
    return table_of({L: list(backends)}, {F: Entry(L, Empty.REJECT, masquerade=False)})


def chosen(states: list[Maps], frontend: Frontend, counts: str = steps.COUNTS, lists: str = steps.LISTS) -> set[Any]:
    """Whatever packets can get that look up the count, the list and the backend in states of non-decreasing age.

    None: there was no count, so it is no service's packet; "miss": it left the end of a chain.
    """
    found: set[Any] = set()
    for first in range(len(states)):
        count = states[first][counts].get(frontend)
        if count is None:
            found.add(None)
            continue
        for second in range(first, len(states)):
            if count not in states[second][steps.DISPATCH]:
                found.add("miss")
            number = states[second][lists].get(frontend, count)
            for third in range(second, len(states)):
                for index in range(count):
                    found.add(states[third][steps.ENDPOINTS].get((number, index), "miss"))
    return found


def test_growing_adds_elements_and_then_raises_the_count() -> None:
    kernel = Kernel()
    kernel.program(simple(*BACKENDS[:1]))
    assert kernel.program(simple(*BACKENDS[:2])) == [
        [Put(steps.ENDPOINTS, (FIRST_LIST, 1), BACKENDS[1], replaces=False), Size(2)],
        [Put(steps.COUNTS, F, 2, replaces=True)],
    ]
    assert kernel.sweep() == []


def test_shrinking_fills_the_hole_lowers_the_count_and_sweeps_the_last_index_later() -> None:
    kernel = Kernel()
    kernel.program(simple(*BACKENDS[:2]))
    kernel.program(simple(*BACKENDS[:3]))
    assert kernel.program(simple(*BACKENDS[1:3])) == [
        [
            Put(steps.ENDPOINTS, (FIRST_LIST, 0), BACKENDS[2], replaces=True),
            Put(steps.COUNTS, F, 2, replaces=True),
        ]
    ]
    assert kernel.sweep() == [Remove(steps.ENDPOINTS, (FIRST_LIST, 2))]


def test_replacing_one_backend_is_one_element() -> None:
    kernel = Kernel()
    kernel.program(simple(*BACKENDS[:3]))
    assert kernel.program(simple(BACKENDS[0], BACKENDS[5], BACKENDS[2])) == [
        [Put(steps.ENDPOINTS, (FIRST_LIST, 1), BACKENDS[5], replaces=True)]
    ]


def test_a_list_that_grows_again_before_the_sweep_takes_its_index_back() -> None:
    kernel = Kernel()
    kernel.program(simple(*BACKENDS[:2]))
    kernel.program(simple(*BACKENDS[:1]))
    kernel.program(simple(BACKENDS[0], BACKENDS[4]))
    assert kernel.sweep() == []
    assert kernel.maps[steps.ENDPOINTS] == {(FIRST_LIST, 0): BACKENDS[0], (FIRST_LIST, 1): BACKENDS[4]}


def test_a_sweep_leaves_what_became_stale_after_its_stamp() -> None:
    kernel = Kernel()
    kernel.program(simple(*BACKENDS[:3]))
    kernel.program(simple(*BACKENDS[:2]))
    early = kernel.planner.stamp
    kernel.program(simple(*BACKENDS[:1]))
    assert kernel.planner.sweep(early) == [Remove(steps.ENDPOINTS, (FIRST_LIST, 2))]
    assert kernel.planner.stale == 1


@pytest.mark.parametrize(("empty", "name"), [(Empty.REJECT, steps.REFUSED), (Empty.DROP, steps.DROPPED)])
def test_p11_p12_without_backends_a_frontend_is_refused_or_dropped(empty: Empty, name: str) -> None:
    kernel = Kernel()
    kernel.program(simple(*BACKENDS[:1]))
    kernel.program(table_of({L: []}, {F: Entry(L, empty, masquerade=False)}))
    assert F not in kernel.maps[steps.COUNTS]
    assert F in kernel.maps[name]
    kernel.program(simple(*BACKENDS[:1]))
    kernel.sweep()
    assert kernel.maps[steps.COUNTS] == {F: 1}
    assert F not in kernel.maps[name]


def test_p15_masquerading_starts_before_the_frontend_and_ends_after_it() -> None:
    kernel = Kernel()
    entry = Entry(L, Empty.REJECT, masquerade=True)
    kernel.program(table_of({L: BACKENDS[:1]}, {F: entry}))
    assert all(steps.COUNTS not in state or F in state[steps.MASQUERADED] for state in kernel.states[1:])
    gone = Change({F}, {L})
    kernel.program(ServiceTable(), gone)
    assert F in kernel.maps[steps.MASQUERADED]
    kernel.sweep()
    assert all(not held for name, held in kernel.maps.items() if name != steps.DISPATCH)


def test_what_does_not_change_sends_nothing() -> None:
    kernel = Kernel()
    table = simple(*BACKENDS)
    kernel.program(table)
    assert kernel.program(table) == []


def test_the_model_refuses_what_the_kernel_would() -> None:
    maps: Maps = {name: {} for name in steps.MAPS}
    with pytest.raises(KeyError):
        apply(maps, [Remove(steps.COUNTS, F)])
    with pytest.raises(KeyError):
        apply(maps, [Put(steps.COUNTS, F, 1, replaces=True)])


@given(st.lists(st.sampled_from(BACKENDS)), st.lists(st.sampled_from(BACKENDS)))
def test_arranging_keeps_who_stays_where_they_are(old: list[Backend], new: list[Backend]) -> None:
    """Weights repeat a backend, so lists are multisets."""
    found = arrange(old, new)
    assert sorted(found) == sorted(new)
    common = sum(min(old.count(one), new.count(one)) for one in set(new))
    comers = len(new) - common
    changed = sum(1 for index, one in enumerate(found) if index >= len(old) or old[index] != one)
    moved = max(0, min(len(old), len(old) - len(new)))  # at most as many as the list shrinks by fill a hole
    assert changed <= comers + moved


@st.composite
def tables(draw: st.DrawFn) -> ServiceTable:
    backends = st.lists(st.sampled_from(BACKENDS), max_size=6)
    lists = {key: draw(backends) for key in KEYS if draw(st.integers(0, 3))}
    frontends = {}
    for frontend in FRONTENDS:
        if lists and draw(st.integers(0, 3)):
            key = draw(st.sampled_from(list(lists)))
            near = draw(st.sampled_from([None, *list(lists)]))
            empty = draw(st.sampled_from(list(Empty)))
            frontends[frontend] = Entry(key, empty, draw(st.booleans()), near, draw(SOURCES))
    found = table_of(lists, frontends)
    found.addresses = {one.address: 1 for one in frontends}
    found.hairpins = {one.address: 1 for each in lists.values() for one in each}
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(tables(), st.booleans()), min_size=1, max_size=8))
def test_no_packet_misses_and_none_goes_where_it_should_not(tables: list[tuple[ServiceTable, bool]]) -> None:
    kernel = Kernel()
    before = ServiceTable()
    for table, sweeps in tables:
        change = before.everything()
        change.add(table.everything())
        kernel.program(table, change)
        for frontend in FRONTENDS:
            old, new = set(before.backends(frontend)), set(table.backends(frontend))
            seen = chosen(kernel.states, frontend)
            # Between two lookups its list may change under a packet, but it is one of the lists that the frontend has.
            keys = [each.frontends[frontend].list for each in (before, table) if frontend in each.frontends]
            allowed: set[Any] = {one for key in keys for each in (before, table) for one in each.lists.get(key, ())}
            if not old or not new:
                allowed.add(None)
            assert seen <= allowed, f"{frontend}: {seen - allowed}"
            assert chosen(kernel.states[-1:], frontend) == (new or {None})  # nothing new for who is gone
            empty = table.frontends[frontend].empty if frontend in table.frontends and not new else None
            assert (frontend in kernel.maps[steps.REFUSED]) == (empty is Empty.REJECT)
            assert (frontend in kernel.maps[steps.DROPPED]) == (empty is Empty.DROP)
            assert_near(kernel, before, table, frontend)
            if frontend in table.frontends:
                assert not table.frontends[frontend].masquerade or frontend in kernel.maps[steps.MASQUERADED]
        assert kernel.maps == kernel.planner.maps
        assert_sticky(kernel.maps)
        assert_guarded(kernel.states, before, table)
        if sweeps:
            kernel.sweep()
            assert_clean(kernel.maps, table)
            for frontend in FRONTENDS:
                assert chosen([kernel.maps], frontend) == (set(table.backends(frontend)) or {None})
        before = table


def assert_near(kernel: Kernel, before: ServiceTable, table: ServiceTable, frontend: Frontend) -> None:
    """The same for clients on the node, who may also be sent on to what all others choose from."""
    near = [each.frontends[frontend].near for each in (before, table) if frontend in each.frontends]
    allowed = {one for key in near if key for each in (before, table) for one in each.lists.get(key, ())}
    assert chosen(kernel.states, frontend, steps.NEAR_COUNTS, steps.NEAR_LISTS) <= {*allowed, None}
    key = table.frontends[frontend].near if frontend in table.frontends else None
    wanted = set(table.lists[key]) if key is not None else set()
    assert chosen(kernel.states[-1:], frontend, steps.NEAR_COUNTS, steps.NEAR_LISTS) == (wanted or {None})


def assert_sticky(maps: Maps) -> None:
    """P23: a record leads to live backends of its list alone, and to the same one in both lists of a service port."""
    live: dict[int, set[Backend]] = {}
    for frontend, number in maps[steps.LISTS].items():
        if number & SLOTS and frontend in maps[steps.COUNTS]:
            live[number] = {maps[steps.ENDPOINTS][number, index] for index in range(maps[steps.COUNTS][frontend])}
    by_port: dict[tuple[int, int], Backend] = {}
    held: dict[int, set[Backend]] = {}
    for (number, place), backend in maps[steps.PLACES].items():
        assert by_port.setdefault((number & SERVICE_PORT, place), backend) == backend
        assert maps[steps.IDS][number, backend] == place
        held.setdefault(number, set()).add(backend)
        assert number >> SLOT_SHIFT in {slot for slot, _ in maps[steps.KEEPERS]}
    assert len(maps[steps.IDS]) == len(maps[steps.PLACES])
    for number, backends in live.items():
        assert held[number] == backends


def assert_guarded(states: list[Maps], before: ServiceTable, table: ServiceTable) -> None:
    """P20: prefixes of one frontend never overlap, and no address is open before its guard stands."""
    for maps in states:
        of_frontend: dict[Frontend, list[ipaddress.IPv4Network]] = {}
        for frontend, prefix in maps[steps.ALLOWED]:
            of_frontend.setdefault(frontend, []).append(ipaddress.IPv4Network(prefix))
        for found in of_frontend.values():
            assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))
    for frontend, entry in table.frontends.items():
        if entry.sources:
            assert frontend in states[-1][steps.GUARDED]
            assert {prefix for one, prefix in states[-1][steps.ALLOWED] if one == frontend} == set(entry.sources)
            if frontend not in before.frontends:
                assert all(frontend in maps[steps.GUARDED] for maps in states if frontend in maps[steps.COUNTS])


def assert_clean(maps: Maps, table: ServiceTable) -> None:
    """After a sweep there is nothing that the table does not ask for."""
    live = {one for one in table.frontends if table.backends(one)}
    assert set(maps[steps.COUNTS]) == set(maps[steps.LISTS]) == live
    assert len(maps[steps.ENDPOINTS]) == sum(len(found) for found in table.lists.values())
    assert set(maps[steps.ADDRESSES]) == set(table.addresses)
    assert set(maps[steps.HAIRPIN]) == set(table.hairpins)
    assert set(maps[steps.MASQUERADED]) == {one for one, entry in table.frontends.items() if entry.masquerade}
    assert set(maps[steps.GUARDED]) == {one for one, entry in table.frontends.items() if entry.sources}
    assert len(maps[steps.ALLOWED]) == sum(len(entry.sources) for entry in table.frontends.values())
    near = {one for one, entry in table.frontends.items() if entry.near and table.lists[entry.near]}
    assert set(maps[steps.NEAR_COUNTS]) == set(maps[steps.NEAR_LISTS]) == near
    sticky = {key: set(found) for key, found in table.lists.items() if key.affinity}
    assert len(maps[steps.PLACES]) == sum(map(len, sticky.values()))
    assert {seconds for _, seconds in maps[steps.KEEPERS]} >= {key.affinity for key, found in sticky.items() if found}
    assert {seconds for _, seconds in maps[steps.KEEPERS]} <= {key.affinity for key in sticky}


def test_p23_of_more_time_outs_than_slots_the_last_ones_get_the_nearest() -> None:
    numbers = Numbers()
    keys = [ListKey("default/web", "", "TCP", Scope.CLUSTER, seconds) for seconds in range(10, 2000, 1)]
    keepers = [numbers.keeper(numbers.assign(key)) for key in keys]
    assert len(set(keepers)) == 1023
    assert keepers[1023] == keepers[1022]
    numbers.release(keys[0])
    assert numbers.keeper(numbers.assign(ListKey("default/web", "", "TCP", Scope.CLUSTER, 5))) == (1, 5)


def test_numbers_come_round_and_skip_those_in_use() -> None:
    numbers = Numbers()
    first, other = (ListKey("default/web", name, "TCP", Scope.CLUSTER) for name in "ab")
    assert numbers.assign(first) == FIRST_LIST
    numbers.lists_above((1 << SLOT_SHIFT) - 4)
    assert numbers.assign(other) == (1 << SLOT_SHIFT) - 2
    numbers.release(other)
    assert numbers.assign(other) == FIRST_LIST + 2
