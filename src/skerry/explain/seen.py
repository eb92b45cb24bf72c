"""What was looked at before a Service is explained. Filled by `read` from an API server and by `events` from caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from skerry.api.types import apps, core, discovery
from skerry.clock import parse_rfc3339

Workload = apps.Deployment | apps.ReplicaSet | apps.StatefulSet | apps.DaemonSet
Listens = Literal["open", "refused", "unknown"]


class Place(NamedTuple):
    """One endpoint at one port, as slices and proxies name it."""

    ip: str
    port: int | None
    port_name: str
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    """`unread` says what could not be read, and why: such a part is empty (`nodes`: None) and proves nothing."""

    service: core.Service
    now: float
    """Seconds since 1970."""
    services: Sequence[core.Service] = ()
    """Of the Service's namespace; whose pods are not mistaken for misses."""
    pods: Sequence[core.Pod] = ()
    """Of the Service's namespace."""
    elsewhere: Sequence[core.Pod] = ()
    """Of other namespaces, with the labels that the selector wants."""
    workloads: Sequence[Workload] = ()
    """Of the Service's namespace, where no pod matches: who may make such pods."""
    endpoints: core.Endpoints | None = None
    slices: Sequence[discovery.EndpointSlice] = ()
    events: Sequence[core.Event] = ()
    """About pods of the namespace."""
    nodes: Mapping[str, core.Node] | None = None
    listening: Mapping[tuple[str, int], Listens] = field(default_factory=dict)
    """By pod and TCP port, for those that were tried."""
    connections: Mapping[str, Mapping[Place, int]] = field(default_factory=dict)
    """By node: how many connections its proxy gave to endpoints."""
    unread: Mapping[str, str] = field(default_factory=dict)

    def node(self, name: str) -> core.Node | None:
        return (self.nodes or {}).get(name)

    def told(self, pod: core.Pod, reasons: Sequence[str], begins: str = "") -> list[core.Event]:
        """Events about this very pod with one of these reasons, newest first."""
        found = [
            one
            for one in self.events
            if one.reason in reasons
            and one.involved_object.name == pod.metadata.name
            and one.involved_object.uid in ("", pod.metadata.uid)
            and one.message.startswith(begins)
        ]
        return sorted(found, key=last, reverse=True)


def last(event: core.Event) -> float:
    """When it happened last, in seconds since 1970; events have three ways to say so."""
    series = event.series.last_observed_time if event.series is not None else None
    return seconds(series or event.last_timestamp or event.event_time or event.first_timestamp)


def count(event: core.Event) -> int:
    """How often it happened."""
    return max(event.count, event.series.count if event.series is not None else 0, 1)


def seconds(time: str | None) -> float:
    """A time of the API as seconds since 1970; 0 for none."""
    try:
        return parse_rfc3339(time) if time else 0.0
    except ValueError:
        return 0.0


def ago(now: float, then: float) -> str:
    """How long ago that was, in one unit: `12 s ago`."""
    return f"{span(now - then)} ago"


def span(length: float) -> str:
    """A length of time in one unit: `12 s`, `5 min`, `3 h`, `2 d`."""
    whole = max(0, int(length))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def ready(node: core.Node) -> bool:
    """Whether the Node's Ready condition is True."""
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
