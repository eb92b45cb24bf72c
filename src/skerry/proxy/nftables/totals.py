"""How many connections each endpoint has been given. Called by family.py.

Packets count themselves in the kernel's set `totals`, under the list and the backend that they were sent to; so a count
stays with its backend wherever in the list that moves. The first connection makes the element, and what no list has any
more is deleted here.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from skerry.netlink import nft, nft_set
from skerry.netlink.wire import NetlinkError
from skerry.proxy.backend import Connections
from skerry.proxy.nftables import encode, read, schema, steps
from skerry.proxy.nftables.carry import TOTALS
from skerry.proxy.nftables.numbers import SERVICE_PORT
from skerry.proxy.nftables.plan import Planner
from skerry.proxy.nftables.steps import Put, Remove, Step
from skerry.proxy.table import Backend

_SPARE = 1024


class Totals:
    """Reads the counts, and knows when many of them may be those of backends that left."""

    def __init__(self) -> None:
        self._left = 0

    def follow(self, step: Step) -> None:
        """To be called with each step that the kernel has done."""
        for op in step:
            if isinstance(op, Remove | Put) and op.map == steps.ENDPOINTS and (isinstance(op, Remove) or op.replaces):
                self._left += 1

    def crowded(self, planner: Planner) -> bool:
        """Are there many counts in the kernel that nobody asks for? `connections` deletes them."""
        return self._left > 2 * len(planner.maps[steps.ENDPOINTS]) + _SPARE

    def connections(self, kernel: nft.Nft, planner: Planner) -> Iterator[Connections]:
        """What the backends of all lists have had."""
        counts: Counter[tuple[int, Backend]] = Counter()
        ports = planner.numbers.ports()
        there = {(number & SERVICE_PORT, backend) for number, backend in planner.backends()}
        gone = []
        for one in nft_set.dump_elements(kernel, schema.TABLE, TOTALS):
            number, backend = read.identified(one.key)
            name = (number & SERVICE_PORT, backend)
            if name in there:
                counts[name] += one.packets
            else:
                gone.append(nft_set.element(one.key))
        for at in range(0, len(gone), encode.ELEMENTS_A_BATCH):
            part = gone[at : at + encode.ELEMENTS_A_BATCH]
            with contextlib.suppress(NetlinkError):  # somebody took one away
                kernel.commit(list(nft_set.delete_elements(schema.TABLE, TOTALS, part)))
        self._left = 0
        for number, backend in there:
            if number in ports:
                yield Connections(*ports[number], backend, counts[number, backend])
