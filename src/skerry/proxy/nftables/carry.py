"""What packets wrote into a table that is replaced: which client has which backend (P23), and the totals.

Called by family.py. The new table has other numbers for its lists and places, so records are translated: by the
frontends that both tables know to lists, and by the backends to places.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from skerry.netlink import nft, nft_set
from skerry.netlink.nft import Request
from skerry.netlink.wire import NetlinkError
from skerry.proxy.nftables import encode, read, steps
from skerry.proxy.nftables.numbers import SERVICE_PORT, SLOTS
from skerry.proxy.nftables.plan import Planner
from skerry.proxy.table import ListKey, ServiceTable

AFFINITY, TOTALS = "affinity", "totals"
_SCOPE = 1


def carried(kernel: nft.Nft, old: str, new: str, planner: Planner, table: ServiceTable) -> Iterator[list[Request]]:
    """Transactions that write into the table `new`, which `planner` filled, what packets wrote into `old`.

    ValueError if that cannot be read.
    """
    try:
        lists = _lists(kernel, old, planner, table)
        made = {AFFINITY: list(_clients(kernel, old, planner, lists)), TOTALS: list(_totals(kernel, old, lists))}
    except (KeyError, IndexError, struct.error, NetlinkError) as error:
        raise ValueError(str(error)) from error
    for name, elements in made.items():
        for at in range(0, len(elements), encode.ELEMENTS_A_BATCH // 2):
            yield list(nft_set.add_elements(new, name, elements[at : at + encode.ELEMENTS_A_BATCH // 2]))


def _lists(kernel: nft.Nft, old: str, planner: Planner, table: ServiceTable) -> dict[int, tuple[int, ListKey]]:
    """The numbers that lists have now, by those that they had; both without the scope."""
    found = {}
    for name in (steps.LISTS, steps.NEAR_LISTS):
        for frontend, number in read.elements(kernel, old, name).items():
            entry = table.frontends.get(frontend)
            key = entry and (entry.list if name == steps.LISTS else entry.near)
            now = planner.numbers.get(key) if key else None
            if key and now is not None:
                found[number & SERVICE_PORT] = (now & SERVICE_PORT, key)
    return found


def _clients(kernel: nft.Nft, old: str, planner: Planner, lists: dict[int, tuple[int, ListKey]]) -> Iterator[bytes]:
    held = read.elements(kernel, old, steps.PLACES)
    backends = {(number & SERVICE_PORT, place): backend for (number, place), backend in held.items()}
    places = {(number & SERVICE_PORT, backend): place for (number, backend), place in planner.maps[steps.IDS].items()}
    for one in nft_set.dump_elements(kernel, old, AFFINITY):
        number, place = encode.WORD.unpack(one.key[-4:])[0], encode.WORD.unpack(one.data)[0]
        if number not in lists or not number & SLOTS or not one.expires:
            continue
        now, key = lists[number]
        there = places.get((now, backends[number, place])) if (number, place) in backends else None
        if there is not None and key.affinity:
            left = min(one.expires, key.affinity * 1000)
            client = one.key[:-4] + encode.WORD.pack(now)
            yield nft_set.passing_element(client, encode.WORD.pack(there), key.affinity, left)


def _totals(kernel: nft.Nft, old: str, lists: dict[int, tuple[int, ListKey]]) -> Iterator[bytes]:
    for one in nft_set.dump_elements(kernel, old, TOTALS):
        number = encode.WORD.unpack(one.key[:4])[0]
        if number & SERVICE_PORT in lists:
            now = lists[number & SERVICE_PORT][0] | number & _SCOPE
            yield nft_set.counted_element(encode.WORD.pack(now) + one.key[4:], one.packets)
