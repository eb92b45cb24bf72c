"""Which pods count as endpoints and what is known of one. Called by `select`, `endpoints`, `slices` and `trigger`.

The rules E13-E26 and L15-L20 live here because Endpoints and EndpointSlices share them.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Iterator

from skerry.api import weights
from skerry.api.types import core

IPV4 = "IPv4"
IPV6 = "IPv6"

EXTERNAL_NAME = "ExternalName"
HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"


@functools.lru_cache(maxsize=65536)
def canonical(address: str) -> tuple[str, str] | None:
    """(family, the address in its usual spelling), or None if it is no IP address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return (IPV4 if parsed.version == 4 else IPV6), str(parsed)


def key(thing: core.Pod | core.Service | core.Endpoints) -> str:
    """`namespace/name`."""
    return f"{thing.metadata.namespace}/{thing.metadata.name}"


def wants_endpoints(service: core.Service) -> bool:
    """Whether the controllers make this Service's endpoints (E9, E10, L11). An empty selector is none (E11)."""
    return service.spec.type != EXTERNAL_NAME and bool(service.spec.selector)


def is_headless(service: core.Service) -> bool:
    """Whether the headless label belongs on what is written for it (E40, L34)."""
    return service.spec.cluster_ip in ("", "None")


def is_ready(pod: core.Pod) -> bool:
    """The Ready condition says True; nothing else counts (E18)."""
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)


def ready_since(pod: core.Pod) -> str:
    """When the Ready condition last changed, or "" if it has none."""
    for one in pod.status.conditions:
        if one.type == "Ready":
            return one.last_transition_time or ""
    return ""


def is_terminating(pod: core.Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def weight(pod: core.Pod) -> int:
    """The pod's share of new connections, compared with others'; as usual if its annotation makes no sense."""
    said = pod.metadata.annotations.get(weights.WEIGHT)
    found = None if said is None else weights.parse(said)
    return weights.USUAL if found is None else found


def addresses(pod: core.Pod) -> tuple[str, ...]:
    """All of the pod's IPs as the status gives them; podIP alone counts where podIPs is missing."""
    if pod.status.pod_i_ps:
        return tuple(one.ip for one in pod.status.pod_i_ps)
    return (pod.status.pod_ip,) if pod.status.pod_ip else ()


def is_member(pod: core.Pod, *, include_terminating: bool) -> bool:
    """Whether the pod can be an endpoint at all: E13 (phase), E14 (address), E15 and L15 (being deleted)."""
    if pod.status.phase in ("Failed", "Succeeded") or not addresses(pod):
        return False
    return include_terminating or not is_terminating(pod)


def families(service: core.Service) -> tuple[str, ...]:
    """The address types of the Service's slices (L14): its ipFamilies, else clusterIP's, else both."""
    if service.spec.ip_families:
        return tuple(service.spec.ip_families)
    found = canonical(service.spec.cluster_ip)
    return (found[0],) if found else (IPV4, IPV6)


def family_addresses(pod: core.Pod, family: str) -> list[str]:
    """The pod's IPs of one family in their usual spelling (L17)."""
    known = (canonical(one) for one in addresses(pod))
    return [one[1] for one in known if one and one[0] == family]


def endpoint_address(service: core.Service, pod: core.Pod) -> str:
    """The pod's one address in the Service's Endpoints (E21), or "" if it has none of that family."""
    if service.spec.ip_families:
        family = service.spec.ip_families[0]
    else:
        found = canonical(service.spec.cluster_ip) or canonical(addresses(pod)[0])
        family = found[0] if found else IPV4
    for one in addresses(pod):
        known = canonical(one)
        if known and known[0] == family:
            return one
    return ""


def reference(pod: core.Pod) -> core.ObjectReference:
    """The targetRef of an endpoint: who, without apiVersion and resourceVersion (E22, L18)."""
    return core.ObjectReference(
        kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
    )


def hostname(service: core.Service, pod: core.Pod) -> str:
    """The pod's own name under the Service's DNS name, or "" (E23)."""
    fits = pod.spec.subdomain == service.metadata.name and pod.metadata.namespace == service.metadata.namespace
    return pod.spec.hostname if fits else ""


def resolve_port(pod: core.Pod, port: core.ServicePort) -> int | None:
    """The number that targetPort means in this pod (E25), or None if no container declares that name."""
    target = port.target_port
    if isinstance(target, int):
        return target or port.port
    protocol = port.protocol or "TCP"
    for one in _declared(pod):
        if one.name == target and (one.protocol or "TCP") == protocol:
            return one.container_port
    return None


def _declared(pod: core.Pod) -> Iterator[core.ContainerPort]:
    for container in pod.spec.containers:
        yield from container.ports
    for container in pod.spec.init_containers:
        if container.restart_policy == "Always":
            yield from container.ports


def resolved_ports(service: core.Service, pod: core.Pod) -> tuple[tuple[core.ServicePort, int], ...]:
    """The Service's ports with their numbers in this pod; those that do not resolve are left out (E25)."""
    found = ((port, resolve_port(pod, port)) for port in service.spec.ports)
    return tuple((port, number) for port, number in found if number is not None)


def named_ports(service: core.Service) -> bool:
    """Whether numbers can differ from pod to pod."""
    return any(isinstance(one.target_port, str) for one in service.spec.ports)


def wants_selector(service: core.Service, pods: Iterable[core.Pod]) -> list[core.Pod]:
    """The pods of the Service's namespace that its selector matches (E12), for callers without an index."""
    wanted = service.spec.selector.items()
    return [
        one
        for one in pods
        if one.metadata.namespace == service.metadata.namespace and wanted <= one.metadata.labels.items()
    ]
