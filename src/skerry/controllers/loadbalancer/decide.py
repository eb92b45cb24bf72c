"""Which address a Service of type LoadBalancer gets, and what of a change its owner is told (B1-B6). Pure.

In a contained cluster an address is one of the machine's loopback, where every program of the machine finds it and
nobody else does. A cluster has a block of its own there, chosen by its name: two clusters of one machine rarely meet.
Where pools are configured (pools.py), addresses come out of these instead.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping

from skerry.api.types import core
from skerry.controllers.loadbalancer.pools import Pools

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
LEAVING = "ToBeDeletedByClusterAutoscaler"
PORTS_CONDITION = "LoadBalancerPorts"
"""The condition in which the node that opens the ports says which."""

Port = tuple[str, int]
Held = Mapping[str, Mapping[str, frozenset[Port]]]
"""Who has an address: the address, the Services' keys, their (protocol, port) pairs."""
_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")


class Refused(Exception):
    """Why a Service gets no address."""


class Block:
    """A cluster's part of the loopback range: 127.B.C.1 and up, where B is at least 64: below, others have theirs."""

    mode = "Proxy"
    where = str(_LOOPBACK)

    def __init__(self, cluster: str) -> None:
        digest = hashlib.sha256(cluster.encode()).digest()
        self.first = ipaddress.IPv4Address(f"127.{64 + digest[0] % 189}.{digest[1]}.1")

    def __contains__(self, address: str) -> bool:
        return _loopback(address)

    def families(self, _wanted: list[str]) -> list[str]:
        """The relay behind an address reaches Services of either family."""
        return ["IPv4"]

    def exhausted(self, _wanted: list[str]) -> str:
        """Why a Service gets no address."""
        return "all addresses of this cluster's block are in use"

    def addresses(self, _family: str = "IPv4") -> Iterator[str]:
        """In the order in which they are given out; enough for every Service that a cluster can have."""
        for offset in range(1 << 17):
            if (offset + 1) & 0xFF not in (0, 0xFF):
                yield str(self.first + offset)


def wanted(service: core.Service) -> bool:
    """Is this Service ours to give an address (B1)?"""
    spec = service.spec
    return spec.type == "LoadBalancer" and spec.load_balancer_class is None and not service.metadata.deletion_timestamp


def to_clean(service: core.Service) -> bool:
    """Was it ours, and is it to be no more (B4)?"""
    return FINALIZER in service.metadata.finalizers and not wanted(service) and service.spec.load_balancer_class is None


def addresses_of(service: core.Service) -> list[str]:
    """The addresses that it has."""
    return [one.ip for one in service.status.load_balancer.ingress if one.ip]


def ports_of(service: core.Service) -> frozenset[Port]:
    """What it opens there."""
    return frozenset((one.protocol or "TCP", one.port) for one in service.spec.ports)


def choose(
    key: str, service: core.Service, held: Held, space: Block | Pools, machines: frozenset[str] = frozenset()
) -> list[str]:
    """The addresses for a Service: the one it asks for, else those it has, else the next free ones. Refused if none.

    `machines`: those of nodes, which nobody gets.
    """
    asked = service.spec.load_balancer_ip
    if asked in machines:
        raise Refused(f"loadBalancerIP {asked} is the address of a node")
    if asked:
        return [_asked(key, service, asked, held, space)]
    families = service.spec.ip_families or ["IPv4"]
    own = [one for one in addresses_of(service) if one in space]
    found: list[str] = []
    for family in space.families(families):
        mine = (one for one in own if (":" in one) == (family == "IPv6"))
        for one in itertools.chain(mine, space.addresses(family)):
            if one not in machines and not (held.get(one, {}).keys() - {key}):
                found.append(one)
                break
    if not found:
        raise Refused(space.exhausted(families))
    return found


def _asked(key: str, service: core.Service, asked: str, held: Held, space: Block | Pools) -> str:
    if asked not in space:
        raise Refused(f"loadBalancerIP {asked} is not in {space.where}, where this cluster's balancers are")
    for other, ports in held.get(asked, {}).items():
        both = ports & ports_of(service) if other != key else frozenset()
        if both:
            protocol, port = min(both)
            raise Refused(f"loadBalancerIP {asked}: port {port}/{protocol} is that of Service {other}")
    return asked


def _loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text) in _LOOPBACK
    except ValueError:
        return False


def needs_update(old: core.Service, new: core.Service) -> bool:
    """Did anything change that a balancer has to follow (B5)?"""
    return _matters(old) != _matters(new)


def _matters(service: core.Service) -> tuple[object, ...]:
    spec = service.spec
    ports = [(one.name, one.protocol, one.port, one.node_port, one.target_port) for one in spec.ports]
    return (
        *(spec.type, spec.load_balancer_source_ranges, ports, spec.session_affinity, spec.session_affinity_config),
        *(spec.load_balancer_ip, spec.external_i_ps, service.metadata.annotations, service.metadata.uid),
        *(spec.external_traffic_policy, spec.health_check_node_port),
    )


def told(old: core.Service, new: core.Service) -> list[tuple[str, str]]:
    """The events (reason, message) about the fields that changed (B5)."""
    was, now = old.spec, new.spec
    pairs = [
        ("Type", was.type, now.type),
        ("LoadBalancerSourceRanges", _list(was.load_balancer_source_ranges), _list(now.load_balancer_source_ranges)),
        ("LoadbalancerIP", was.load_balancer_ip, now.load_balancer_ip),
        ("ExternalIP", _list(was.external_i_ps), _list(now.external_i_ps)),
        ("UID", old.metadata.uid, new.metadata.uid),
        ("ExternalTrafficPolicy", was.external_traffic_policy, now.external_traffic_policy),
        ("HealthCheckNodePort", str(was.health_check_node_port), str(now.health_check_node_port)),
    ]
    return [(reason, f"{before} -> {after}") for reason, before, after in pairs if before != after]


def _list(values: Iterable[str]) -> str:
    return f"[{' '.join(values)}]"


def target(node: core.Node) -> bool:
    """May balancers send traffic to this node (B6)?"""
    return EXCLUDED not in node.metadata.labels and all(one.key != LEAVING for one in node.spec.taints)
