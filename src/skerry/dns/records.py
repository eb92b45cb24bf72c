"""What the cluster's names mean: a pure index of Services, EndpointSlices and Namespaces, and the answer to a question.

The DNS server applies every change it hears of (cost: the size of the changed object, never of the cluster) and asks
`answer`. Everything goes in and comes out as plain values; the wire format is the server's business. Rules D1-D16.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skerry.api.types import core, discovery

Rcode = Literal["NOERROR", "SERVFAIL", "NXDOMAIN", "REFUSED"]
PodMode = Literal["disabled", "insecure"]

SCHEMA_VERSION = "1.1.0"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_CHAIN_LIMIT = 8  # ExternalName Services that point at each other


class Record(NamedTuple):
    """One resource record. `data` is an address (A, AAAA), a name (CNAME, NS, PTR), a text (TXT),
    (priority, weight, port, target) for SRV or (mname, rname, serial, refresh, retry, expire, minimum) for SOA.
    Names end with a dot.
    """

    name: str
    type: str
    ttl: int
    data: str | tuple[int, int, int, str] | tuple[str, str, int, int, int, int, int]


@dataclass(slots=True)
class Answer:
    """What to reply. `chase`: a name outside the zone which ends a CNAME chain; its records belong into the answer."""

    rcode: Rcode = "NOERROR"
    answers: Sequence[Record] = ()
    authority: Sequence[Record] = ()
    additional: Sequence[Record] = ()
    chase: str | None = None


class _Port(NamedTuple):
    name: str
    protocol: str
    port: int


class _Service(NamedTuple):
    kind: Literal["cluster", "headless", "external"]
    ips: tuple[str, ...]
    ports: tuple[_Port, ...]
    external: str


class _Slice(NamedTuple):
    service: tuple[str, str]
    hosts: dict[str, list[str]]  # label of an endpoint -> its ready addresses
    ports: tuple[_Port, ...]


class Records:
    """The index. Not thread-safe; one owner applies changes and asks."""

    def __init__(
        self,
        zone: str = "cluster.local",
        *,
        ttl: int = 5,
        pods: PodMode = "insecure",
        own_networks: Iterable[str] = (),
    ) -> None:
        """PTR questions for unknown addresses are NXDOMAIN within `own_networks` (CIDRs), not ours outside."""
        self.zone = zone.strip(".").lower() + "."
        self.ttl = ttl
        self.synced = False
        self._pods: PodMode = pods
        self._zone_labels = tuple(self.zone.rstrip(".").split("."))
        self._own = [ipaddress.ip_network(cidr) for cidr in own_networks]
        self._serial = 1
        self._namespaces: set[str] = set()
        self._services: dict[tuple[str, str], _Service] = {}
        self._slices: dict[str, _Slice] = {}
        self._slices_of: dict[tuple[str, str], dict[str, _Slice]] = {}
        self._cluster_ips: dict[str, tuple[str, str]] = {}
        self._endpoint_ips: dict[str, dict[str, None]] = {}  # address -> keys of the slices that hold it

    # Changes

    def apply_namespace(self, name: str, present: bool) -> None:
        """A namespace appeared (True) or went (False)."""
        self._serial += 1
        if present:
            self._namespaces.add(name)
        else:
            self._namespaces.discard(name)

    def apply_service(self, key: str, service: core.Service | None) -> None:
        """The Service `namespace/name` is now `service`, or gone."""
        namespace, _, name = key.partition("/")
        place = (namespace, name)
        self._serial += 1
        old = self._services.pop(place, None)
        if old is not None:
            for ip in old.ips:
                if self._cluster_ips.get(ip) == place:
                    del self._cluster_ips[ip]
        new = _read_service(service) if service is not None else None
        if new is not None:
            self._services[place] = new
            for ip in new.ips:
                self._cluster_ips[ip] = place

    def apply_slice(self, key: str, endpoint_slice: discovery.EndpointSlice | None) -> None:
        """The EndpointSlice `namespace/name` is now `endpoint_slice`, or gone."""
        self._serial += 1
        old = self._slices.pop(key, None)
        if old is not None:
            mine = self._slices_of[old.service]
            del mine[key]
            if not mine:
                del self._slices_of[old.service]
            for ip in {ip for ips in old.hosts.values() for ip in ips}:
                holders = self._endpoint_ips[ip]
                del holders[key]
                if not holders:
                    del self._endpoint_ips[ip]
        new = _read_slice(key, endpoint_slice) if endpoint_slice is not None else None
        if new is not None:
            self._slices[key] = new
            self._slices_of.setdefault(new.service, {})[key] = new
            for ips in new.hosts.values():
                for ip in ips:
                    self._endpoint_ips.setdefault(ip, {})[key] = None

    def statistics(self) -> dict[str, int]:
        """How many of each thing the index holds."""
        return {
            "namespaces": len(self._namespaces),
            "services": len(self._services),
            "slices": len(self._slices),
            "addresses": len(self._endpoint_ips),
        }

    # Questions

    def answer(self, qname: str, qtype: str) -> Answer | None:
        """The answer to `qname` (any case, with or without the last dot) of `qtype` ("A", "SRV", ...).

        None: the name is not the cluster's; ask elsewhere. Order of records is that of the index.
        """
        name = qname.lower().rstrip(".")
        labels = name.split(".")
        size = len(self._zone_labels)
        if tuple(labels[-size:]) == self._zone_labels:
            if not self.synced:
                return Answer("SERVFAIL")
            if qtype in ("AXFR", "IXFR"):
                return Answer("REFUSED")
            return self._in_zone(qname.rstrip(".") + ".", labels[:-size], qtype)
        if qtype == "PTR" and labels[-1] == "arpa":
            return self._reverse(qname.rstrip(".") + ".", name)
        return None

    def _in_zone(self, owner: str, labels: list[str], qtype: str, depth: int = 0) -> Answer:
        match labels:
            case []:
                return self._apex(owner, qtype)
            case ["svc"] | ["pod"] | ["dns"]:
                return self._nodata()
            case ["dns-version"]:
                return self._of_type(qtype, [Record(owner, "TXT", self.ttl, SCHEMA_VERSION)])
            case ["ns", "dns"]:
                return self._of_type(qtype, self._addresses(owner, self._server_ips()))
            case [namespace, "svc"] | [namespace, "pod"]:
                return self._nodata() if namespace in self._namespaces else self._nxdomain()
            case [ip, namespace, "pod"]:
                return self._pod(owner, ip, namespace, qtype)
            case [name, namespace, "svc"]:
                return self._service(owner, (namespace, name), qtype, depth)
            case [host, name, namespace, "svc"]:
                return self._endpoint(owner, host, (namespace, name), qtype)
            case [port, protocol, name, namespace, "svc"]:
                return self._port(owner, _bare(port), _bare(protocol), (namespace, name), qtype)
        return self._nxdomain()

    def _apex(self, owner: str, qtype: str) -> Answer:
        if qtype == "SOA":
            return Answer(answers=[self._soa()])
        if qtype == "NS":
            server = "ns.dns." + self.zone
            return Answer(
                answers=[Record(owner, "NS", self.ttl, server)], additional=self._addresses(server, self._server_ips())
            )
        return self._nodata()

    def _pod(self, owner: str, label: str, namespace: str, qtype: str) -> Answer:
        if self._pods == "disabled" or namespace not in self._namespaces:
            return self._nxdomain()
        # 10-1-2-3 is 10.1.2.3; anything else can only be IPv6
        ip = _canonical(label.replace("-", ".")) or _canonical(label.replace("-", ":"))
        if ip is None:
            return self._nxdomain()
        return self._of_type(qtype, self._addresses(owner, [ip]))

    def _service(self, owner: str, place: tuple[str, str], qtype: str, depth: int) -> Answer:
        service = self._services.get(place)
        if service is None or place[0] not in self._namespaces:
            return self._nxdomain()
        if service.kind == "external":
            return self._external(owner, service.external, qtype, depth)
        if service.kind == "headless":
            ips = [ip for s in self._slices_of.get(place, {}).values() for ips in s.hosts.values() for ip in ips]
            if not ips:
                return self._nxdomain()  # D3
            if qtype == "SRV":
                return self._headless_srv(owner, place, None, None)
            return self._of_type(qtype, self._addresses(owner, ips))
        if qtype == "SRV":
            return self._srv(owner, [(port.port, self._name(place), service.ips) for port in service.ports])
        return self._of_type(qtype, self._addresses(owner, service.ips))

    def _endpoint(self, owner: str, host: str, place: tuple[str, str], qtype: str) -> Answer:
        service = self._services.get(place)
        if service is None or service.kind == "external" or place[0] not in self._namespaces:
            return self._nxdomain()
        slices = self._slices_of.get(place, {}).values()
        ips = [ip for s in slices for ip in s.hosts.get(host, ())]
        if not ips:
            return self._nxdomain()
        if qtype == "SRV":
            target = f"{host}.{self._name(place)}"
            found = [(p.port, target, tuple(s.hosts[host])) for s in slices if host in s.hosts for p in s.ports]
            return self._srv(owner, found)
        return self._of_type(qtype, self._addresses(owner, ips))

    def _port(self, owner: str, port: str, protocol: str, place: tuple[str, str], qtype: str) -> Answer:
        service = self._services.get(place)
        if service is None or service.kind == "external" or place[0] not in self._namespaces:
            return self._nxdomain()
        if service.kind == "headless":
            found = self._headless_srv(owner, place, port, protocol)
        else:
            ports = [p for p in service.ports if p.name == port and p.protocol == protocol]
            found = self._srv(owner, [(p.port, self._name(place), service.ips) for p in ports])
        if not found.answers:
            return self._nxdomain()
        return found if qtype in ("SRV", "ANY") else self._nodata()

    def _headless_srv(self, owner: str, place: tuple[str, str], port: str | None, protocol: str | None) -> Answer:
        return self._srv(
            owner,
            [
                (p.port, f"{host}.{self._name(place)}", tuple(ips))
                for s in self._slices_of.get(place, {}).values()
                for p in s.ports
                if port is None or (p.name == port and p.protocol == protocol)
                for host, ips in s.hosts.items()
            ],
        )

    def _srv(self, owner: str, found: list[tuple[int, str, tuple[str, ...]]]) -> Answer:
        targets = list(dict.fromkeys((port, target) for port, target, _ in found))
        if not targets:
            return self._nodata()
        weight = max(1, 100 // len(targets))  # D12
        additional: dict[Record, None] = {}
        for _, target, ips in found:
            additional.update(dict.fromkeys(self._addresses(target, ips)))
        answers = [Record(owner, "SRV", self.ttl, (0, weight, port, target)) for port, target in targets]
        return Answer(answers=answers, additional=list(additional))

    def _external(self, owner: str, target: str, qtype: str, depth: int) -> Answer:
        if _canonical(target) is not None:
            return self._nxdomain()  # D7
        if qtype not in ("A", "AAAA", "CNAME", "ANY"):
            return self._nodata()
        target = target.rstrip(".") + "."
        cname = Record(owner, "CNAME", self.ttl, target)
        if qtype in ("CNAME", "ANY"):
            return Answer(answers=[cname])
        labels = target.lower().rstrip(".").split(".")
        size = len(self._zone_labels)
        if tuple(labels[-size:]) != self._zone_labels:
            return Answer(answers=[cname], chase=target)
        if depth >= _CHAIN_LIMIT:
            return Answer("SERVFAIL")
        rest = self._in_zone(target, labels[:-size], qtype, depth + 1)  # D15
        if rest.rcode == "SERVFAIL":
            return rest
        return Answer(rest.rcode, [cname, *rest.answers], rest.authority, (), rest.chase)

    def _reverse(self, owner: str, name: str) -> Answer | None:
        ip = _address_of_arpa(name)
        if ip is None:
            return None
        if not self.synced:
            return Answer("SERVFAIL")
        place = self._cluster_ips.get(ip)
        if place is not None:
            return Answer(answers=[Record(owner, "PTR", self.ttl, self._name(place))])
        names = [
            f"{host}.{self._name(found.service)}"
            for found in map(self._slices.__getitem__, self._endpoint_ips.get(ip, ()))
            for host, ips in found.hosts.items()
            if ip in ips and found.service in self._services
        ]
        if names:
            return Answer(answers=[Record(owner, "PTR", self.ttl, name) for name in dict.fromkeys(names)])
        address = ipaddress.ip_address(ip)
        if any(address in network for network in self._own):
            return self._nxdomain()
        return None

    # Pieces

    def _name(self, place: tuple[str, str]) -> str:
        return f"{place[1]}.{place[0]}.svc.{self.zone}"

    def _server_ips(self) -> tuple[str, ...]:
        service = self._services.get(("kube-system", "kube-dns"))
        return service.ips if service is not None else ()

    def _addresses(self, owner: str, ips: Iterable[str]) -> list[Record]:
        return [Record(owner, "AAAA" if ":" in ip else "A", self.ttl, ip) for ip in dict.fromkeys(ips)]  # D13

    def _of_type(self, qtype: str, records: list[Record]) -> Answer:
        """The records of the asked type, or NODATA: the name exists (D11)."""
        found = records if qtype == "ANY" else [record for record in records if record.type == qtype]
        return Answer(answers=found) if found else self._nodata()

    def _soa(self) -> Record:
        names = ("ns.dns." + self.zone, "hostmaster." + self.zone)
        return Record(self.zone, "SOA", self.ttl, (*names, self._serial & 0xFFFFFFFF, 7200, 1800, 86400, self.ttl))

    def _nodata(self) -> Answer:
        return Answer(authority=[self._soa()])

    def _nxdomain(self) -> Answer:
        return Answer("NXDOMAIN", authority=[self._soa()])


def endpoint_label(hostname: str, ip: str) -> str:
    """The label an endpoint is known by (D4): its hostname, else its address with dashes."""
    if hostname:
        return hostname.lower()
    label = ip.replace(".", "-").replace(":", "-")
    return label + "0" if label.endswith("-") else label


def _bare(label: str) -> str:
    return label.removeprefix("_")


def _canonical(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _read_service(service: core.Service) -> _Service | None:
    spec = service.spec
    ports = tuple(_Port((p.name or "").lower(), (p.protocol or "TCP").lower(), p.port) for p in spec.ports)
    if spec.type == "ExternalName":
        return _Service("external", (), (), spec.external_name.lower()) if spec.external_name else None
    if spec.cluster_ip == "None":
        return _Service("headless", (), ports, "")
    ips = tuple(ip for ip in map(_canonical, spec.cluster_i_ps or [spec.cluster_ip]) if ip is not None)
    return _Service("cluster", ips, ports, "") if ips else None


def _read_slice(key: str, endpoint_slice: discovery.EndpointSlice) -> _Slice | None:
    name = endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL)
    if not name or endpoint_slice.address_type not in ("IPv4", "IPv6"):
        return None
    hosts: dict[str, list[str]] = {}
    for endpoint in endpoint_slice.endpoints:
        if endpoint.conditions.ready is False:  # nil counts as ready (D5)
            continue
        for address in endpoint.addresses:
            ip = _canonical(address)
            if ip is not None:
                mine = hosts.setdefault(endpoint_label(endpoint.hostname or "", ip), [])
                if ip not in mine:
                    mine.append(ip)
    ports = tuple(
        _Port((p.name or "").lower(), (p.protocol or "TCP").lower(), p.port)
        for p in endpoint_slice.ports
        if p.port is not None and p.port > 0
    )
    return _Slice((key.partition("/")[0], name), hosts, ports)


def _address_of_arpa(name: str) -> str | None:
    """`4.3.2.10.in-addr.arpa` as `10.2.3.4`; None when it is not a whole address."""
    if name.endswith(".in-addr.arpa"):
        parts = name.removesuffix(".in-addr.arpa").split(".")
        return _canonical(".".join(reversed(parts)))
    if name.endswith(".ip6.arpa"):
        nibbles = name.removesuffix(".ip6.arpa").split(".")
        if len(nibbles) == 32 and all(len(n) == 1 for n in nibbles):
            digits = "".join(reversed(nibbles))
            return _canonical(":".join(digits[i : i + 4] for i in range(0, 32, 4)))
    return None
