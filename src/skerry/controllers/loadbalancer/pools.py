"""The addresses that balancers are given out of a ConfigMap's pools: what is written there, and what is free. Pure.

Called by controller.py. Each key of the ConfigMap kube-system/load-balancer-pools is a pool's name; its value has
ranges, one a line or with commas between: 192.168.7.192/28, 192.168.7.200-192.168.7.209, fd00:7::/112, one address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

NAMESPACE, NAME = "kube-system", "load-balancer-pools"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Bad(ValueError):
    """What is wrong with a range, in a sentence."""


@dataclass(frozen=True)
class Range:
    """From `first` to `last`, which are of one family."""

    first: _Address
    last: _Address

    def __contains__(self, address: object) -> bool:
        return type(address) is type(self.first) and int(self.first) <= int(address) <= int(self.last)

    def __len__(self) -> int:
        return min(int(self.last) - int(self.first) + 1, 1 << 62)

    def __iter__(self) -> Iterator[str]:
        kind = type(self.first)
        return (str(kind(number)) for number in range(int(self.first), int(self.last) + 1))


@dataclass(frozen=True)
class Pools:
    """Ranges of all pools, in the order of their names. Without any there are no pools."""

    ranges: tuple[Range, ...] = ()
    mode = "VIP"

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, address: object) -> bool:
        try:
            found = ipaddress.ip_address(str(address))
        except ValueError:
            return False
        return any(found in one for one in self.ranges)

    @property
    def where(self) -> str:
        """What an address that is asked for has to be in."""
        return f"a pool of ConfigMap {NAMESPACE}/{NAME}"

    def addresses(self, family: str) -> Iterator[str]:
        """Those of a family, in the order in which they are given out."""
        return (address for one in self.ranges if _family(one) == family for address in one)

    def families(self, wanted: list[str]) -> list[str]:
        """Those of a Service's families of which there are addresses."""
        found = {_family(one) for one in self.ranges}
        return [one for one in wanted if one in found]

    def exhausted(self, wanted: list[str]) -> str:
        """Why a Service of these families gets no address."""
        families = self.families(wanted)
        if not families:
            return f"the pools of ConfigMap {NAMESPACE}/{NAME} have no {' or '.join(wanted)} addresses"
        count = sum(len(one) for one in self.ranges if _family(one) in families)
        return f"all {count} {' and '.join(families)} addresses of ConfigMap {NAMESPACE}/{NAME} are in use"


def read(data: Mapping[str, str]) -> tuple[Pools, list[str]]:
    """The pools that a ConfigMap says, and a sentence for each range that is left out because it is none."""
    ranges, problems = [], []
    for pool in sorted(data):
        for text in data[pool].replace(",", "\n").split("\n"):
            written = text.partition("#")[0].strip()
            if not written:
                continue
            try:
                ranges.append(_range(written))
            except ValueError as error:
                problems.append(f'pool {pool}: "{written}" is left out: {error}')
    return Pools(tuple(ranges)), problems


def _range(text: str) -> Range:
    first, dash, last = (one.strip() for one in text.partition("-"))
    if dash:
        found = Range(ipaddress.ip_address(first), ipaddress.ip_address(last))
        if type(found.first) is not type(found.last) or int(found.last) < int(found.first):
            raise Bad("it has to go from an address to a higher one")
    else:
        network = ipaddress.ip_network(text)
        found = Range(network[0], network[-1])
    for one in (found.first, found.last):
        if one.is_loopback or one.is_multicast or one.is_unspecified or one.is_link_local:
            raise Bad(f"{one} is no address that balancers can have")
    return found


def _family(one: Range) -> str:
    return "IPv6" if one.first.version == 6 else "IPv4"
