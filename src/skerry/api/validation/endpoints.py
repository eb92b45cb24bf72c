"""Checks of Endpoints (V1-V3) and EndpointSlice (V4)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_many,
)
from skerry.api.types import core, discovery
from skerry.api.validation import ip, names
from skerry.api.validation.errors import IMMUTABLE, checked
from skerry.api.validation.service import PROTOCOLS, protocol

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_ENDPOINTS, _PORTS, _ADDRESSES, _ZONES = 1000, 20000, 100, 8


def create_endpoints(obj: core.Endpoints) -> list[FieldError]:
    """New Endpoints."""
    return _subsets(obj, _Former())


class _Former:
    """What an object had before: what is still there was good when it came, and need not be looked at again.

    A controller of this process gives the very same objects for what has not changed, which tells them quickly: there
    may be a thousand.
    """

    def __init__(self, had: Iterable[Any] = (), who: Callable[[Any], Any] = id) -> None:
        self._had, self._who = list(had), who
        self._same = set(map(id, self._had))

    def has(self, one: Any) -> bool:
        return id(one) in self._same or (bool(self._same) and self._by_identity.get(self._who(one)) == one)

    @functools.cached_property
    def _by_identity(self) -> dict[Any, Any]:
        return {self._who(one): one for one in self._had}

    @functools.cached_property
    def addresses(self) -> set[str]:
        """Their texts."""
        return {text for one in self._had for text in ([one.ip] if hasattr(one, "ip") else one.addresses)}


def _subsets(obj: core.Endpoints, former: _Former) -> list[FieldError]:
    out: list[FieldError] = []
    for i, subset in enumerate(obj.subsets):
        path = f"subsets[{i}]"
        if not subset.addresses and not subset.not_ready_addresses:
            out.append(field_required(path, "must specify `addresses` or `notReadyAddresses`"))
        for name, group in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for j, one in enumerate(group):
                if not former.has(one):
                    out += _address(one, f"{path}.{name}[{j}]", former.addresses)
        for j, port in enumerate(subset.ports):
            out += _port(port, len(subset.ports) > 1, f"{path}.ports[{j}]")
    return out


def update_endpoints(new: core.Endpoints, old: core.Endpoints) -> list[FieldError]:
    """Endpoints that exist; what has not changed is not checked again."""
    if new.subsets == old.subsets:
        return []
    had = (one for each in old.subsets for one in (*each.addresses, *each.not_ready_addresses))
    return _subsets(new, _Former(had, _who))


def _who(one: core.EndpointAddress) -> tuple[str, str]:
    return one.ip, one.target_ref.uid if one.target_ref is not None else ""


def _address(one: core.EndpointAddress, path: str, known: Collection[str]) -> list[FieldError]:
    out = ip.endpoint(f"{path}.ip", one.ip, known)
    if one.hostname:
        out += checked(f"{path}.hostname", one.hostname, names.dns1123_label)
    # The controller writes an empty nodeName for a pod on no node (E22).
    if one.node_name:
        out += checked(f"{path}.nodeName", one.node_name, names.dns1123_subdomain)
    return out


def _port(port: core.EndpointPort, named: bool, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if port.name:
        out += checked(f"{path}.name", port.name, names.dns1123_label)
    elif named:
        out.append(field_required(f"{path}.name"))
    out += [field_invalid(f"{path}.port", port.port, one) for one in names.port_number(port.port)]
    out += protocol(f"{path}.protocol", port.protocol)
    if port.app_protocol is not None:
        out += checked(f"{path}.appProtocol", port.app_protocol, names.qualified_name)
    return out


def create_endpointslice(obj: discovery.EndpointSlice) -> list[FieldError]:
    """A new EndpointSlice."""
    out: list[FieldError] = []
    if not obj.address_type:
        out.append(field_required("addressType"))
    elif obj.address_type not in ADDRESS_TYPES:
        out.append(field_not_supported("addressType", obj.address_type, ADDRESS_TYPES))
    return out + _slice(obj, _Former())


def update_endpointslice(new: discovery.EndpointSlice, old: discovery.EndpointSlice) -> list[FieldError]:
    """An EndpointSlice that exists; its address type cannot change."""
    out: list[FieldError] = []
    if new.address_type != old.address_type:
        out.append(field_invalid("addressType", new.address_type, IMMUTABLE))
    same_type = new.address_type == old.address_type
    return out + _slice(new, _Former(old.endpoints, lambda one: tuple(one.addresses)), same_type=same_type)


def _slice(obj: discovery.EndpointSlice, former: _Former, *, same_type: bool = True) -> list[FieldError]:
    out: list[FieldError] = []
    if len(obj.endpoints) > _ENDPOINTS:
        return [field_too_many("endpoints", len(obj.endpoints), _ENDPOINTS)]
    for i, one in enumerate(obj.endpoints):
        if not (same_type and former.has(one)):
            out += _endpoint(one, obj.address_type, f"endpoints[{i}]", former.addresses)
    if len(obj.ports) > _PORTS:
        return [*out, field_too_many("ports", len(obj.ports), _PORTS)]
    seen: set[str] = set()
    for i, port in enumerate(obj.ports):
        out += _slice_port(port, seen, f"ports[{i}]")
    return out


def _endpoint(one: discovery.Endpoint, kind: str, path: str, known: Collection[str]) -> list[FieldError]:
    out: list[FieldError] = []
    if not one.addresses:
        out.append(field_required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(one.addresses) > _ADDRESSES:
        out.append(field_too_many(f"{path}.addresses", len(one.addresses), _ADDRESSES))
    for i, text in enumerate(one.addresses):
        out += _slice_address(text, kind, f"{path}.addresses[{i}]", known)
    if one.hostname is not None:
        out += checked(f"{path}.hostname", one.hostname, names.dns1123_label)
    if one.node_name:
        out += checked(f"{path}.nodeName", one.node_name, names.dns1123_subdomain)
    if one.zone is not None:
        out += checked(f"{path}.zone", one.zone, names.label_value)
    if one.hints is not None:
        zones = [zone.name for zone in one.hints.for_zones]
        out += _hints(zones, names.label_value, f"{path}.hints.forZones")
        nodes = [node.name for node in one.hints.for_nodes]
        out += _hints(nodes, names.dns1123_subdomain, f"{path}.hints.forNodes")
    return out


def _slice_address(text: str, kind: str, path: str, known: Collection[str]) -> list[FieldError]:
    match kind:
        case "IPv4" | "IPv6":
            out = ip.address(path, text, known)
            if not out and ip.family(text) != kind:
                out.append(field_invalid(path, text, f"must be an {kind} address"))
            return out or ip.not_special(path, text)
        case "FQDN":
            return _domain(path, text)
    return []


def _domain(path: str, text: str) -> list[FieldError]:
    """A fully qualified name: at least two labels."""
    name = text.removesuffix(".")
    if not name:
        return [field_required(path)]
    complaints = names.dns1123_subdomain(name)
    if complaints:
        return [field_invalid(path, name, ",".join(complaints))]
    if "." not in name:
        return [field_invalid(path, name, "should be a domain with at least two segments separated by dots")]
    return []


def _hints(values: list[str], check: names.Check, path: str) -> list[FieldError]:
    if len(values) > _ZONES:
        return [field_too_many(path, len(values), _ZONES)]
    out: list[FieldError] = []
    for i, value in enumerate(values):
        if value in values[:i]:
            out.append(field_duplicate(f"{path}[{i}].name", value))
        out += checked(f"{path}[{i}].name", value, check)
    return out


def _slice_port(port: discovery.EndpointPort, seen: set[str], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    name = port.name or ""
    if name:
        out += checked(f"{path}.name", name, names.dns1123_label)
    if name in seen:
        out.append(field_duplicate(f"{path}.name", name))
    seen.add(name)
    if port.protocol is None:
        out.append(field_required(f"{path}.protocol"))
    elif port.protocol not in PROTOCOLS:
        out.append(field_not_supported(f"{path}.protocol", port.protocol, PROTOCOLS))
    if port.port is not None:
        out += [field_invalid(f"{path}.port", port.port, one) for one in names.port_number(port.port)]
    if port.app_protocol is not None:
        out += checked(f"{path}.appProtocol", port.app_protocol, names.qualified_name)
    return out
