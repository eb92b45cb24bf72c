"""Which endpoints a service port has and which of them get connections. Pure.

Called by brain.py: `read` takes an EndpointSlice apart once, `merge` joins all slices of a Service, `cluster` and
`local` choose. Rules P2-P10 of the service proxy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from skerry.api import weights
from skerry.api.types import discovery
from skerry.proxy.table import IPV4, Backend, Node, family_of

SERVICE_NAME = "kubernetes.io/service-name"
PROXY_NAME = "service.kubernetes.io/service-proxy-name"
HEADLESS = "service.kubernetes.io/headless"

PortKey = tuple[str, str]
"""A port's name and protocol, by which services and slices are joined (P4)."""


class Candidate(NamedTuple):
    """One endpoint of one port. `fallback`: serving although terminating; `here`: a client on this node may be it.

    `weight`: its share of new connections, compared with others'; 0 for none as long as another has more.
    """

    backend: Backend
    ready: bool
    serving: bool
    fallback: bool
    local: bool
    here: bool
    zones: frozenset[str]
    nodes: frozenset[str]
    weight: int = weights.USUAL


class Slice(NamedTuple):
    """What the proxy needs of an EndpointSlice. `service` is namespace/name, or "" for a slice that is not for it."""

    service: str
    ports: dict[PortKey, tuple[Candidate, ...]]
    family: str = IPV4


_NOWHERE: frozenset[str] = frozenset()


def read(one: discovery.EndpointSlice, node: Node) -> Slice:
    """Takes a slice apart (P1, P2, P3, P5)."""
    labels = one.metadata.labels
    name = labels.get(SERVICE_NAME, "")
    if not name or PROXY_NAME in labels or HEADLESS in labels or one.address_type not in node.families:
        return Slice("", {})
    ports: dict[PortKey, tuple[Candidate, ...]] = {}
    unusual = weights.decode(one.metadata.annotations.get(weights.WEIGHTS, ""))
    for port in one.ports:
        if port.name is None or not port.port:
            continue
        key = (port.name, port.protocol or "TCP")
        usable = (each for each in one.endpoints if _usable(each, one.address_type))
        found = tuple(_candidate(each, port.port, node, unusual) for each in usable)
        ports[key] = ports.get(key, ()) + found
    return Slice(f"{one.metadata.namespace}/{name}", ports, one.address_type)


def _usable(endpoint: discovery.Endpoint, family: str) -> bool:
    """Has it an address of the slice's family? Anything else is a mistake (P2)."""
    return bool(endpoint.addresses) and family_of(endpoint.addresses[0]) == family


def _candidate(endpoint: discovery.Endpoint, port: int, node: Node, unusual: Mapping[str, int]) -> Candidate:
    address = endpoint.addresses[0]
    conditions = endpoint.conditions
    serving = conditions.serving is not False
    local = endpoint.node_name == node.name
    hints = endpoint.hints
    return Candidate(
        Backend(address, port),
        ready=conditions.ready is not False,
        serving=serving,
        fallback=serving and conditions.terminating is True,
        local=local,
        here=local or (endpoint.node_name is None and node.hosts(address)),
        zones=frozenset(zone.name for zone in hints.for_zones) if hints else _NOWHERE,
        nodes=frozenset(one.name for one in hints.for_nodes) if hints else _NOWHERE,
        weight=unusual.get(address, weights.USUAL),
    )


def merge(slices: Iterable[Slice], port: PortKey) -> list[Candidate]:
    """The endpoints of a port over all slices. Of the same ip:port twice, the local one counts, else the first (P3)."""
    found: dict[Backend, Candidate] = {}
    for one in slices:
        for candidate in one.ports.get(port, ()):
            if candidate.local or candidate.backend not in found:
                found[candidate.backend] = candidate
    return list(found.values())


def cluster(candidates: Sequence[Candidate], node: Node) -> list[Candidate]:
    """The endpoints for traffic that may go anywhere (P7)."""
    ready = _weighty([one for one in candidates if one.ready])
    return _topology(ready, node) if ready else _weighty([one for one in candidates if one.fallback])


def local(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The endpoints for traffic that has to stay on this node (P8): hints have no say, and others never help out."""
    here = [one for one in candidates if one.local]
    return _weighty([one for one in here if one.ready] or [one for one in here if one.fallback])


def _weighty(found: list[Candidate]) -> list[Candidate]:
    """Without those of weight 0, unless all are."""
    return [one for one in found if one.weight] or found


def any_usable(candidates: Iterable[Candidate]) -> bool:
    """Could an endpoint anywhere take a connection (P10)?"""
    return any(one.ready or one.fallback for one in candidates)


def _topology(ready: list[Candidate], node: Node) -> list[Candidate]:
    """Narrows ready endpoints down to those hinted for this node or zone (P9)."""
    if all(one.nodes for one in ready):
        same_node = [one for one in ready if node.name in one.nodes]
        if same_node:
            return same_node
    if node.zone and all(one.zones for one in ready):
        same_zone = [one for one in ready if node.zone in one.zones]
        if same_zone:
            return same_zone
    return ready
