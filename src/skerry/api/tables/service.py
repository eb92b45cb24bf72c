"""Service (T6), Endpoints (T7), EndpointSlice (T8)."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, UNSET, column, first, joined, pairs
from skerry.api.tables.duration import since
from skerry.api.types import core, discovery, networking

SERVICE_COLUMNS = (
    NAME,
    column("Type", "How the Service is reached."),
    column("Cluster-IP", "The address inside the cluster."),
    column("External-IP", "Addresses or the name outside the cluster."),
    column("Port(s)", "Ports, with their node ports if there are any."),
    AGE,
    column("Selector", "Labels of the pods that stand behind it.", wide=True),
)


def ingress_addresses(status: core.LoadBalancerStatus | networking.IngressLoadBalancerStatus) -> list[str]:
    """Addresses or names of a load balancer, sorted, each once."""
    return sorted({one.ip or one.hostname for one in status.ingress} - {""})


def _external(obj: core.Service) -> str:
    spec = obj.spec
    match spec.type:
        case "ClusterIP" | "NodePort":
            return joined(spec.external_i_ps)
        case "LoadBalancer":
            return ",".join([*ingress_addresses(obj.status.load_balancer), *spec.external_i_ps]) or "<pending>"
        case "ExternalName":
            return spec.external_name
    return "<unknown>"


def _port(port: core.ServicePort) -> str:
    node = f":{port.node_port}" if port.node_port > 0 else ""
    return f"{port.port}{node}/{port.protocol}"


def service_cells(obj: core.Service, now: float) -> list[Any]:
    spec = obj.spec
    address = spec.cluster_i_ps[0] if spec.cluster_i_ps else spec.cluster_ip
    return [
        obj.metadata.name,
        spec.type,
        address or NONE,
        _external(obj),
        joined(_port(one) for one in spec.ports),
        since(obj.metadata.creation_timestamp, now),
        pairs(spec.selector),
    ]


ENDPOINTS_COLUMNS = (NAME, column("Endpoints", "Addresses and ports that are ready."), AGE)


def host_port(ip: str, port: int) -> str:
    """`ip:port`, IPv6 in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _endpoints(obj: core.Endpoints) -> str:
    if not obj.subsets:
        return NONE
    shown: list[str] = []
    for subset in obj.subsets:
        if not subset.ports:
            shown += [one.ip for one in subset.addresses]
        for port in subset.ports:
            shown += [host_port(one.ip, port.port) for one in subset.addresses]
    return first(shown)


def endpoints_cells(obj: core.Endpoints, now: float) -> list[Any]:
    return [obj.metadata.name, _endpoints(obj), since(obj.metadata.creation_timestamp, now)]


ENDPOINTSLICE_COLUMNS = (
    NAME,
    column("AddressType", "What the addresses are: IPv4, IPv6 or FQDN."),
    column("Ports", "The ports of every endpoint in the slice."),
    column("Endpoints", "The addresses in the slice, ready or not."),
    AGE,
)


def _slice_port(port: discovery.EndpointPort) -> str:
    return str(port.port) if port.port is not None else port.name or "*"


def endpointslice_cells(obj: discovery.EndpointSlice, now: float) -> list[Any]:
    addresses = [one for endpoint in obj.endpoints for one in endpoint.addresses]
    return [
        obj.metadata.name,
        obj.address_type,
        first([_slice_port(one) for one in obj.ports]) or UNSET,
        first(addresses) or UNSET,
        since(obj.metadata.creation_timestamp, now),
    ]
