"""What the cluster's names mean: a pure index of Services, EndpointSlices and Namespaces, and the answer to a question.

The DNS server applies every change it hears of (cost: the size of the changed object, never of the cluster) and asks
`answer`. Everything goes in and comes out as plain values; the wire format is the server's business. Rules D1-D16.

Every answer says what it was made of (`Answer.depends`), and every change says what it touches (`on_change`): so
answers can be kept packed until something of theirs changes.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Literal

from skerry.dns.answer import CHAIN_LIMIT, Answer, Record
from skerry.dns.entries import address_of_arpa, canonical, read_service, read_slice

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from skerry.api.types import core, discovery
    from skerry.dns.entries import ServiceEntry, SliceEntry

PodMode = Literal["disabled", "insecure", "verified"]

SCHEMA_VERSION = "1.1.0"
EVERYTHING, REVERSE = "*", "*reverse"
"""What `on_change` says besides: namespaces' names, and (namespace, name) of Services."""


class Records:
    """The index. Not thread-safe; one owner applies changes and asks."""

    def __init__(
        self,
        zone: str = "cluster.local",
        *,
        ttl: int = 5,
        pods: PodMode = "insecure",
        ignore_empty: bool = False,
        own_networks: Iterable[str] = (),
        on_change: Callable[[Hashable], None] | None = None,
    ) -> None:
        """PTR questions for unknown addresses are NXDOMAIN within `own_networks` (CIDRs), not ours outside.

        `pods` as in D8. `ignore_empty`: cluster IPs without ready endpoints have no name (D16). `ttl`: seconds (D9).
        """
        self.zone = zone.strip(".").lower() + "."
        self.ttl = ttl
        self.synced = False
        self.on_change = on_change or (lambda _: None)
        self._pods: PodMode = pods
        self._ignore_empty = ignore_empty
        self._zone_labels = tuple(self.zone.rstrip(".").split("."))
        self._own = [ipaddress.ip_network(cidr) for cidr in own_networks]
        self._serial = 1
        self._namespaces: set[str] = set()
        self._services: dict[tuple[str, str], ServiceEntry] = {}
        self._slices: dict[str, SliceEntry] = {}
        self._slices_of: dict[tuple[str, str], dict[str, SliceEntry]] = {}
        self._cluster_ips: dict[str, tuple[str, str]] = {}
        self._endpoint_ips: dict[str, str | dict[str, None]] = {}  # address -> the slice that holds it, or several
        self._pod_ips: dict[tuple[str, str], set[str]] = {}  # (namespace, address) -> the pods that have it
        self._ips_of_pod: dict[str, tuple[str, ...]] = {}
        self._touched: set[Hashable] = set()

    # Changes

    def configure(self, *, ttl: int, pods: PodMode, ignore_empty: bool) -> None:
        """Answers otherwise from now on (D8, D9, D16)."""
        self.ttl, self._pods, self._ignore_empty = ttl, pods, ignore_empty
        self.on_change(EVERYTHING)

    def apply_namespace(self, name: str, present: bool) -> None:
        """A namespace appeared (True) or went (False)."""
        self._serial += 1
        if present:
            self._namespaces.add(name)
        else:
            self._namespaces.discard(name)
        self.on_change(name)

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
        new = read_service(service) if service is not None else None
        if new is not None:
            self._services[place] = new
            for ip in new.ips:
                self._cluster_ips[ip] = place
        if new != old:
            self.on_change(place)
            self.on_change(REVERSE)

    def apply_slice(self, key: str, endpoint_slice: discovery.EndpointSlice | None) -> None:
        """The EndpointSlice `namespace/name` is now `endpoint_slice`, or gone."""
        self._serial += 1
        new = read_slice(key, endpoint_slice) if endpoint_slice is not None else None
        old = self._slices.get(key)
        if new == old:
            return
        if old is not None:
            del self._slices[key]
            mine = self._slices_of[old.service]
            del mine[key]
            if not mine:
                del self._slices_of[old.service]
            for ip in {ip for ips in old.hosts.values() for ip in ips}:
                self._release(ip, key)
            self.on_change(old.service)
        if new is not None:
            self._slices[key] = new
            self._slices_of.setdefault(new.service, {})[key] = new
            for ips in new.hosts.values():
                for ip in ips:
                    self._hold(ip, key)
            self.on_change(new.service)
        self.on_change(REVERSE)

    def apply_pod(self, key: str, ips: Iterable[str]) -> None:
        """The pod `namespace/name` has these addresses now; none when it is gone. Only for mode "verified" (D8)."""
        namespace = key.partition("/")[0]
        for ip in self._ips_of_pod.pop(key, ()):
            holders = self._pod_ips[namespace, ip]
            holders.discard(key)
            if not holders:
                del self._pod_ips[namespace, ip]
        found = tuple(ip for ip in map(canonical, ips) if ip is not None)
        if found:
            self._ips_of_pod[key] = found
            for ip in found:
                self._pod_ips.setdefault((namespace, ip), set()).add(key)

    def _hold(self, ip: str, key: str) -> None:
        holders = self._endpoint_ips.get(ip)
        if holders is None:
            self._endpoint_ips[ip] = key
        elif isinstance(holders, dict):
            holders[key] = None
        elif holders != key:
            self._endpoint_ips[ip] = {holders: None, key: None}

    def _release(self, ip: str, key: str) -> None:
        holders = self._endpoint_ips[ip]
        if isinstance(holders, dict):
            del holders[key]
            if holders:
                return
        del self._endpoint_ips[ip]

    def statistics(self) -> dict[str, int]:
        """How many of each thing the index holds."""
        return {
            "namespaces": len(self._namespaces),
            "services": len(self._services),
            "slices": len(self._slices),
            "addresses": len(self._endpoint_ips),
        }

    # Questions

    def answer(self, qname: str, qtype: str, depth: int = 0) -> Answer | None:
        """The answer to `qname` (any case, with or without the last dot) of `qtype` ("A", "SRV", ...).

        None: the name is not the cluster's; ask elsewhere. Order of records is that of the index. `depth`: how many
        CNAMEs led here.
        """
        name = qname.lower().rstrip(".")
        labels = name.split(".")
        size = len(self._zone_labels)
        if tuple(labels[-size:]) == self._zone_labels:
            if not self.synced:
                return Answer("SERVFAIL")
            if qtype in ("AXFR", "IXFR"):
                return Answer("REFUSED")
            self._touched = set()
            found = self._in_zone(qname.rstrip(".") + ".", labels[:-size], qtype, depth)
            # A pod's name in this mode depends on all pods: too many to tell of.
            if not (self._pods == "verified" and labels[-size - 1 : -size] == ["pod"]):
                found.depends = frozenset(self._touched)
            return found
        if qtype == "PTR" and labels[-1] == "arpa":
            found_name = self._reverse(qname.rstrip(".") + ".", name)
            if found_name is not None and self.synced:
                found_name.depends = frozenset((REVERSE,))
            return found_name
        return None

    def has(self, namespace: str) -> bool:
        """Is there such a namespace? An answer being made depends on it from now on."""
        self._touched.add(namespace)
        return namespace in self._namespaces

    def _find(self, place: tuple[str, str]) -> ServiceEntry | None:
        self._touched.add(place)
        return self._services.get(place) if self.has(place[0]) else None

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
                return self._nodata() if self.has(namespace) else self._nxdomain()
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
        if self._pods == "disabled" or not self.has(namespace):
            return self._nxdomain()
        # 10-1-2-3 is 10.1.2.3; anything else can only be IPv6
        ip = canonical(label.replace("-", ".")) or canonical(label.replace("-", ":"))
        if ip is None or (self._pods == "verified" and (namespace, ip) not in self._pod_ips):
            return self._nxdomain()
        return self._of_type(qtype, self._addresses(owner, [ip]))

    def _service(self, owner: str, place: tuple[str, str], qtype: str, depth: int) -> Answer:
        service = self._find(place)
        if service is None:
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
        if self._ignored(place):
            return self._nxdomain()
        if qtype == "SRV":
            return self._srv(owner, [(port.port, self._name(place), service.ips) for port in service.ports])
        return self._of_type(qtype, self._addresses(owner, service.ips))

    def _ignored(self, place: tuple[str, str]) -> bool:
        """Is this Service to be silent about, for want of ready endpoints (D16)?"""
        return self._ignore_empty and not any(one.hosts for one in self._slices_of.get(place, {}).values())

    def _endpoint(self, owner: str, host: str, place: tuple[str, str], qtype: str) -> Answer:
        service = self._find(place)
        if service is None or service.kind == "external":
            return self._nxdomain()
        slices = self._slices_of.get(place, {}).values()
        ips = [ip for s in slices for ip in s.hosts.get(host, ())]
        if not ips:
            return self._nxdomain()
        if qtype == "SRV":
            target = f"{host}.{self._name(place)}"
            found = [(p.port, target, s.hosts[host]) for s in slices if host in s.hosts for p in s.ports]
            return self._srv(owner, found)
        return self._of_type(qtype, self._addresses(owner, ips))

    def _port(self, owner: str, port: str, protocol: str, place: tuple[str, str], qtype: str) -> Answer:
        service = self._find(place)
        if service is None or service.kind == "external":
            return self._nxdomain()
        if service.kind == "headless":
            found = self._headless_srv(owner, place, port, protocol)
        elif self._ignored(place):
            return self._nxdomain()
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
                (p.port, f"{host}.{self._name(place)}", ips)
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
        if canonical(target) is not None:
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
        if depth >= CHAIN_LIMIT:
            return Answer("SERVFAIL")
        rest = self._in_zone(target, labels[:-size], qtype, depth + 1)  # D15
        if rest.rcode == "SERVFAIL":
            return rest
        return Answer(rest.rcode, [cname, *rest.answers], rest.authority, (), rest.chase)

    def _reverse(self, owner: str, name: str) -> Answer | None:
        ip = address_of_arpa(name)
        if ip is None:
            return None
        if not self.synced:
            return Answer("SERVFAIL")
        place = self._cluster_ips.get(ip)
        if place is not None:
            return Answer(answers=[Record(owner, "PTR", self.ttl, self._name(place))])
        holders = self._endpoint_ips.get(ip, {})
        names = [
            f"{host}.{self._name(found.service)}"
            for found in map(self._slices.__getitem__, [holders] if isinstance(holders, str) else holders)
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
        service = self._find(("kube-system", "kube-dns"))
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


def _bare(label: str) -> str:
    return label.removeprefix("_")
