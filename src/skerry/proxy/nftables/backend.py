"""The nftables back end: a service table in the kernel of the network namespace it runs in, one table a family.

Called by server.py. family.py does the work; here a change is taken apart, and what another family did is not taken for
somebody else's doing.
"""

from __future__ import annotations

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
        self._families = {
            one.family: FamilyTable(one, nft.Nft(one.kernel_family, beside=self._nft), clock, linger) for one in shapes
        }

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
        for one in self._families.values():
            one.start(table)

    def program(self, table: ServiceTable, change: Change) -> None:
        """Makes the kernel follow a change. NetlinkError if it cannot be made to."""
        if len(self._families) == 1:
            (only,) = self._families.values()
            only.program(table, change)
            return
        for family, one in self._families.items():
            part = change.of(family)
            if part:
                one.program(table, part)

    def check(self, table: ServiceTable) -> bool:
        """Mends what somebody else did to our tables; True if there was anything. `table`: what was programmed last.

        While nobody else touches any table it costs one question to the kernel a family.
        """
        found = [one.check(table) for one in self._families.values()]
        return any(found)

    def misses(self) -> int:
        """Connections that left the end of a balancing chain: 0, or there is a bug."""
        return sum(one.misses() for one in self._families.values())

    def connections(self) -> list[Connections]:
        """How many connections each backend has been given since the tables were made."""
        return [each for one in self._families.values() for each in one.connections()]

    def close(self) -> None:
        """Lets go of the kernel; the tables stay, and so do their connections."""
        for one in self._families.values():
            one.close()
        self._nft.close()

    def remove(self) -> None:
        """Takes the tables out of the kernel."""
        for one in self._families.values():
            one.remove()
