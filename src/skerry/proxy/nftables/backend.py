"""The nftables back end: a service table in the kernel of the network namespace it runs in, one table a family.

Called by server.py. family.py does the work; here a change is taken apart, and what another family did is not taken for
somebody else's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator

from skerry.clock import Clock
from skerry.netlink import nft
from skerry.proxy.backend import Connections
from skerry.proxy.nftables.family import FamilyTable
from skerry.proxy.nftables.schema import Shape
from skerry.proxy.table import Change, Node, ServiceTable

LINGER = 0.05
"""Seconds for which a stale element stays: longer than a packet takes through the hooks, also on a stalled CPU."""


class Nftables:
    """Carries out service tables. Calls block for as long as the kernel works, usually some tens of microseconds."""

    mode = "nftables"

    def __init__(self, node: Node, clock: Clock, *, linger: float = LINGER) -> None:
        self._nft = nft.Nft()
        shapes = [Shape.of(node, family) for family in node.families]
        self._reader = nft.Nft()

        def table(shape: Shape) -> FamilyTable:
            kernel, reader = (nft.Nft(shape.kernel_family, beside=one) for one in (self._nft, self._reader))
            return FamilyTable(shape, kernel, reader, clock, linger)

        self._families = {one.family: table(one) for one in shapes}

    @property
    def changed(self) -> int:
        """Elements in which the tables that were adopted last differed from what they should be."""
        return sum(one.changed for one in self._families.values())

    @property
    def repairs(self) -> int:
        """How often somebody else's damage was found."""
        return sum(one.repairs for one in self._families.values())

    @property
    def rebuilds(self) -> int:
        """How often it could only be mended by building a table anew."""
        return sum(one.rebuilds for one in self._families.values())

    def start(self, table: ServiceTable) -> None:
        """Makes the kernel's tables this one, whatever is there. NetlinkError if the kernel refuses."""
        with self._alone():
            self._take_over(table)

    async def take_over(self, table: ServiceTable) -> None:
        """The same in a thread: it takes seconds for a big table. `table` must not change meanwhile."""
        with self._alone():
            await asyncio.to_thread(self._take_over, table)

    def _take_over(self, table: ServiceTable) -> None:
        for one in self._families.values():
            one.take_over(table)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        for one in self._families.values():
            one.prepare()
        collects = gc.isenabled()
        gc.disable()  # hundreds of thousands of new objects, none of them garbage: looking for some stops all threads
        try:
            yield
        finally:
            if collects:
                gc.enable()
            for one in self._families.values():
                one.finish()

    def program(self, table: ServiceTable, change: Change) -> None:
        """Makes the kernel follow a change. NetlinkError if it refuses: then the table has to be taken over anew."""
        if len(self._families) == 1:
            (only,) = self._families.values()
            only.program(table, change)
            return
        for family, one in self._families.items():
            part = change.of(family)
            if part:
                one.program(table, part)

    async def intact(self, _table: ServiceTable) -> bool:
        """Does the kernel hold what was written? If not, somebody else changed it, and it has to be taken over anew.

        While nobody else touches any table it costs one question to the kernel a family.
        """
        return all([await one.intact() for one in self._families.values()])

    def misses(self) -> int:
        """Connections that left the end of a balancing chain: 0, or there is a bug."""
        return sum(one.misses() for one in self._families.values())

    def connections(self) -> list[Connections]:
        """How many connections each backend has been given since the tables were made."""
        return [each for one in self._families.values() for each in one.connections()]

    def unswept(self) -> dict[str, int]:
        """How often the kernel refused a sweep, by family."""
        return {family: one.unswept for family, one in self._families.items()}

    def close(self) -> None:
        """Lets go of the kernel; the tables stay, and so do their connections."""
        for one in self._families.values():
            one.close()
        self._nft.close()
        self._reader.close()

    def remove(self) -> None:
        """Takes the tables out of the kernel."""
        for one in self._families.values():
            one.remove()
