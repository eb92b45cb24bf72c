"""The brain: Services and EndpointSlices in, the service table out, at a cost of what changed. Pure.

Called by server.py with every change of an object; the back end gets the table and what may differ in it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from skerry.api.types import core, discovery
from skerry.proxy import endpoints
from skerry.proxy.endpoints import PROXY_NAME, PortKey, Slice
from skerry.proxy.table import (
    Backend,
    Change,
    Empty,
    Entry,
    Frontend,
    ListKey,
    Node,
    Scope,
    ServiceTable,
    family_of,
)
from skerry.proxy.weights import places

K = TypeVar("K", bound=Hashable)

_EXTERNAL_TYPES = ("NodePort", "LoadBalancer")
_AFFINITY_SECONDS = 10800

SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
"""The annotation that may hold a balancer's source ranges instead of the field, separated by commas."""


@dataclass(slots=True)
class View:
    """One Service's part of the table."""

    frontends: dict[Frontend, Entry] = field(default_factory=dict)
    lists: dict[ListKey, tuple[Backend, ...]] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    hairpins: frozenset[str] = frozenset()
    serving: dict[ListKey, frozenset[Backend]] = field(default_factory=dict)


def proxied(service: core.Service) -> bool:
    """Is this Service ours to proxy (P1)? Not if it is headless, an ExternalName, or another proxy's."""
    spec = service.spec
    if spec.type == "ExternalName" or PROXY_NAME in service.metadata.labels:
        return False
    return bool(spec.cluster_ip) and spec.cluster_ip != "None"


def node_ports(service: core.Service | None) -> set[tuple[str, int]]:
    """The (protocol, node port) pairs of a Service."""
    if service is None or service.spec.type not in _EXTERNAL_TYPES or not proxied(service):
        return set()
    return {(port.protocol or "TCP", port.node_port) for port in service.spec.ports if port.node_port}


def view_of(key: str, service: core.Service, slices: Iterable[Slice], node: Node) -> View:
    """What a Service does on this node: a pure function of it and its slices."""
    view = View()
    if not proxied(service):
        return view
    spec = service.spec
    parts = list(slices)
    clusters = {family_of(one): one for one in spec.cluster_i_ps or [spec.cluster_ip]}
    # A Service has a family if it has a cluster IP of it: other addresses of that family are nobody's without.
    families = [one for one in node.families if one in clusters]
    view.addresses = frozenset(clusters[one] for one in families)
    outside = _external_addresses(service, node)
    nodes = node.addresses if spec.type in _EXTERNAL_TYPES else ()
    internal_scope = Scope.LOCAL if spec.internal_traffic_policy == "Local" else Scope.CLUSTER
    external_scope = Scope.LOCAL if spec.external_traffic_policy == "Local" else Scope.CLUSTER
    affinity = _affinity(spec)
    hairpins: set[str] = set()

    for family in families:
        of_family = [one for one in parts if one.family == family]
        for port in spec.ports:
            protocol = port.protocol or "TCP"
            chooser = _Chooser(view, key, of_family, (port.name, protocol), affinity, node, hairpins, family)
            view.frontends[Frontend(clusters[family], protocol, port.port)] = chooser.internal(internal_scope)
            external = {Frontend(address, protocol, port.port): found for address, found in outside.items()}
            if port.node_port:
                external.update((Frontend(address, protocol, port.node_port), ()) for address in nodes)
            for frontend, sources in external.items():
                if family_of(frontend.address) == family:
                    view.frontends[frontend] = chooser.external(external_scope, sources)
    view.hairpins = frozenset(hairpins)
    return view


def _external_addresses(service: core.Service, node: Node) -> dict[str, tuple[str, ...]]:
    """Balancers' addresses (P21) with the sources that they are open for (P20), and external IPs, open for all."""
    spec = service.spec
    found: dict[str, tuple[str, ...]] = {}
    if spec.type == "LoadBalancer":
        for one in service.status.load_balancer.ingress:
            if one.ip and one.ip_mode != "Proxy":
                found[one.ip] = _sources(service, one.ip, node)
    found.update((one, ()) for one in spec.external_i_ps)
    return found


def _sources(service: core.Service, address: str, node: Node) -> tuple[str, ...]:
    """The disjoint prefixes that a balancer's address is open for (P20); () for everybody, and for nobody itself.

    What is no prefix of the address's family opens nothing: with IPv6 ranges alone nobody may come over IPv4.
    """
    wanted = service.spec.load_balancer_source_ranges or _split(service.metadata.annotations.get(SOURCE_RANGES, ""))
    if not wanted:
        return ()
    kind: Any = ipaddress.IPv6Network if ":" in address else ipaddress.IPv4Network
    ranges: list[Any] = [found for one in wanted if (found := _prefix(one, kind)) is not None]
    if any(one.prefixlen == 0 for one in ranges):
        return ()
    # The node may come with the balancer's address as its own, if that is on one of its links.
    own = [ipaddress.ip_address(one) for one in node.addresses if family_of(one) == family_of(address)]
    if not ranges or any(one in each for one in own for each in ranges):
        ranges.append(kind(address))
    return tuple(str(one) for one in ipaddress.collapse_addresses(ranges))


def _prefix(text: str, kind: Any) -> Any:
    try:
        return kind(text.strip(), strict=False)
    except ValueError:
        return None


def _split(text: str) -> list[str]:
    return [one for one in text.split(",") if one.strip()]


def _affinity(spec: core.ServiceSpec) -> int:
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return _AFFINITY_SECONDS if seconds is None else seconds


def _asks_nodes(service: core.Service) -> bool:
    spec = service.spec
    return proxied(service) and spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


class _Chooser:
    """Makes the lists of one service port and family as they are asked for."""

    def __init__(
        self,
        view: View,
        service: str,
        slices: list[Slice],
        port: PortKey,
        affinity: int,
        node: Node,
        here: set[str],
        family: str,
    ) -> None:
        self._view, self._service, self._port, self._affinity, self._family = view, service, port, affinity, family
        self._node, self._here = node, here
        self._candidates = endpoints.merge(slices, port)
        if port[1] == "UDP":
            serving = frozenset(one.backend for one in self._candidates if one.serving or one.ready)
            for scope in Scope:
                view.serving[ListKey(service, *port, scope, affinity, family)] = serving

    def internal(self, scope: Scope) -> Entry:
        """What a cluster IP does."""
        key, empty = self._list(scope)
        return Entry(key, empty, masquerade=False)

    def external(self, scope: Scope, sources: tuple[str, ...]) -> Entry:
        """What an address for clients outside does (P15, P16)."""
        key, empty = self._list(scope)
        if scope is Scope.CLUSTER:
            return Entry(key, empty, masquerade=True, sources=sources)
        near, _ = self._list(Scope.CLUSTER)
        return Entry(key, empty, masquerade=False, near=near, sources=sources)

    def _list(self, scope: Scope) -> tuple[ListKey, Empty]:
        key = ListKey(self._service, *self._port, scope, self._affinity, self._family)
        if key not in self._view.lists:
            self._view.lists[key] = self._choose(scope)
        if scope is Scope.LOCAL and not self._view.lists[key] and endpoints.any_usable(self._candidates):
            return key, Empty.DROP
        return key, Empty.REJECT

    def _choose(self, scope: Scope) -> tuple[Backend, ...]:
        if scope is Scope.LOCAL:
            chosen = endpoints.local(self._candidates)
        else:
            chosen = endpoints.cluster(self._candidates, self._node)
        self._here.update(one.backend.address for one in chosen if one.here)
        return places(chosen)


class Brain:
    """Keeps the table up to date. Keys of Services and slices are namespace/name."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.table = ServiceTable()
        self._services: dict[str, core.Service] = {}
        self._slices: dict[str, Slice] = {}
        self._of_service: dict[str, dict[str, Slice]] = {}
        self._views: dict[str, View] = {}
        self._claims: dict[Frontend, dict[str, Entry]] = {}
        self._asked: dict[str, int] = {}

    def apply_service(self, key: str, service: core.Service | None) -> Change:
        """A Service is now this, or gone."""
        old = self._services.pop(key, None)
        if service is not None:
            self._services[key] = service
            if old is not None and _told(old) == _told(service):
                return Change()
        asked = service.spec.health_check_node_port if service is not None and _asks_nodes(service) else None
        _put(self._asked, key, asked or None)
        return self._renew(key)

    def apply_slice(self, key: str, found: discovery.EndpointSlice | None) -> Change:
        """An EndpointSlice is now this, or gone. It may have moved to another Service."""
        old = self._slices.pop(key, None)
        new = endpoints.read(found, self.node) if found is not None else None
        if new is not None and new.service:
            self._slices[key] = new
            self._of_service.setdefault(new.service, {})[key] = new
        else:
            new = None
        change = Change()
        if old is not None and (new is None or new.service != old.service):
            of_service = self._of_service[old.service]
            del of_service[key]
            if not of_service:
                del self._of_service[old.service]
            change.add(self._renew(old.service))
        if new is not None and new != old:
            change.add(self._renew(new.service))
        return change

    def move_to_zone(self, zone: str) -> Change:
        """The node is in this zone, "" for none: hints for zones are read anew (P9)."""
        change = Change()
        if zone != self.node.zone:
            self.node = replace(self.node, zone=zone)
            for key in self._services:
                change.add(self._renew(key))
        return change

    def move_to_addresses(self, addresses: tuple[str, ...]) -> Change:
        """Node ports answer on these addresses from now on (P22)."""
        change = Change()
        if addresses != self.node.addresses:
            self.node = replace(self.node, addresses=addresses)
            for key, one in self._services.items():
                if one.spec.type in _EXTERNAL_TYPES:
                    change.add(self._renew(key))
        return change

    def health_check_ports(self) -> dict[int, str]:
        """The node ports on which balancers ask whether this node has endpoints, with their Services' keys (P34)."""
        return {port: key for key, port in self._asked.items()}

    def local_ready(self, key: str) -> int:
        """How many endpoints on this node are ready for a Service; terminating ones do not count (P34).

        A pod of two families is one, in whichever family more are ready.
        """
        found: dict[str, set[str]] = {}
        for part in self._of_service.get(key, {}).values():
            every = (one for ends in part.ports.values() for one in ends)
            found.setdefault(part.family, set()).update(one.backend.address for one in every if one.local and one.ready)
        return max(map(len, found.values()), default=0)

    def _renew(self, key: str) -> Change:
        service = self._services.get(key)
        if service is None and key not in self._views:
            return Change()
        slices = self._of_service.get(key, {})
        new = View()
        if service is not None:
            new = view_of(key, service, (slices[name] for name in sorted(slices)), self.node)
        old = self._views.pop(key, None) or View()
        if service is not None:
            self._views[key] = new
        return self._replace(key, old, new)

    def _replace(self, key: str, old: View, new: View) -> Change:
        table, change = self.table, Change()
        for name in _different(old.lists, new.lists):
            change.lists.add(name)
            _put(table.lists, name, new.lists.get(name))
        for name in _different(old.serving, new.serving):
            change.lists.add(name)
            _put(table.serving, name, new.serving.get(name))
        for frontend in _different(old.frontends, new.frontends):
            self._claim(key, frontend, new.frontends.get(frontend))
            change.frontends.add(frontend)
        if change.lists:
            touched = change.lists
            change.frontends.update(
                one for one, entry in new.frontends.items() if entry.list in touched or entry.near in touched
            )
        change.addresses = _recount(table.addresses, old.addresses, new.addresses)
        change.hairpins = _recount(table.hairpins, old.hairpins, new.hairpins)
        return change

    def _claim(self, service: str, frontend: Frontend, entry: Entry | None) -> None:
        """Two Services may name one address, for a while or by mistake for good: the first in the alphabet has it."""
        claims = self._claims.setdefault(frontend, {})
        _put(claims, service, entry)
        if claims:
            self.table.frontends[frontend] = claims[min(claims)]
        else:
            del self._claims[frontend]
            self.table.frontends.pop(frontend, None)


V = TypeVar("V")


def _told(service: core.Service) -> tuple[object, ...]:
    """All that a Service tells a proxy. Conditions change far more often."""
    return service.spec, service.metadata.labels, service.metadata.annotations, service.status.load_balancer


def _put(target: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        target.pop(key, None)
    else:
        target[key] = value


def _different(old: dict[K, V], new: dict[K, V]) -> Iterator[K]:
    """The keys under which two dicts differ."""
    for key, value in new.items():
        if old.get(key) != value:
            yield key
    for key in old:
        if key not in new:
            yield key


def _recount(counts: dict[str, int], old: frozenset[str], new: frozenset[str]) -> set[str]:
    """Moves a claim from one set of names to another; the names that appeared or vanished altogether."""
    changed = set()
    for name in new - old:
        counts[name] = counts.get(name, 0) + 1
        if counts[name] == 1:
            changed.add(name)
    for name in old - new:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
            changed.add(name)
    return changed
