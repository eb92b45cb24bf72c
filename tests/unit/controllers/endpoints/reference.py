"""What Endpoints and EndpointSlices must say, the specification on one page: no caches, no packing, no history.

Written apart from the controllers, to be compared with them. An endpoint here is a plain tuple.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from skerry.api.types import core, discovery

Entry = tuple[Any, ...]


def family(ip: str) -> str:
    return "IPv6" if ":" in ip else "IPv4"


def is_served(service: core.Service | None) -> bool:
    """E9, E10, L11."""
    return service is not None and service.spec.type != "ExternalName" and bool(service.spec.selector)


def selected(service: core.Service, pods: list[core.Pod]) -> list[core.Pod]:
    """E12, E13, E14."""
    return [
        pod
        for pod in pods
        if service.spec.selector.items() <= pod.metadata.labels.items()
        and pod.status.phase not in ("Failed", "Succeeded")
        and pod.status.pod_i_ps
    ]


def is_ready(pod: core.Pod) -> bool:
    """E18."""
    return ("Ready", "True") in [(one.type, one.status) for one in pod.status.conditions]


def ports(service: core.Service, pod: core.Pod) -> frozenset[tuple[str, int, str]]:
    """E25, E26 (no sidecars here)."""
    found = set()
    for port in service.spec.ports:
        number: Any = port.target_port
        if isinstance(number, str):
            named = [(one.name, one.protocol or "TCP") for one in pod.spec.containers[0].ports]
            if (number, port.protocol) not in named:
                continue
            number = pod.spec.containers[0].ports[named.index((number, port.protocol))].container_port
        found.add((port.name, number, port.protocol))
    return frozenset(found)


def addresses(service: core.Service, pods: list[core.Pod]) -> set[Entry]:
    """v1.Endpoints as a set: (ready, ip, pod, node, port) for each address at each port; port None if there is none."""
    out: set[Entry] = set()
    for pod in selected(service, pods):
        if pod.metadata.deletion_timestamp and not service.spec.publish_not_ready_addresses:  # E15
            continue
        ips = [one.ip for one in pod.status.pod_i_ps if family(one.ip) == service.spec.ip_families[0]]  # E21
        ready = service.spec.publish_not_ready_addresses or is_ready(pod)  # E19
        for ip in ips[:1]:
            entry = (ready, ip, pod.metadata.uid, pod.spec.node_name)
            out |= {(*entry, port) for port in ports(service, pod)}
            if not service.spec.ports and service.spec.cluster_ip == "None":  # E24
                out.add((*entry, None))
    return out


def endpoints(service: core.Service, pods: list[core.Pod], nodes: dict[str, core.Node]) -> dict[Entry, int]:
    """All slices together: each endpoint, with its family and ports, once."""
    out: dict[Entry, int] = {}
    publish = service.spec.publish_not_ready_addresses
    for pod in selected(service, pods):
        node = nodes.get(pod.spec.node_name)
        if node is None and not publish:  # L19
            continue
        zone = node.metadata.labels.get("topology.kubernetes.io/zone") if node else None
        terminating, serving = pod.metadata.deletion_timestamp is not None, is_ready(pod)
        ready = publish or (serving and not terminating)  # L16
        hint = zone if ready and service.spec.traffic_distribution == "PreferSameZone" else None  # L36
        for kind in service.spec.ip_families:
            ips = tuple(str(ipaddress.ip_address(one.ip)) for one in pod.status.pod_i_ps if family(one.ip) == kind)
            if ips:
                conditions = (ready, serving, terminating)
                who = (pod.metadata.uid, pod.spec.node_name or None, zone, hint)
                out[kind, ports(service, pod), ips, conditions, *who] = 1
    return out


def seen_addresses(found: core.Endpoints) -> set[Entry]:
    """What an Endpoints object says, in the form of `addresses`."""
    return {
        (ready, one.ip, one.target_ref.uid if one.target_ref else "", one.node_name, port)
        for subset in found.subsets
        for ready, group in ((True, subset.addresses), (False, subset.not_ready_addresses))
        for one in group
        for port in [(each.name, each.port, each.protocol) for each in subset.ports] or [None]
    }


def seen_endpoints(slices: list[discovery.EndpointSlice]) -> dict[Entry, int]:
    """What slices say together, in the form of `endpoints`; counts tell duplicates."""
    out: dict[Entry, int] = {}
    for each in slices:
        known = frozenset((one.name, one.port, one.protocol) for one in each.ports)
        for one in each.endpoints:
            hint = one.hints.for_zones[0].name if one.hints and one.hints.for_zones else None
            conditions = (one.conditions.ready, one.conditions.serving, one.conditions.terminating)
            who = (one.target_ref.uid if one.target_ref else "", one.node_name, one.zone, hint)
            key = (each.address_type, known, tuple(one.addresses), conditions, *who)
            out[key] = out.get(key, 0) + 1
    return out


def mirrored(found: core.Endpoints) -> dict[Entry, int]:
    """X3, X4: the slices that a hand-written Endpoints is copied into."""
    out: dict[Entry, int] = {}
    for subset in found.subsets:
        known = frozenset((one.name, one.port, one.protocol) for one in subset.ports)
        for ready, group in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for one in group:
                uid = one.target_ref.uid if one.target_ref else ""
                out[family(one.ip), known, (one.ip,), (ready, None, None), uid, one.node_name, None, None] = 1
    return out
