"""Which cluster IPs and node ports are taken. Called by the Service strategy; rebuilt from the Services at start.

The store is one process with one order of writes, so what is taken is a set in memory and taking is a plain function.
Whoever takes something gives it back with `free_*` if its object is not stored.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from skerry.api.allocation import PortRange, Random, ServiceRange
from skerry.api.types import core

SERVICE_CIDR = "10.96.0.0/12"


class Taken(ValueError):
    """The value cannot be had; the text says why, in upstream's words (S40, S43)."""


class Full(Exception):
    """Nothing is free."""


class ServiceAllocator:
    """The ranges of one cluster (the first CIDR is the primary family) and what is taken of them."""

    def __init__(
        self, cidrs: Sequence[str] = (SERVICE_CIDR,), ports: PortRange | None = None, chance: Random | None = None
    ) -> None:
        self.ranges = {one.family: one for one in map(ServiceRange, cidrs)}
        self.ports = ports or PortRange()
        self._chance: Random = chance or random.Random()
        self._ips: dict[str, set[int]] = {family: set() for family in self.ranges}
        self._ports: set[int] = set()
        self._reserved: set[str] = set()

    @property
    def families(self) -> list[str]:
        """The families of the cluster, the primary first."""
        return list(self.ranges)

    def statistics(self) -> dict[str, int]:
        """How many addresses and ports are taken."""
        return {"ips": sum(map(len, self._ips.values())), "ports": len(self._ports)}

    def rebuild(self, services: Iterable[core.Service], reserved: Iterable[str] = ()) -> None:
        """Takes what these Services hold, and nothing else; what two of them hold or what is out of range is kept.

        `reserved`: addresses that somebody else holds.
        """
        for used in self._ips.values():
            used.clear()
        self._ports.clear()
        self._reserved.clear()
        for service in services:
            for ip in service.spec.cluster_i_ps or [service.spec.cluster_ip]:
                for family, one in self.ranges.items():
                    if one.valid(ip):
                        self._ips[family].add(one.number(ip))
            self._ports.update(ports_of(service))
        for ip in reserved:
            self.reserve(ip)

    def take_ip(self, family: str, ip: str = "") -> str:
        """This address, or some free one. Taken or Full if that cannot be."""
        known, used = self.ranges[family], self._ips[family]
        if not ip:
            picked = known.pick(used, self._chance)
            if picked is None:
                raise Full("range is full")
            ip = picked
        elif not known.valid(ip):
            raise Taken(f"provided IP is not in the valid range. The range of valid IPs is {known}")
        elif known.number(ip) in used:
            raise Taken("provided IP is already allocated")
        used.add(known.number(ip))
        return ip

    def free_ip(self, ip: str) -> None:
        """Gives an address back; one that is not taken is fine."""
        for family, known in self.ranges.items():
            if known.valid(ip):
                self._ips[family].discard(known.number(ip))

    def reserve(self, ip: str) -> bool:
        """Takes an address for whoever is no Service; whether it is one of ours and was free."""
        for known, used in ((one, self._ips[family]) for family, one in self.ranges.items()):
            if known.valid(ip) and known.number(ip) not in used:
                used.add(known.number(ip))
                self._reserved.add(ip)
                return True
        return False

    def release(self, ip: str) -> None:
        """Gives back what was reserved; what a Service has stays taken."""
        if ip in self._reserved:
            self._reserved.discard(ip)
            self.free_ip(ip)

    def take_port(self, port: int = 0) -> int:
        """This port, or some free one. Taken or Full if that cannot be."""
        if not port:
            picked = self.ports.pick(self._ports, self._chance)
            if picked is None:
                raise Full("range is full")
            port = picked
        elif port not in self.ports:
            raise Taken(f"provided port is not in the valid range. The range of valid ports is {self.ports}")
        elif port in self._ports:
            raise Taken("provided port is already allocated")
        self._ports.add(port)
        return port

    def free_port(self, port: int) -> None:
        """Gives a port back; one that is not taken is fine."""
        self._ports.discard(port)


def ports_of(service: core.Service) -> set[int]:
    """Every port of the node port range that a Service holds, its health check port too (S46)."""
    held = {one.node_port for one in service.spec.ports} | {service.spec.health_check_node_port}
    return held - {0}
