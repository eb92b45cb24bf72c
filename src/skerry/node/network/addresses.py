"""Which addresses a new pod gets. Pure.

Called by the runtime's client. Next-fit: the search goes on after the address given last, so that a new pod does not
get the address of one that has just gone (clients and caches may still speak to that). For the same reason addresses
that pods had in an earlier life of the node are taken last.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

_MOST = 1 << 16
"""More addresses than any node has pods: of a larger range the first ones are used."""


class NoAddress(Exception):
    """Every address is in use."""


class Addresses:
    """The addresses of one node's pod ranges, one a family, from .2 (::2) on; .0, .1 and the last one are nobody's.

    A pod has the same place in each: 10.244.1.5 is fd00:10:244:1::5.
    """

    def __init__(self, cidrs: Sequence[str]) -> None:
        self._cidrs = cidrs
        self._networks = [ipaddress.ip_network(one) for one in cidrs]
        self._count = min(_MOST, *(max(0, one.num_addresses - 3) for one in self._networks))
        self._next = 0
        self._used: set[int] = set()
        self._avoided: set[int] = set()

    def allocate(self) -> tuple[str, ...]:
        """Addresses that nobody has, e.g. ("10.244.1.2",). NoAddress if there are none."""
        for taken in (self._used | self._avoided, self._used):
            places = ((self._next + step) % self._count for step in range(self._count))
            place = next((one for one in places if one not in taken), None)
            if place is not None:
                self._used.add(place)
                self._next = place + 1
                return tuple(str(one[place + 2]) for one in self._networks)
        raise NoAddress(f"no free address in {self._cidrs[0]}: {len(self._used)} are in use")

    def avoid(self, address: str) -> None:
        """An address that the API, and so the rest of the cluster, may still take for some pod's; others: nothing."""
        place = self._place(address)
        if place is not None:
            self._avoided.add(place)

    def release(self, addresses: Sequence[str]) -> None:
        """Takes a pod's addresses back. What was not given: nothing."""
        place = self._place(addresses[0])
        if place is not None:
            self._used.discard(place)

    def _place(self, address: str) -> int | None:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return None
        network = next((one for one in self._networks if found in one), None)
        return int(found) - int(network.network_address) - 2 if network is not None else None

    def __len__(self) -> int:
        """How many are in use."""
        return len(self._used)
