"""Checks of Service (S8-S24, S31, S32). Called through validation.create and validation.update."""

from __future__ import annotations

from collections.abc import Collection

from skerry.api.defaults.service import externally_accessible
from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from skerry.api.types import core
from skerry.api.validation import ip, meta, names
from skerry.api.validation.errors import IMMUTABLE, checked, one_of, shown

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
FAMILIES = ("IPv4", "IPv6")
POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
AFFINITY_LIMIT = 86400
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_ONLY_LB = "may only be used when `type` is 'LoadBalancer'"
_ONCE = "may not change once set"


def headless(spec: core.ServiceSpec) -> bool:
    """Whether the Service has no cluster IP on purpose."""
    return spec.cluster_i_ps == ["None"] or spec.cluster_ip == "None"


def needs_health_check(spec: core.ServiceSpec) -> bool:
    """Whether the Service has a health check port (S21)."""
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


def create_service(obj: core.Service) -> list[FieldError]:
    """A new Service."""
    return _service(obj, _Known())


def update_service(new: core.Service, old: core.Service) -> list[FieldError]:
    """A Service that exists."""
    out = _cluster_ips_change(new.spec, old.spec) + _families_change(new.spec, old.spec)
    both = new.spec.type == old.spec.type == "LoadBalancer"
    if both and old.spec.load_balancer_class != new.spec.load_balancer_class:
        out.append(field_invalid("spec.loadBalancerClass", new.spec.load_balancer_class, _ONCE))
    if needs_health_check(old.spec) and needs_health_check(new.spec):
        before, after = old.spec.health_check_node_port, new.spec.health_check_node_port
        if before != after:
            out.append(field_forbidden("spec.healthCheckNodePort", IMMUTABLE))
    return out + _service(new, _Known(old))


def status_service(new: core.Service, old: core.Service) -> list[FieldError]:  # noqa: ARG001
    """A write of a Service's status (S47)."""
    out: list[FieldError] = []
    path = "status.loadBalancer.ingress"
    if new.status.load_balancer.ingress and new.spec.type != "LoadBalancer":
        out.append(field_forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"))
    for i, one in enumerate(new.status.load_balancer.ingress):
        if one.ip:
            out += ip.address(f"{path}[{i}].ip", one.ip)
            if one.ip_mode is None:
                out.append(field_required(f"{path}[{i}].ipMode", "must be specified when `ip` is set"))
        elif one.ip_mode is not None:
            out.append(field_forbidden(f"{path}[{i}].ipMode", "may not be specified when `ip` is not set"))
        if one.ip_mode not in (None, "VIP", "Proxy"):
            out.append(field_not_supported(f"{path}[{i}].ipMode", one.ip_mode, ("Proxy", "VIP")))
        if one.hostname:
            out += checked(f"{path}[{i}].hostname", one.hostname, names.dns1123_subdomain)
            if ip.parse(one.hostname) is not None:
                why = "must be a DNS name, not an IP address"
                out.append(field_invalid(f"{path}[{i}].hostname", one.hostname, why))
    return out


class _Known:
    """Addresses that a Service has already: they are not judged by newer rules."""

    def __init__(self, old: core.Service | None = None) -> None:
        spec = old.spec if old is not None else core.ServiceSpec()
        self.cluster_ips, self.external_ips = spec.cluster_i_ps, spec.external_i_ps
        self.source_ranges = [one.strip() for one in spec.load_balancer_source_ranges]


def _service(obj: core.Service, known: _Known) -> list[FieldError]:
    spec = obj.spec
    out = _annotations(obj.metadata.annotations)
    if not spec.ports and not headless(spec) and spec.type != "ExternalName":
        out.append(field_required("spec.ports"))
    out += _by_type(spec)
    seen: set[str] = set()
    for i, port in enumerate(spec.ports):
        out += _port(port, len(spec.ports) > 1, seen, f"spec.ports[{i}]")
    out += meta.labels("spec.selector", spec.selector)
    out += _affinity(spec)
    out += cluster_ips(spec, known.cluster_ips)
    for i, text in enumerate(spec.external_i_ps):
        out += ip.endpoint(f"spec.externalIPs[{i}]", text, known.external_ips)
    out += [field_required("spec.type")] if not spec.type else one_of("spec.type", spec.type, TYPES)
    out += _unique_ports(spec)
    out += _load_balancer(obj, known)
    out += _external(spec)
    return out + _internal(spec)


def _annotations(annotations: dict[str, str]) -> list[FieldError]:
    hints, mode = annotations.get(TOPOLOGY_HINTS), annotations.get(TOPOLOGY_MODE)
    if hints is None or mode is None or hints == mode:
        return []
    why = f"must match annotations[{TOPOLOGY_HINTS}] when both are specified"
    return [field_invalid(f"metadata.annotations[{TOPOLOGY_MODE}]", mode, why)]


def _by_type(spec: core.ServiceSpec) -> list[FieldError]:
    out: list[FieldError] = []
    if spec.type in ("LoadBalancer", "NodePort"):
        out += [
            field_invalid(f"spec.clusterIPs[{i}]", text, f"may not be set to 'None' for {spec.type} services")
            for i, text in enumerate(spec.cluster_i_ps or [spec.cluster_ip])
            if text == "None"
        ]
    if spec.type == "ExternalName":
        set_fields = (("clusterIPs", spec.cluster_i_ps), ("ipFamilies", spec.ip_families))
        out += [
            field_forbidden(f"spec.{name}", "may not be set for ExternalName services")
            for name, value in (*set_fields, ("ipFamilyPolicy", spec.ip_family_policy))
            if value
        ]
        name = spec.external_name.removesuffix(".")
        if name:
            out += checked("spec.externalName", name, names.dns1123_subdomain)
        else:
            out.append(field_required("spec.externalName"))
    return out


def _port(port: core.ServicePort, named: bool, seen: set[str], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if not port.name:
        if named:
            out.append(field_required(f"{path}.name"))
    else:
        out += checked(f"{path}.name", port.name, names.dns1123_label)
        if port.name in seen:
            out.append(field_duplicate(f"{path}.name", port.name))
        seen.add(port.name)
    out += [field_invalid(f"{path}.port", port.port, one) for one in names.port_number(port.port)]
    out += protocol(f"{path}.protocol", port.protocol)
    out += port_or_name(f"{path}.targetPort", port.target_port)
    if port.app_protocol is not None:
        out += checked(f"{path}.appProtocol", port.app_protocol, names.qualified_name)
    return out


def protocol(path: str, value: str | None) -> list[FieldError]:
    """TCP, UDP or SCTP, and not missing."""
    return one_of(path, value, PROTOCOLS) if value else [field_required(path)]


def port_or_name(path: str, value: int | str) -> list[FieldError]:
    """A port's number or its IANA name."""
    complaints = names.port_number(value) if isinstance(value, int) else names.port_name(value)
    return [field_invalid(path, value, one) for one in complaints]


def _affinity(spec: core.ServiceSpec) -> list[FieldError]:
    path, config = "spec.sessionAffinityConfig", spec.session_affinity_config
    match spec.session_affinity:
        case "":
            return [field_required("spec.sessionAffinity")]
        case "None":
            why = "must not be set when session affinity is None"
            return [field_forbidden(path, why)] if config is not None else []
        case "ClientIP":
            missing = "when session affinity type is ClientIP"
            if config is None:
                return [field_required(path, missing)]
            if config.client_ip is None:
                return [field_required(f"{path}.clientIP", missing)]
            seconds = config.client_ip.timeout_seconds
            if seconds is None:
                return [field_required(f"{path}.clientIP.timeoutSeconds", missing)]
            if not 0 < seconds <= AFFINITY_LIMIT:
                # "less than" is what upstream says, though the limit itself is good (S16).
                why = f"must be greater than 0 and less than {AFFINITY_LIMIT}"
                return [field_invalid(f"{path}.clientIP.timeoutSeconds", seconds, why)]
            return []
    return [field_not_supported("spec.sessionAffinity", spec.session_affinity, ("ClientIP", "None"))]


def cluster_ips(spec: core.ServiceSpec, known: Collection[str] = ()) -> list[FieldError]:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy among themselves (S24); `known` are the old addresses."""
    if spec.type == "ExternalName":
        return []
    out: list[FieldError] = []
    path, ips = "spec.clusterIPs", spec.cluster_i_ps
    if spec.cluster_ip:
        if not ips:
            out.append(field_required(path))
        elif ips[0] != spec.cluster_ip:
            out.append(field_invalid(path, ips, "first value must match `clusterIP`"))
    elif ips:
        out.append(field_invalid(path, ips, "must be empty when `clusterIP` is not specified"))
    out += _families(spec)
    bad: list[FieldError] = []
    for i, text in enumerate(ips):
        if i == 0 and text == "None":
            if len(ips) > 1:
                bad.append(field_invalid(path, ips, "'None' must be the first and only value"))
        else:
            bad += ip.address(f"{path}[{i}]", text, known)
    out += bad
    if len(ips) > 2:
        out.append(field_invalid(path, ips, "may only hold up to 2 values"))
    if bad:
        return out
    if len(ips) > 1 and len({ip.family(text) for text in ips}) < 2:
        out.append(field_invalid(path, ips, "may specify no more than one IP for each IP family"))
    if not out and not headless(spec):
        for i, (text, family) in enumerate(zip(ips, spec.ip_families, strict=False)):
            if ip.family(text) != family:
                why = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
                out.append(field_invalid(f"{path}[{i}]", text, why))
    return out


def _families(spec: core.ServiceSpec) -> list[FieldError]:
    out: list[FieldError] = []
    for i, family in enumerate(spec.ip_families):
        out += one_of(f"spec.ipFamilies[{i}]", family, FAMILIES)
        if family in spec.ip_families[:i]:
            out.append(field_duplicate(f"spec.ipFamilies[{i}]", family))
    if spec.ip_family_policy is not None:
        out += one_of("spec.ipFamilyPolicy", spec.ip_family_policy, POLICIES)
    return out


def _unique_ports(spec: core.ServiceSpec) -> list[FieldError]:
    out: list[FieldError] = []
    ports: set[tuple[str, int]] = set()
    node_ports: set[tuple[str, int]] = set()
    for i, port in enumerate(spec.ports):
        path = f"spec.ports[{i}]"
        if port.node_port:
            if spec.type == "ClusterIP":
                out.append(field_forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'"))
            if (port.protocol, port.node_port) in node_ports:
                out.append(field_duplicate(f"{path}.nodePort", port.node_port))
            node_ports.add((port.protocol, port.node_port))
        if (port.protocol, port.port) in ports:
            # The value is upstream's internal struct, of which only what is compared is filled in.
            value = {"Name": "", "Protocol": port.protocol, "AppProtocol": None, "Port": port.port}
            out.append(field_duplicate(path, {**value, "TargetPort": 0, "NodePort": 0}))
        ports.add((port.protocol, port.port))
    return out


def _load_balancer(obj: core.Service, known: _Known) -> list[FieldError]:
    spec, out = obj.spec, []
    is_one = spec.type == "LoadBalancer"
    if spec.load_balancer_source_ranges:
        path = "spec.LoadBalancerSourceRanges"  # upstream's spelling (S18)
        if not is_one:
            out.append(field_forbidden(path, _ONLY_LB))
        for i, text in enumerate(spec.load_balancer_source_ranges):
            out += ip.cidr(f"{path}[{i}]", text.strip(), known.source_ranges)
    elif SOURCE_RANGES in obj.metadata.annotations:
        path, value = f"metadata.annotations[{SOURCE_RANGES}]", obj.metadata.annotations[SOURCE_RANGES].strip()
        if not is_one:
            out.append(field_forbidden(path, _ONLY_LB))
        for text in value.split(",") if value else []:
            out += ip.cidr(path, text.strip())
    if spec.allocate_load_balancer_node_ports is not None and not is_one:
        out.append(field_forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_LB))
    if spec.allocate_load_balancer_node_ports is None and is_one:
        out.append(field_required("allocateLoadBalancerNodePorts"))
    if spec.load_balancer_class is not None:
        if not is_one:
            out.append(field_forbidden("spec.loadBalancerClass", _ONLY_LB))
        else:
            out += checked("spec.loadBalancerClass", spec.load_balancer_class, names.qualified_name)
    return out


def _external(spec: core.ServiceSpec) -> list[FieldError]:
    out: list[FieldError] = []
    path, value = "spec.externalTrafficPolicy", spec.external_traffic_policy
    if not externally_accessible(spec):
        if value:
            out.append(field_invalid(path, value, "may only be set for externally-accessible services"))
    elif not value:
        out.append(field_required(path))
    else:
        out += one_of(path, value, ("Cluster", "Local"))
    port = spec.health_check_node_port
    if port and not needs_health_check(spec):
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        out.append(field_invalid("spec.healthCheckNodePort", port, why))
    elif needs_health_check(spec) and not port:
        out.append(field_required("spec.healthCheckNodePort"))
    elif port:
        out += [field_invalid("spec.healthCheckNodePort", port, one) for one in names.port_number(port)]
    return out


def _internal(spec: core.ServiceSpec) -> list[FieldError]:
    out: list[FieldError] = []
    if spec.internal_traffic_policy is not None:
        out += one_of("spec.internalTrafficPolicy", spec.internal_traffic_policy, ("Cluster", "Local"))
    elif spec.type in ("ClusterIP", "LoadBalancer", "NodePort"):
        out.append(field_required("spec.internalTrafficPolicy"))
    if spec.traffic_distribution is not None:
        out += one_of("spec.trafficDistribution", spec.traffic_distribution, DISTRIBUTIONS)
    return out


def _cluster_ips_change(new: core.ServiceSpec, old: core.ServiceSpec) -> list[FieldError]:
    """S31, S32."""
    if "ExternalName" in (new.type, old.type) or (headless(new) and headless(old)):
        return []
    path, now, was = "spec.clusterIPs", new.cluster_i_ps, old.cluster_i_ps
    if len(now) == len(was):
        return [
            field_invalid(f"{path}[{i}]", now, _ONCE)
            for i, (one, other) in enumerate(zip(now, was, strict=True))
            if one != other
        ]
    out: list[FieldError] = []
    if not now:
        out.append(field_invalid(f"{path}[0]", None, "primary clusterIP can not be unset"))
    elif was and now[0] != was[0]:
        out.append(field_invalid(f"{path}[0]", now, _ONCE))
    if len(was) > len(now) == 1 and new.ip_family_policy != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        out.append(field_invalid("spec.ipFamilyPolicy", new.ip_family_policy, why))
    return out


def _families_change(new: core.ServiceSpec, old: core.ServiceSpec) -> list[FieldError]:
    """S31, S32; the families of headless Services are free."""
    if "ExternalName" in (new.type, old.type) or headless(new) or headless(old):
        return []
    path, now, was = "spec.ipFamilies[0]", new.ip_families, old.ip_families
    out: list[FieldError] = []
    if len(now) == len(was):
        return [field_invalid(path, now, _ONCE) for one, other in zip(now, was, strict=True) if one != other]
    if not now:
        out.append(field_invalid(path, None, "primary ipFamily can not be unset"))
    elif was and now[0] != was[0]:
        out.append(field_invalid(path, shown(now), _ONCE))
    if len(was) > len(now) == 1 and new.ip_family_policy != "SingleStack":
        why = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        out.append(field_invalid("spec.ipFamilyPolicy", new.ip_family_policy, why))
    return out
