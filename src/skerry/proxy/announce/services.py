"""Which addresses are announced, and which nodes may hold each. Pure. Called by announcer.py with what changed.

An address is announced if it is that of a Service of type LoadBalancer without loadBalancerClass and its packets come
to nodes as they are (ipMode VIP, or none). With externalTrafficPolicy Local only nodes with endpoints may hold it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from skerry.api.types import core, discovery

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
LEAVING = "ToBeDeletedByClusterAutoscaler"


def eligible(node: core.Node) -> bool:
    """May this node hold addresses? A node of which nobody says whether it is Ready may."""
    if node.metadata.deletion_timestamp or EXCLUDED in node.metadata.labels:
        return False
    if any(one.key == LEAVING for one in node.spec.taints):
        return False
    return all(one.status == "True" for one in node.status.conditions if one.type == "Ready")


def own(node: core.Node | None) -> frozenset[str]:
    """The addresses of a machine itself, which are never announced, whatever a Service says."""
    return frozenset(_canonical(one.address) for one in node.status.addresses) if node is not None else frozenset()


def addresses(service: core.Service | None) -> frozenset[str]:
    """The addresses of a Service that are to be announced, as they are written by everybody."""
    if service is None or service.spec.type != "LoadBalancer" or service.spec.load_balancer_class is not None:
        return frozenset()
    ingress = service.status.load_balancer.ingress
    found = (_canonical(one.ip) for one in ingress if one.ip and one.ip_mode != "Proxy")
    return frozenset(one for one in found if one)


def _canonical(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if found.is_loopback or found.is_multicast or found.is_unspecified else str(found)


def local(service: core.Service) -> bool:
    """Must a node have endpoints of this Service to hold its addresses?"""
    return service.spec.external_traffic_policy == "Local"


def nodes_with_endpoints(slices: Iterable[discovery.EndpointSlice]) -> frozenset[str]:
    """The nodes with ready endpoints; if there are none at all, those with endpoints that end but still serve."""
    ready, serving = set(), set()
    for one in slices:
        for endpoint in one.endpoints:
            if not endpoint.node_name:
                continue
            conditions = endpoint.conditions
            if conditions.ready is not False:
                ready.add(endpoint.node_name)
            elif conditions.serving:
                serving.add(endpoint.node_name)
    return frozenset(ready or serving)


class Book:
    """Which Services have which address. An address that several have is held where all of them can be served."""

    def __init__(self) -> None:
        self._services: dict[str, core.Service] = {}
        self._of: dict[str, set[str]] = {}

    def put(self, key: str, service: core.Service | None) -> frozenset[str]:
        """A Service is now like this (None: gone). The addresses whose holder may be another now."""
        old = self._services.pop(key, None)
        before, after = addresses(old), addresses(service)
        for address in before - after:
            self._of[address].discard(key)
            if not self._of[address]:
                del self._of[address]
        for address in after:
            self._of.setdefault(address, set()).add(key)
        if after:
            assert service is not None
            self._services[key] = service
        same = old is not None and service is not None and local(old) == local(service)
        return before ^ after if same else before | after

    def all(self) -> list[str]:
        """Every address."""
        return list(self._of)

    def of(self, key: str) -> frozenset[str]:
        """The addresses of a Service."""
        return addresses(self._services.get(key))

    def services(self, address: str) -> list[core.Service]:
        """The Services that have an address, by name."""
        return [self._services[key] for key in sorted(self._of.get(address, ()))]
