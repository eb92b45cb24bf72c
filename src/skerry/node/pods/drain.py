"""When a deleted pod may be told to stop: once no proxy sends it new connections and the open ones are done. Pure.

Called by node/agent/drains.py with what the caches and the kernel say. The endless `preStop: sleep 15` of manifests
exists because elsewhere nobody waits for this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from skerry.api.types import core, discovery
from skerry.node.pods.state import Event

ANNOTATION = "skerry.dev/drain"
"""On a pod: "off", or for how many seconds at most the stop signal is held back."""

BOUND = 10.0
"""Seconds for which a stop signal is held back at most, but never more than half the grace period."""

ACKNOWLEDGE_BOUND = 5.0
"""Seconds of that in which nodes have to acknowledge: one that is gone, or has another proxy, costs no more."""

RESERVE = 2.0
"""Seconds of the grace period that are left for the program whatever the annotation says."""

QUIET = 1.0
"""Seconds without a byte after which a connection on which nobody waits for an answer is done: it is a pool's."""

_SERVICE_NAME = "kubernetes.io/service-name"
_HEADLESS = "service.kubernetes.io/headless"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_CONTROLLER = "endpointslice-controller.k8s.io"
PROXY, DNS, GATEWAY = "proxy", "dns", "gateway"


def wish(pod: core.Pod) -> tuple[float | None, str]:
    """The seconds that the pod's annotation asks for (0: off, None: it says nothing), and what is wrong with it."""
    said = pod.metadata.annotations.get(ANNOTATION)
    if said is None:
        return None, ""
    if said == "off":
        return 0.0, ""
    if said.isascii() and said.isdigit():
        return float(said), ""
    return None, f'annotation {ANNOTATION}: "{said}" is neither "off" nor a whole number of seconds; it is ignored'


def bound(pod: core.Pod, left: float) -> float:
    """For how many seconds the stop signal may be held back when `left` seconds of the grace period are left."""
    asked, _ = wish(pod)
    if asked is None:
        return max(0.0, min(BOUND, left / 2))
    return max(0.0, min(asked, left - RESERVE))


def carries(found: discovery.EndpointSlice, uid: str) -> bool:
    """Whether a slice that follows pods, and that some proxy or name server reads, names this pod."""
    labels = found.metadata.labels
    if not labels.get(_SERVICE_NAME) or labels.get(_MANAGED_BY) != _CONTROLLER:
        return False
    return any(one.target_ref is not None and one.target_ref.uid == uid for one in found.endpoints)


def pods_of(found: discovery.EndpointSlice, node: str) -> Iterable[str]:
    """The uids of a node's pods in a slice: what an index of slices goes by."""
    if found.metadata.labels.get(_MANAGED_BY) != _CONTROLLER:
        return ()
    return [
        one.target_ref.uid
        for one in found.endpoints
        if one.node_name == node and one.target_ref is not None and one.target_ref.uid
    ]


class Behind(NamedTuple):
    """Somebody who has not acknowledged."""

    node: str
    component: str


@dataclass(slots=True)
class Endpoints:
    """What the slices say of one pod. `sending`: those in which it still takes new connections.

    `needed`: the revision that each component must have applied. `ports`: where Services lead to.
    """

    uid: str
    sending: set[str] = field(default_factory=set)
    needed: dict[str, int] = field(default_factory=dict)
    ports: set[int] = field(default_factory=set)
    _seen: set[str] = field(default_factory=set)

    def on_slice(self, key: str, found: discovery.EndpointSlice, *, gone: bool = False) -> bool:
        """A slice is now this, or is gone and was this last. Whether it concerns the pod."""
        names = carries(found, self.uid)
        if not names and key not in self._seen:
            return False
        self._seen.add(key)
        if names and not gone and not all(self._leaves(one) for one in found.endpoints):
            self.sending.add(key)
        else:
            self.sending.discard(key)
        component = DNS if _HEADLESS in found.metadata.labels else PROXY
        self.needed[component] = max(self.needed.get(component, 0), _revision(found.metadata.resource_version))
        self.ports.update(one.port for one in found.ports if one.port and (one.protocol or "TCP") == "TCP")
        return True

    def _leaves(self, endpoint: discovery.Endpoint) -> bool:
        """Another pod's, or marked as terminating, also where the Service publishes what is not ready."""
        ours = endpoint.target_ref is not None and endpoint.target_ref.uid == self.uid
        return not ours or endpoint.conditions.terminating is True

    def behind(self, nodes: Iterable[str], applied: Mapping[Behind, int]) -> list[Behind]:
        """Who of these nodes may still send new connections, by what each component has `applied`.

        A gateway is on one node or on none: only one that has said something is waited for. It follows slices of
        every kind.
        """
        live = dict.fromkeys(nodes)  # in their order: what is said is the same every time
        late = [
            one
            for node in live
            for component, revision in self.needed.items()
            if applied.get(one := Behind(node, component), -1) < revision
        ]
        newest = max(self.needed.values(), default=0)
        gateways = [one for one in applied if one.component == GATEWAY and one.node in live]
        return late + [one for one in gateways if applied[one] < newest]


def busy(sent_ago: float, received_ago: float, received: int, waiting: int) -> bool:
    """Whether somebody may be waiting for an answer on a connection.

    Not after QUIET, if nothing is under way and the pod had the last word or the client never spoke. Within one tick of
    the kernel's clock it cannot be told who was the last; then it was the pod, as nearly always.
    """
    if waiting or min(sent_ago, received_ago) < QUIET:
        return True
    return received > 0 and received_ago < sent_ago


@dataclass(slots=True)
class Report:
    """What was waited for, in seconds; `first` and `left`: open connections at the beginning and at the end."""

    told: int = 0
    names: int = 0
    gateways: int = 0
    acknowledged_after: float = 0.0
    late: tuple[Behind, ...] = ()
    still_sending: bool = False
    first: int = 0
    busy: int = 0
    left: int = 0
    ended_after: float = 0.0

    @property
    def complete(self) -> bool:
        return not (self.late or self.still_sending or self.busy)

    def event(self) -> Event:
        """For the pod: what was waited for and, if patience ended first, for whom."""
        words = "; ".join((self._senders(), self._connections()))
        if self.complete:
            return Event("Normal", "Drained", words)
        # That clients keep their connections busy is no fault; that a proxy does not acknowledge is one.
        return Event("Warning" if self.late or self.still_sending else "Normal", "DrainTimedOut", words)

    def _senders(self) -> str:
        after = f"after {duration(self.acknowledged_after)}"
        if self.still_sending:
            return f"{after} its EndpointSlices still led new connections to it"
        if self.late:
            nodes = ", ".join(dict.fromkeys(f"{one.component} of {one.node}" for one in self.late))
            return f"{after} these had not acknowledged that it gets no new connections: {nodes}"
        who = [f"{count} {_plural(count, word)}" for count, word in _kinds(self) if count]
        return f"{' and '.join(who) or 'nobody'} stopped sending new connections {after}"

    def _connections(self) -> str:
        after = f"after {duration(self.ended_after)}"
        if self.busy:
            return f"{self.busy} of {self.first} open {_plural(self.first, 'connection')} still in use {after}"
        if not self.first:
            return "no connection was open"
        said = f"{self.first} open {_plural(self.first, 'connection')} ended {after}"
        return f"{said}, {self.left} of them idle and left to the program" if self.left else said


def _kinds(found: Report) -> tuple[tuple[int, str], ...]:
    return (found.told, "proxy"), (found.names, "name server"), (found.gateways, "gateway")


def _plural(count: int, word: str) -> str:
    if count == 1:
        return word
    return "proxies" if word == "proxy" else word + "s"


def duration(seconds: float) -> str:
    """As people write it: `12 ms`, `2.3 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _revision(text: str) -> int:
    return int(text) if text.isdigit() else 0
