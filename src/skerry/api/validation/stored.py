"""Checks of what is stored and not acted on: NetworkPolicy, RuntimeClass, ServiceCIDR, IPAddress."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported, field_required
from skerry.api.types import networking, node
from skerry.api.validation import amounts, names, scheduling
from skerry.api.validation import meta as checks
from skerry.api.validation.errors import checked, required, unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TYPES = ("Egress", "Ingress")


def create_networkpolicy(obj: networking.NetworkPolicy) -> list[FieldError]:
    """A new NetworkPolicy."""
    spec = obj.spec
    out = checks.label_selector("spec.podSelector", spec.pod_selector)
    for i, way in enumerate(spec.ingress):
        at = f"spec.ingress[{i}]"
        out += _ports(way.ports, f"{at}.ports") + _peers(way.from_, f"{at}.from")
    for i, out_way in enumerate(spec.egress):
        at = f"spec.egress[{i}]"
        out += _ports(out_way.ports, f"{at}.ports") + _peers(out_way.to, f"{at}.to")
    if len(spec.policy_types) > 2:
        out.append(field_invalid("spec.policyTypes", spec.policy_types, "may not specify more than two policyTypes"))
        return out
    for i, kind in enumerate(spec.policy_types):
        if kind not in _TYPES:
            out.append(field_not_supported(f"spec.policyTypes[{i}]", kind, _TYPES))
    return out


def update_networkpolicy(new: networking.NetworkPolicy, old: networking.NetworkPolicy) -> list[FieldError]:  # noqa: ARG001
    """A NetworkPolicy that exists: all of it may change."""
    return create_networkpolicy(new)


def _ports(ports: Sequence[networking.NetworkPolicyPort], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for i, one in enumerate(ports):
        at = f"{path}[{i}]"
        if one.protocol not in _PROTOCOLS:
            out.append(field_not_supported(f"{at}.protocol", one.protocol, _PROTOCOLS))
        if isinstance(one.port, int):
            if not 0 < one.port < 65536:
                out.append(field_invalid(f"{at}.port", one.port, "must be between 1 and 65535, inclusive"))
            if one.end_port is not None and one.end_port < one.port:
                why = "must be greater than or equal to `port`"
                out.append(field_invalid(f"{at}.endPort", one.end_port, why))
        elif one.end_port is not None:
            why = "may not be specified when `port` is " + ("not specified" if one.port is None else "non-numeric")
            out.append(field_invalid(f"{at}.endPort", one.end_port, why))
    return out


def _peers(peers: Sequence[networking.NetworkPolicyPeer], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for i, one in enumerate(peers):
        at = f"{path}[{i}]"
        out += checks.label_selector(f"{at}.podSelector", one.pod_selector)
        out += checks.label_selector(f"{at}.namespaceSelector", one.namespace_selector)
        selects = one.pod_selector is not None or one.namespace_selector is not None
        if one.ip_block is None and not selects:
            out.append(field_required(at, "must specify a peer"))
        elif one.ip_block is not None:
            if selects:
                out.append(field_forbidden(at, "may not specify both ipBlock and another peer"))
            out += _block(one.ip_block, f"{at}.ipBlock")
    return out


def _block(one: networking.IPBlock, path: str) -> list[FieldError]:
    if not one.cidr:
        return [field_required(f"{path}.cidr")]
    says = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    whole = _network(one.cidr)
    if whole is None:
        return [field_invalid(f"{path}.cidr", one.cidr, says)]
    out: list[FieldError] = []
    for i, text in enumerate(one.except_):
        part = _network(text)
        if part is None:
            out.append(field_invalid(f"{path}.except[{i}]", text, says))
        elif part.version != whole.version or not part.subnet_of(whole) or part == whole:  # type: ignore[arg-type]
            out.append(field_invalid(f"{path}.except[{i}]", text, f"must be a strict subset of `cidr`: {one.cidr}"))
    return out


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def create_runtimeclass(obj: node.RuntimeClass) -> list[FieldError]:
    """A new RuntimeClass."""
    out = required("handler", obj.handler, names.dns1123_label)
    if obj.overhead is not None:
        out += amounts.limits(obj.overhead.pod_fixed, "overhead.podFixed")
    if obj.scheduling is not None:
        out += checks.labels("scheduling.nodeSelector", obj.scheduling.node_selector)
        out += scheduling.tolerations(obj.scheduling.tolerations, "scheduling.tolerations")
    return out


def update_runtimeclass(new: node.RuntimeClass, old: node.RuntimeClass) -> list[FieldError]:
    """A RuntimeClass that exists: its handler stays."""
    return unchanged("handler", new.handler, old.handler)


def create_servicecidr(obj: networking.ServiceCIDR) -> list[FieldError]:
    """The one that says which ranges the cluster was started with."""
    if obj.metadata.name != "kubernetes":
        why = "the ranges of Services are those that the cluster was started with (skerry up --service-cidr)"
        return [field_forbidden("metadata.name", why)]
    return [] if obj.spec.cidrs else [field_required("spec.cidrs", "at least one CIDR required")]


def update_servicecidr(new: networking.ServiceCIDR, old: networking.ServiceCIDR) -> list[FieldError]:
    """A ServiceCIDR that exists: its ranges stay."""
    return unchanged("spec.cidrs", new.spec.cidrs, old.spec.cidrs)


def create_ipaddress(obj: networking.IPAddress) -> list[FieldError]:
    """A new IPAddress: somebody has it."""
    ref, path = obj.spec.parent_ref, "spec.parentRef"
    if ref is None:
        return [field_required(path)]
    out = checked(f"{path}.group", ref.group, names.dns1123_subdomain) if ref.group else []
    out += required(f"{path}.resource", ref.resource, names.path_segment)
    out += required(f"{path}.name", ref.name, names.path_segment)
    return out + (checked(f"{path}.namespace", ref.namespace, names.path_segment) if ref.namespace else [])


def update_ipaddress(new: networking.IPAddress, old: networking.IPAddress) -> list[FieldError]:
    """An IPAddress that exists: whose it is stays."""
    return unchanged("spec.parentRef", new.spec.parent_ref, old.spec.parent_ref)
