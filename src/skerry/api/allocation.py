"""Which cluster IP or node port to take next (S38, S39, S42). Pure; the API server keeps what is in use.

A range is cut in two bands: what is picked automatically comes from the upper one while it lasts, so that people can
choose fixed values in the lower one without surprises.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Mapping
from typing import Protocol

FAMILY, MANAGED_BY = "ipaddress.kubernetes.io/ip-family", "ipaddress.kubernetes.io/managed-by"
FOR_SERVICES = "ipallocator.k8s.io"
"""Labels of IPAddress objects, and the value of the second for those of Services."""


def for_service(labels: Mapping[str, str]) -> bool:
    """Whether an IPAddress only tells what a Service has."""
    return labels.get(MANAGED_BY) == FOR_SERVICES


class Random(Protocol):
    """What random.Random offers and the pickers need."""

    def randrange(self, stop: int, /) -> int: ...


def band(size: int, divisor: int, low: int, high: int) -> int:
    """How many values at a range's beginning are left to people: size/divisor, kept within low and high."""
    return 0 if size <= low else min(max(low, size // divisor), high)


def _scan(first: int, last: int, used: Container[int], random: Random) -> int | None:
    """A free value of [first, last]: a random one, or the next free one after it, going round."""
    count = last - first + 1
    if count <= 0:
        return None
    start = random.randrange(count)
    for step in range(count):
        value = first + (start + step) % count
        if value not in used:
            return value
    return None


class PortRange:
    """Node ports `first` to `last`, both included."""

    def __init__(self, first: int = 30000, last: int = 32767) -> None:
        self.first, self.last = first, last
        self.offset = band(last - first + 1, 32, 16, 128)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def pick(self, used: Container[int], random: Random) -> int | None:
        """A free port, from the upper band if there is one (S42). None if the range is full."""
        middle = self.first + self.offset
        found = _scan(middle, self.last, used, random)
        return _scan(self.first, middle - 1, used, random) if found is None else found


class ServiceRange:
    """The cluster IPs of one family. Addresses are canonical text; `used` holds them as integers (see `number`)."""

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.ip_network(cidr, strict=False)
        self.family = f"IPv{self.network.version}"
        base, size = int(self.network.network_address), self.network.num_addresses
        if self.network.version == 6:
            # Of a huge IPv6 range only the first 2^64 addresses are used (S38).
            size = min(size, 2**64)
            self._first, self._last = base + 1, base + size - 1
        else:
            self._first, self._last = base + 1, base + size - 2
        if self._last < self._first:
            raise ValueError(f"the range {cidr} is too small for cluster IPs")
        self.offset = band(size, 16, 16, 256)

    def __str__(self) -> str:
        return str(self.network)

    @property
    def first(self) -> str:
        """The first usable address: the one of the `kubernetes` Service (K1)."""
        return self._text(self._first)

    @property
    def dynamic_first(self) -> str:
        """The first address of the upper band."""
        return self._text(self._first + self.offset)

    @property
    def last(self) -> str:
        """The last usable address."""
        return self._text(self._last)

    def _text(self, number: int) -> str:
        made = ipaddress.IPv4Address if self.network.version == 4 else ipaddress.IPv6Address
        return str(made(number))

    def number(self, ip: str) -> int:
        """An address as the integer that `used` holds. ValueError if it is none of this family."""
        made = ipaddress.IPv4Address if self.network.version == 4 else ipaddress.IPv6Address
        return int(made(ip))

    def valid(self, ip: str) -> bool:
        """Whether a Service may have this address."""
        try:
            return self._first <= self.number(ip) <= self._last
        except ValueError:
            return False

    def pick(self, used: Container[int], random: Random) -> str | None:
        """A free address, from the upper band if there is one (S39). None if the range is full."""
        middle = self._first + self.offset
        found = _scan(middle, self._last, used, random)
        if found is None:
            found = _scan(self._first, min(middle - 1, self._last), used, random)
        return None if found is None else self._text(found)
