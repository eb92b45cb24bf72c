"""What the index keeps of a Service and of an EndpointSlice: the little that names need. Pure; called by `records`."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from skerry.api.types import core, discovery

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Port(NamedTuple):
    """A port of a Service or of endpoints; name and protocol in lower case."""

    name: str
    protocol: str
    port: int


class ServiceEntry(NamedTuple):
    """A Service as names need it. `external`: the name that an ExternalName leads to."""

    kind: Literal["cluster", "headless", "external"]
    ips: tuple[str, ...]
    ports: tuple[Port, ...]
    external: str


class SliceEntry(NamedTuple):
    """A slice's ready endpoints. `hosts`: the label of an endpoint -> its addresses. `service`: namespace and name."""

    service: tuple[str, str]
    hosts: dict[str, tuple[str, ...]]
    ports: tuple[Port, ...]


def endpoint_label(hostname: str, ip: str) -> str:
    """The label an endpoint is known by (D4): its hostname, else its address with dashes."""
    if hostname:
        return hostname.lower()
    label = ip.replace(".", "-").replace(":", "-")
    return label + "0" if label.endswith("-") else label


@functools.lru_cache(8192)
def canonical(text: str) -> str | None:
    """An address as it is written usually; None if `text` is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


@functools.lru_cache(4096)
def _shared(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    """The same ports, held once: most slices have those of a few Services."""
    return ports


def read_service(service: core.Service) -> ServiceEntry | None:
    """None if it has no names: it waits for its address, or leads nowhere."""
    spec = service.spec
    ports = _shared(tuple(Port((p.name or "").lower(), (p.protocol or "TCP").lower(), p.port) for p in spec.ports))
    if spec.type == "ExternalName":
        return ServiceEntry("external", (), (), spec.external_name.lower()) if spec.external_name else None
    if spec.cluster_ip == "None":
        return ServiceEntry("headless", (), ports, "")
    ips = tuple(ip for ip in map(canonical, spec.cluster_i_ps or [spec.cluster_ip]) if ip is not None)
    return ServiceEntry("cluster", ips, ports, "") if ips else None


def read_slice(key: str, endpoint_slice: discovery.EndpointSlice) -> SliceEntry | None:
    """The slice `namespace/name`; None if it is of no Service, or of names instead of addresses."""
    name = endpoint_slice.metadata.labels.get(SERVICE_NAME_LABEL)
    if not name or endpoint_slice.address_type not in ("IPv4", "IPv6"):
        return None
    hosts: dict[str, tuple[str, ...]] = {}
    for endpoint in endpoint_slice.endpoints:
        if endpoint.conditions.ready is False:  # nil counts as ready (D5)
            continue
        for address in endpoint.addresses:
            ip = canonical(address)
            if ip is not None:
                label = endpoint_label(endpoint.hostname or "", ip)
                mine = hosts.get(label, ())
                if ip not in mine:
                    hosts[label] = (*mine, ip)
    ports = tuple(
        Port((p.name or "").lower(), (p.protocol or "TCP").lower(), p.port)
        for p in endpoint_slice.ports
        if p.port is not None and p.port > 0
    )
    return SliceEntry((key.partition("/")[0], name), hosts, _shared(ports))


def address_of_arpa(name: str) -> str | None:
    """`4.3.2.10.in-addr.arpa` as `10.2.3.4`; None when it is not a whole address."""
    if name.endswith(".in-addr.arpa"):
        parts = name.removesuffix(".in-addr.arpa").split(".")
        return canonical(".".join(reversed(parts)))
    if name.endswith(".ip6.arpa"):
        nibbles = name.removesuffix(".ip6.arpa").split(".")
        if len(nibbles) == 32 and all(len(n) == 1 for n in nibbles):
            digits = "".join(reversed(nibbles))
            return canonical(":".join(digits[i : i + 4] for i in range(0, 32, 4)))
    return None
