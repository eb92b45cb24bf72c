"""Whatever somebody did to the kernel's maps, a proxy that goes on from there mends all of it."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Hashable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.proxy import test_plan as plan
from tests.unit.proxy.test_plan import BACKENDS, FRONTENDS, Kernel, tables

from skerry.proxy.nftables import steps
from skerry.proxy.nftables.numbers import FIRST_LIST, SLOT_SHIFT
from skerry.proxy.nftables.plan import Planner
from skerry.proxy.nftables.steps import Maps, apply
from skerry.proxy.table import Frontend, ServiceTable

STRANGE = Frontend("10.96.0.99", "UDP", 1)
LISTS = [FIRST_LIST, FIRST_LIST + 2, FIRST_LIST | 1 << SLOT_SHIFT, FIRST_LIST + 3 | 1 << SLOT_SHIFT, 5]
SMALL = st.integers(0, 7)
frontends = st.sampled_from([*FRONTENDS, STRANGE])
lists, backends = st.sampled_from(LISTS), st.sampled_from(BACKENDS)
nothing = st.none()
addresses = st.sampled_from([*(one.address for one in BACKENDS), "10.96.0.1", "10.96.0.99"])
prefixes = st.sampled_from(["10.0.0.0/16", "10.7.0.0/16", "192.0.2.0/24"])

STRANGERS: dict[str, tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]] = {
    steps.COUNTS: (frontends, st.integers(1, 7)),
    steps.LISTS: (frontends, lists),
    steps.NEAR_COUNTS: (frontends, st.integers(1, 7)),
    steps.NEAR_LISTS: (frontends, lists),
    steps.ENDPOINTS: (st.tuples(lists, SMALL), backends),
    steps.ADDRESSES: (addresses, nothing),
    steps.REFUSED: (frontends, nothing),
    steps.DROPPED: (frontends, nothing),
    steps.MASQUERADED: (frontends, nothing),
    steps.HAIRPIN: (addresses, nothing),
    steps.GUARDED: (frontends, nothing),
    steps.ALLOWED: (st.tuples(frontends, prefixes), nothing),
    steps.IDS: (st.tuples(lists, backends), SMALL),
    steps.PLACES: (st.tuples(lists, SMALL), backends),
}
"""What somebody may write into each map. What leads to chains is compared with them, and then the table made anew."""


def overlaps(maps: Maps, key: tuple[Frontend, str]) -> bool:
    """Would the kernel refuse a prefix?"""
    new = ipaddress.ip_network(key[1])
    return any(one == key[0] and new.overlaps(ipaddress.ip_network(held)) for one, held in maps[steps.ALLOWED])


@st.composite
def damaged(draw: st.DrawFn, maps: Maps) -> Maps:
    """The maps after some elements were taken away, changed or added."""
    found = copy.deepcopy(maps)
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(list(STRANGERS)))
        keys, values = STRANGERS[name]
        there: list[Hashable] = sorted(found[name], key=repr)
        if there and draw(st.booleans()):
            del found[name][draw(st.sampled_from(there))]
            continue
        key, value = draw(keys), draw(values)
        if name != steps.ALLOWED or not overlaps(found, key):
            found[name][key] = value
    return found


@settings(max_examples=60, deadline=None)
@given(st.data(), tables(), st.none() | tables())
def test_every_damage_is_mended(data: st.DataObject, before: ServiceTable, after: ServiceTable | None) -> None:
    """Also if the Services changed while nobody looked."""
    kernel = Kernel()
    kernel.program(before)
    table = before if after is None else after
    maps = data.draw(damaged(kernel.maps))
    known = copy.deepcopy(maps)
    last = max((place for _, place in maps[steps.PLACES]), default=0)
    planner, planned = Planner.adopt(known, table, last_place=last)
    for step in planned:
        apply(maps, step)
        slots = [slot for slot, _ in maps[steps.KEEPERS]]
        assert len(set(slots)) == len(slots), "the kernel knows keepers by their slots alone"
    apply(maps, planner.sweep(planner.stamp))
    assert maps == planner.maps
    plan.assert_clean(maps, table)
    plan.assert_sticky(maps)
    plan.assert_guarded([maps], ServiceTable(), table)
    for frontend in FRONTENDS:
        entry = table.frontends.get(frontend)
        assert plan.chosen([maps], frontend) == (set(table.backends(frontend)) or {None})
        near = set(table.lists[entry.near]) if entry is not None and entry.near is not None else set()
        assert plan.chosen([maps], frontend, steps.NEAR_COUNTS, steps.NEAR_LISTS) == (near or {None})
    empty = {one for one in table.frontends if not table.backends(one)}
    assert set(maps[steps.REFUSED]) | set(maps[steps.DROPPED]) == empty
