"""How many connections each endpoint has been given, over all the elements that it has had in the kernel's maps.

Called by family.py. The kernel counts per element, and an element's count goes with it; so it is read right before and
added to what its backend had. Packets that choose it in those microseconds are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from skerry.netlink import nft, nft_set
from skerry.netlink.wire import NetlinkError
from skerry.proxy.backend import Connections
from skerry.proxy.nftables import plan, read, schema
from skerry.proxy.nftables.numbers import SERVICE_PORT
from skerry.proxy.nftables.plan import Planner
from skerry.proxy.table import Backend

_COUNTED = (plan.ENDPOINTS, plan.PLACES)
_SPARE = 1024


class Totals:
    """Remembers what elements that went had counted, for backends that are still there."""

    def __init__(self) -> None:
        self._before: Counter[tuple[int, Backend]] = Counter()

    def fold(self, kernel: nft.Nft, gone: Mapping[str, Sequence[bytes]]) -> None:
        """To be called before a transaction that deletes elements with these keys, by map."""
        for name in _COUNTED:
            keys = gone.get(name)
            if not keys:
                continue
            try:
                found = nft_set.get_elements(kernel, schema.TABLE, name, keys)
            except NetlinkError:  # somebody took one away: the transaction will be refused
                continue
            for one in found:
                if one.packets:
                    self._before[_name(one)] += one.packets

    def connections(self, kernel: nft.Nft, planner: Planner) -> Iterator[Connections]:
        """What the backends of all lists have had."""
        counts: Counter[tuple[int, Backend]] = Counter()
        for name in _COUNTED:
            for one in nft_set.dump_elements(kernel, schema.TABLE, name):
                counts[_name(one)] += one.packets
        for name_of in [one for one in self._before if one not in counts]:
            del self._before[name_of]
        ports = planner.numbers.ports()
        for (number, backend), count in counts.items():
            if number in ports:
                yield Connections(*ports[number], backend, count + self._before[number, backend])

    def crowded(self, planner: Planner) -> bool:
        """Are there many backends in here that may have left? `connections` forgets them."""
        return len(self._before) > 2 * len(planner.maps[plan.ENDPOINTS]) + _SPARE


def _name(one: nft_set.Element) -> tuple[int, Backend]:
    (number, _), backend = read.indexed(one)
    return number & SERVICE_PORT, backend
