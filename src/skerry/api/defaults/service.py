"""Defaults of Service (S1-S5), Endpoints and EndpointSlice (S7)."""

from __future__ import annotations

from skerry.api.types import core, discovery

AFFINITY_SECONDS = 10800


def externally_accessible(spec: core.ServiceSpec) -> bool:
    """Whether traffic from outside the cluster can reach the Service (S3)."""
    return spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_i_ps))


def service(obj: core.Service) -> None:
    spec = obj.spec
    spec.session_affinity = spec.session_affinity or "None"
    if spec.session_affinity == "None":
        spec.session_affinity_config = None
    elif spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config = spec.session_affinity_config or core.SessionAffinityConfig()
        config.client_ip = config.client_ip or core.ClientIPConfig()
        if config.client_ip.timeout_seconds is None:
            config.client_ip.timeout_seconds = AFFINITY_SECONDS
    spec.type = spec.type or "ClusterIP"
    for port in spec.ports:
        port.protocol = port.protocol or "TCP"
        if port.target_port in (0, ""):
            port.target_port = port.port
    if not spec.external_traffic_policy and externally_accessible(spec):
        spec.external_traffic_policy = "Cluster"
    if spec.internal_traffic_policy is None and spec.type in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.internal_traffic_policy = "Cluster"
    if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
        spec.allocate_load_balancer_node_ports = True
    for ingress in obj.status.load_balancer.ingress:
        if ingress.ip and ingress.ip_mode is None:
            ingress.ip_mode = "VIP"


def endpoints(obj: core.Endpoints) -> None:
    for subset in obj.subsets:
        for port in subset.ports:
            port.protocol = port.protocol or "TCP"


def endpointslice(obj: discovery.EndpointSlice) -> None:
    for port in obj.ports:
        if port.name is None:
            port.name = ""
        if port.protocol is None:
            port.protocol = "TCP"
