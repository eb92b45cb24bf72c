"""Small builders of the objects that the proxy reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skerry.api.types import core, discovery, meta
from skerry.proxy.table import Backend, Node

NODE = Node("a", ("10.243.0.2",), pod_cidrs=("10.244.1.0/24",), zone="east")


def port(number: int = 80, name: str = "", protocol: str = "TCP", node_port: int = 0) -> core.ServicePort:
    return core.ServicePort(name=name, protocol=protocol, port=number, node_port=node_port)


def service(
    name: str = "web",
    ip: str = "10.96.0.9",
    *ports: core.ServicePort,
    labels: dict[str, str] | None = None,
    ingress: Iterable[core.LoadBalancerIngress] = (),
    **spec: Any,
) -> core.Service:
    found = core.ServiceSpec(
        type=spec.pop("type", "ClusterIP"),
        cluster_ip=ip,
        cluster_i_ps=spec.pop("cluster_i_ps", [ip] if ip else []),
        ports=list(ports) or [port()],
        **spec,
    )
    status = core.ServiceStatus(load_balancer=core.LoadBalancerStatus(ingress=list(ingress)))
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace="default", labels=labels or {}), spec=found, status=status
    )


def endpoint(
    address: str,
    *,
    ready: bool | None = True,
    serving: bool | None = True,
    terminating: bool | None = False,
    node: str | None = "b",
    zones: Iterable[str] = (),
    nodes: Iterable[str] = (),
) -> discovery.Endpoint:
    hints = None
    if zones or nodes:
        hints = discovery.EndpointHints(
            for_zones=[discovery.ForZone(name=one) for one in zones],
            for_nodes=[discovery.ForNode(name=one) for one in nodes],
        )
    conditions = discovery.EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    return discovery.Endpoint(addresses=[address], conditions=conditions, node_name=node, hints=hints)


def terminating(address: str, *, serving: bool = True, node: str = "b") -> discovery.Endpoint:
    return endpoint(address, ready=False, serving=serving, terminating=True, node=node)


def slice_of(
    *endpoints: discovery.Endpoint,
    of: str = "web",
    name: str = "web-1",
    ports: Iterable[discovery.EndpointPort] = (),
    kind: str = "IPv4",
    labels: dict[str, str] | None = None,
) -> discovery.EndpointSlice:
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=name, namespace="default", labels={"kubernetes.io/service-name": of, **(labels or {})}
        ),
        address_type=kind,
        endpoints=list(endpoints),
        ports=list(ports) or [discovery.EndpointPort(name="", protocol="TCP", port=8080)],
    )


def backends(*addresses: str, port: int = 8080) -> set[Backend]:
    return {Backend(one, port) for one in addresses}
