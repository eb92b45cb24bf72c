"""What a Service says that is ignored, deprecated or oddly written (S25). Called by the Service strategy."""

from __future__ import annotations

from skerry.api.types import core
from skerry.api.validation import ip
from skerry.api.validation.service import TOPOLOGY_HINTS, TOPOLOGY_MODE, headless
from skerry.apiserver.strategies.addresses import ip_warnings


def of(new: core.Service, old: core.Service | None) -> list[str]:
    """Sentences for the HTTP Warning header; what was there before is not told again where it is an address."""
    spec, out = new.spec, list[str]()
    if TOPOLOGY_HINTS in new.metadata.annotations:
        out.append(
            f"metadata.annotations[{TOPOLOGY_HINTS}]: annotation {TOPOLOGY_HINTS} is deprecated, "
            f"please use {TOPOLOGY_MODE} instead"
        )
    if headless(spec):
        if spec.load_balancer_ip:
            out.append("spec.loadBalancerIP is ignored for headless services")
        if spec.external_i_ps:
            out.append("spec.externalIPs is ignored for headless services")
        if spec.session_affinity not in ("", "None"):
            out.append("spec.SessionAffinity is ignored for headless services")
    if spec.external_name and spec.type != "ExternalName":
        out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.traffic_distribution == "PreferClose":
        out.append("spec.trafficDistribution: PreferClose is deprecated; use PreferSameZone")
    if spec.external_i_ps and (old is None or spec.external_i_ps != old.spec.external_i_ps):
        out.append("spec.externalIPs is deprecated since v1.36 and will be removed in a future release")
    return out + _addresses(spec, old.spec if old is not None else None)


def _addresses(spec: core.ServiceSpec, old: core.ServiceSpec | None) -> list[str]:
    out: list[str] = []
    known = [] if old is None else [*old.cluster_i_ps, *old.external_i_ps, old.load_balancer_ip]
    for i, text in enumerate(spec.cluster_i_ps):
        if text != "None" and text not in known:
            out += ip_warnings(f"spec.clusterIPs[{i}]", text)
    for i, text in enumerate(spec.external_i_ps):
        if text not in known:
            out += ip_warnings(f"spec.externalIPs[{i}]", text)
    if ip.parse(spec.load_balancer_ip) is not None and spec.load_balancer_ip not in known:
        out += ip_warnings("spec.loadBalancerIP", spec.load_balancer_ip)
    return out
