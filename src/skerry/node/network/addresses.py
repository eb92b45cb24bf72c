"""Which address a new pod gets. Pure.

Called by the runtime's client. Next-fit: the search goes on after the address given last, so that a new pod does not
get the address of one that has just gone (clients and caches may still speak to that).
"""

from __future__ import annotations

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

    def allocate(self) -> str:
        """An address that nobody has, e.g. "10.244.1.2". NoAddress if there is none."""
        for step in range(self._count):
            place = (self._next + step) % self._count
            if place not in self._used:
                self._used.add(place)
                self._next = place + 1
                return str(ipaddress.IPv4Address(self._first + place))
        raise NoAddress(f"no free address in {self._cidr}: {len(self._used)} are in use")

    def release(self, address: str) -> None:
        """Takes an address back. One that was not given: nothing."""
        self._used.discard(int(ipaddress.IPv4Address(address)) - self._first)

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._used)
