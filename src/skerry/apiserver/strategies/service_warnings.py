"""What a Service says that is ignored, deprecated or oddly written (S25). Called by the Service strategy."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.api.types import core
from skerry.api.validation.service import TOPOLOGY_HINTS, TOPOLOGY_MODE, headless
from skerry.apiserver.strategies.addresses import ip_warnings


def of(spec: core.ServiceSpec, annotations: Mapping[str, str]) -> list[str]:
    """Sentences for the HTTP Warning header."""
    out: list[str] = []
    if TOPOLOGY_HINTS in annotations:
        out.append(f"annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead")
    for i, text in enumerate(spec.cluster_i_ps):
        out += ip_warnings(f"spec.clusterIPs[{i}]", text)
    without_ip = headless(spec) and spec.type == "ClusterIP"
    if without_ip:
        if spec.load_balancer_ip:
            out.append("spec.loadBalancerIP is ignored for headless services")
        if spec.external_i_ps:
            out.append("spec.externalIPs is ignored for headless services")
        if spec.session_affinity != "None":
            out.append("spec.SessionAffinity is ignored for headless services")
    for i, text in enumerate(spec.external_i_ps):
        out += ip_warnings(f"spec.externalIPs[{i}]", text)
    if spec.external_i_ps and not without_ip and spec.type != "ExternalName":
        out.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.load_balancer_ip:
        out += ip_warnings("spec.loadBalancerIP", spec.load_balancer_ip)
    if spec.type == "ExternalName" and spec.external_i_ps:
        out.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if spec.type != "ExternalName" and spec.external_name:
        out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.traffic_distribution == "PreferClose":
        out.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return out
