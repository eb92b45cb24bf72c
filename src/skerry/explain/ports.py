"""Whether what a Service sends to is there in a pod: names, protocols, numbers, listeners (E25). Pure; called by `why`.

A containerPort is only a declaration: a pod may listen elsewhere. So a number that is not declared is a finding where
nobody could look, and where somebody did, only if the connection was refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from skerry.api.types import core
from skerry.controllers.endpoints import members
from skerry.explain.findings import Finding, finding
from skerry.explain.seen import Seen
from skerry.explain.selectors import nearest_name


def unserved(seen: Seen, pod: core.Pod) -> Iterator[Finding]:
    """One finding for each port of the Service that this pod (which can be an endpoint) does not serve."""
    for at, port in enumerate(seen.service.spec.ports):
        found = _by_name(pod, port) if isinstance(port.target_port, str) else _by_number(seen, pod, port)
        if found is not None:
            yield replace(found, distance=at)


def declared(pod: core.Pod) -> list[core.ContainerPort]:
    """The ports that count (E25): of containers and sidecars."""
    sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    return [port for one in (*pod.spec.containers, *sidecars) for port in one.ports]


def to_try(service: core.Service, pod: core.Pod) -> list[int]:
    """The TCP ports of a pod at which somebody has to listen for this Service."""
    found = members.resolved_ports(service, pod)
    return sorted({number for port, number in found if (port.protocol or "TCP") == "TCP"})


def _by_name(pod: core.Pod, port: core.ServicePort) -> Finding | None:
    name, wanted, protocol = pod.metadata.name, str(port.target_port), port.protocol or "TCP"
    if members.resolve_port(pod, port) is not None:
        return None
    known = declared(pod)
    details = {"port": port.port, "targetPort": wanted, "protocol": protocol,
               "declared": [_plain(one) for one in known]}  # fmt: skip
    other = next((one for one in known if one.name == wanted), None)
    if other is not None:
        text = (
            f"Port {port.port} of the Service wants a {protocol} port named {wanted}; in pod {name} {wanted} is "
            f"{other.protocol or 'TCP'} {other.container_port}."
        )
        return finding("NamedPortProtocol", text, pod=name, details=details)
    names = sorted({one.name for one in known if one.name and (one.protocol or "TCP") == protocol})
    nearest = nearest_name(wanted, names)
    if nearest:
        has = f"the nearest is {nearest}"
    elif names:
        has = f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
    else:
        has = f"none of its {protocol} ports has a name" if known else "it declares no ports"
    text = f"No container of pod {name} has a {protocol} port named {wanted}, the targetPort of {port.port}; {has}."
    return finding("NamedPortMissing", text, pod=name, details=details | {"nearest": nearest or None})


def _by_number(seen: Seen, pod: core.Pod, port: core.ServicePort) -> Finding | None:
    name, protocol = pod.metadata.name, port.protocol or "TCP"
    number = members.resolve_port(pod, port) or port.port
    known = declared(pod)
    same = [one for one in known if (one.protocol or "TCP") == protocol]
    listens = seen.listening.get((name, number), "unknown") if protocol == "TCP" else "unknown"
    details = {"port": port.port, "targetPort": number, "protocol": protocol, "listens": listens,
               "declared": [_plain(one) for one in known]}  # fmt: skip
    if listens == "open":
        return None
    shown = " and ".join(f"{one.container_port}/{one.protocol or 'TCP'}" for one in known)
    if listens == "refused":
        says = f"; its containers declare {shown}" if known else ""
        text = f"Nothing listens at port {number} of pod {name}, where port {port.port} of the Service leads{says}."
        return finding("NothingListens", text, pod=name, more=_instead(number, same), details=details)
    if not known or any(one.container_port == number for one in same):
        return None
    other = next((one for one in known if one.container_port == number), None)
    if other is not None:
        text = (
            f"Port {port.port} of the Service is {protocol}, but pod {name} declares {number} for "
            f"{other.protocol or 'TCP'} only."
        )
        return finding("ProtocolMismatch", text, pod=name, details=details)
    text = f"Port {port.port} of the Service leads to port {number} of pod {name}, which declares only {shown}."
    more = (*_instead(number, same), "Declarations do not bind; whether something listens was not tried.")
    return finding("PortNotDeclared", text, pod=name, more=more, details=details)


def _instead(number: int, same: list[core.ContainerPort]) -> tuple[str, ...]:
    """What to do, where it is clear: the pod declares one port of the protocol, and it is another."""
    others = [one.container_port for one in same]
    if len(others) != 1 or number in others:
        return ()
    return (f"With targetPort {others[0]} the Service would lead there.",)


def _plain(one: core.ContainerPort) -> dict[str, object]:
    return {"name": one.name or None, "port": one.container_port, "protocol": one.protocol or "TCP"}
