"""The conditions of a Service in words: EndpointsReady and Programmed. Pure; called by the shell and by tests.

Numbers are in messages only, never in status or reason, so that the shell can write what matters at once and what only
counts now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skerry.api import labels
from skerry.api.types import core, discovery, meta

ENDPOINTS_READY = "EndpointsReady"
PROGRAMMED = "Programmed"
OWN = (ENDPOINTS_READY, PROGRAMMED)

PROXY, DNS = "proxy", "dns"
_OTHER_PROXY = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
_TELLERS = {PROXY: "proxies", DNS: "DNS servers"}
_NAMED = 5  # nodes that a message names at most


@dataclass(frozen=True)
class Told:
    """One condition without its times."""

    type: str
    status: str
    reason: str
    message: str


def count(one: discovery.EndpointSlice) -> tuple[int, int]:
    """How many endpoints of a slice are ready, and how many there are."""
    return sum(each.conditions.ready is not False for each in one.endpoints), len(one.endpoints)


def component(service: core.Service) -> str:
    """Who makes the Service work on a node: its proxy; its DNS if there is nothing that ours would forward."""
    spec = service.spec
    forwarded = spec.type != "ExternalName" and spec.cluster_ip not in ("", "None")
    return PROXY if forwarded and not any(key in service.metadata.labels for key in _OTHER_PROXY) else DNS


def endpoints_ready(service: core.Service, ready: int, total: int) -> Told:
    """EndpointsReady, for a Service whose slices have `ready` of `total` endpoints ready."""
    spec = service.spec

    def told(status: str, reason: str, message: str) -> Told:
        return Told(ENDPOINTS_READY, status, reason, message)

    if spec.type == "ExternalName":
        return told("True", "ExternalName", f"The Service is a name for {spec.external_name} and needs no endpoints.")
    if ready:
        said = "The only endpoint is" if total == 1 else f"{ready} of {total} endpoints {'is' if ready == 1 else 'are'}"
        return told("True", "EndpointsAvailable", f"{said} ready.")
    if total:
        said = "The only endpoint is not" if total == 1 else f"None of the {total} endpoints is"
        return told("False", "NoReadyEndpoints", f"{said} ready.")
    if not spec.selector:
        return told("False", "NoSelector", "The Service has no selector, and nobody has written endpoints for it.")
    wanted = labels.text(labels.from_map(spec.selector))
    return told("False", "NoEndpoints", f"No pod that has an address matches the selector {wanted}.")


def programmed(who: str, behind: Sequence[str], nodes: int) -> Told:
    """Programmed, when the proxy (or DNS: `who`) of these of all `nodes` Ready nodes does not know its newest state."""
    tellers = _TELLERS[who]
    if not nodes:
        return Told(PROGRAMMED, "False", "NoReadyNodes", "No node is Ready.")
    if behind:
        reason = "ProxyBehind" if who == PROXY else "DNSBehind"
        message = f"The {tellers} of these nodes do not know the newest state of the Service yet: {_names(behind)}."
        return Told(PROGRAMMED, "False", reason, message)
    return Told(PROGRAMMED, "True", "Programmed", f"The {tellers} of all Ready nodes know the Service.")


def _names(nodes: Sequence[str]) -> str:
    first, more = sorted(nodes)[:_NAMED], len(nodes) - _NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def known(service: core.Service, kind: str) -> meta.Condition | None:
    """The condition of this type that the Service has."""
    return next((one for one in service.status.conditions if one.type == kind), None)


def differs(service: core.Service, told: Told) -> tuple[bool, bool]:
    """Whether the Service has to say this anew, and whether it matters (not only the message is another)."""
    one = known(service, told.type)
    if one is None:
        return True, True
    matters = (one.status, one.reason, one.observed_generation) != (
        told.status,
        told.reason,
        service.metadata.generation,
    )
    return matters or one.message != told.message, matters


def written(service: core.Service, told: Iterable[Told], now: str) -> list[meta.Condition]:
    """The conditions to write; the time of one whose status stays is kept. `now` as the API writes times."""
    out = []
    for each in told:
        one = known(service, each.type)
        since = one.last_transition_time if one is not None and one.status == each.status else None
        out.append(
            meta.Condition(
                type=each.type,
                status=each.status,
                reason=each.reason,
                message=each.message,
                observed_generation=service.metadata.generation,
                last_transition_time=since or now,
            )
        )
    return out
