"""What changes in the kernel's maps: the names of the maps, and the operations that steps are made of. Pure.

plan.py makes steps, encode.py makes messages of them, read.py and totals.py speak of the same maps.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import count, repeat
from typing import Any, NamedTuple

from skerry.proxy.table import Backend

COUNTS, LISTS, ENDPOINTS, DISPATCH = "counts", "lists", "endpoints", "dispatch"
NEAR_COUNTS, NEAR_LISTS = "near-counts", "near-lists"
ADDRESSES, REFUSED, DROPPED, MASQUERADED, HAIRPIN = "addresses", "refused", "dropped", "masqueraded", "hairpin"
GUARDED, ALLOWED = "guarded", "allowed"
IDS, PLACES, KEEPERS = "ids", "places", "keepers"

MAPS = (
    COUNTS,
    LISTS,
    NEAR_COUNTS,
    NEAR_LISTS,
    ENDPOINTS,
    DISPATCH,
    ADDRESSES,
    REFUSED,
    DROPPED,
    MASQUERADED,
    HAIRPIN,
    GUARDED,
    ALLOWED,
    IDS,
    PLACES,
    KEEPERS,
)


class Put(NamedTuple):
    """An element is now this; `replaces` one with the same key, in one transaction."""

    map: str
    key: Hashable
    value: Any
    replaces: bool


class Remove(NamedTuple):
    """An element goes."""

    map: str
    key: Hashable


class Fill(NamedTuple):
    """A list that nothing leads to yet has these backends from an index on: as many puts, but much quicker."""

    list: int
    first: int
    backends: tuple[Backend, ...]


class Size(NamedTuple):
    """A chain for lists of so many backends appears, with its element in `dispatch`."""

    backends: int


class Keep(NamedTuple):
    """A chain that remembers clients for so many seconds appears, with its element in `keepers`."""

    slot: int
    seconds: int


Op = Put | Remove | Fill | Size | Keep
Step = list[Op]
Maps = dict[str, dict[Any, Any]]
"""What the kernel holds, by map: counts {Frontend: int}, lists {Frontend: number}, endpoints {(number, index):
Backend}, dispatch {count: None}, ids {(number, Backend): place}, places {(number, place): Backend}, keepers {(slot,
seconds): None}, allowed {(Frontend, prefix): None}; the other sets have None as value, too."""


def apply(maps: Maps, step: Sequence[Op]) -> None:
    """Does to a model what the kernel does with a step. KeyError where the kernel would refuse."""
    for op in step:
        if isinstance(op, Fill):
            maps[ENDPOINTS].update(filled(op))
            continue
        if isinstance(op, Size):
            op = Put(DISPATCH, op.backends, None, replaces=False)
        elif isinstance(op, Keep):
            op = Put(KEEPERS, tuple(op), None, replaces=False)
        held = maps[op.map]
        if isinstance(op, Remove):
            del held[op.key]
        elif (op.key in held) != op.replaces:
            raise KeyError(op)
        else:
            held[op.key] = op.value


def filled(op: Fill) -> Iterator[tuple[tuple[int, int], Backend]]:
    """The elements of `endpoints` that a fill makes."""
    return zip(zip(repeat(op.list), count(op.first)), op.backends, strict=False)
