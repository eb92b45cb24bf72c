"""Which address a new pod gets. Pure.

Called by the runtime's client. Next-fit: the search goes on after the address given last, so that a new pod does not
get the address of one that has just gone (clients and caches may still speak to that). For the same reason addresses
that pods had in an earlier life of the node are taken last.
"""

from __future__ import annotations

import contextlib
import ipaddress


class NoAddress(Exception):
    """Every address is in use."""


class Addresses:
    """The addresses of one node's pod CIDR, from .2 on; .0, .1 and the last one are nobody's."""

    def __init__(self, cidr: str) -> None:
        self._cidr = cidr
        network = ipaddress.IPv4Network(cidr)
        self._first = int(network.network_address) + 2
        self._count = max(0, network.num_addresses - 3)
        self._next = 0
        self._used: set[int] = set()
        self._avoided: set[int] = set()

    def allocate(self) -> str:
        """An address that nobody has, e.g. "10.244.1.2". NoAddress if there is none."""
        places = [(self._next + step) % self._count for step in range(self._count)]
        for taken in (self._used | self._avoided, self._used):
            place = next((one for one in places if one not in taken), None)
            if place is not None:
                self._used.add(place)
                self._next = place + 1
                return str(ipaddress.IPv4Address(self._first + place))
        raise NoAddress(f"no free address in {self._cidr}: {len(self._used)} are in use")

    def avoid(self, address: str) -> None:
        """An address that the API, and so the rest of the cluster, may still take for some pod's; others: nothing."""
        with contextlib.suppress(ValueError):
            self._avoided.add(int(ipaddress.IPv4Address(address)) - self._first)

    def release(self, address: str) -> None:
        """Takes an address back. One that was not given: nothing."""
        self._used.discard(int(ipaddress.IPv4Address(address)) - self._first)

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._used)
