"""What can be said of a Service: one row a reason, and the report that is made of them. Pure; used by all of explain.

The JSON of a Report is a contract: docs/reference/why.md has its schema and every reason, and tests hold us to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

Severity = Literal["problem", "note"]
PROBLEM: Severity = "problem"
NOTE: Severity = "note"


class Reason(NamedTuple):
    """`near`: how little is missing, 0 for what would work if this one thing were mended; orders the findings."""

    near: int
    severity: Severity
    means: str


REASONS: dict[str, Reason] = {
    # Everything a pod has to do is done; what was made of it is wrong.
    "EndpointsEdited": Reason(0, PROBLEM, "the Endpoints object says something else than the rules give"),
    "EndpointsMissing": Reason(0, PROBLEM, "there is no Endpoints object although there should be one"),
    "SliceEdited": Reason(0, PROBLEM, "an EndpointSlice says something else than the rules give"),
    "SlicesMissing": Reason(0, PROBLEM, "endpoints that the rules give are in no EndpointSlice"),
    "SliceOrphaned": Reason(0, PROBLEM, "an EndpointSlice belongs to another, deleted Service of the same name"),
    "SliceForeign": Reason(0, PROBLEM, "an EndpointSlice of a Service with a selector is managed by somebody else"),
    "NoReadyNode": Reason(1, PROBLEM, "no node of the cluster is Ready"),
    "ProxyBehind": Reason(1, PROBLEM, "the proxies (or DNS servers) of some nodes do not know the newest state yet"),
    "NothingListens": Reason(2, PROBLEM, "the pod refuses connections at the port that the Service sends to"),
    "NoLocalEndpoint": Reason(3, PROBLEM, "internalTrafficPolicy is Local and some nodes have no ready endpoint"),
    "NamedPortProtocol": Reason(4, PROBLEM, "the pod has a port of targetPort's name, but of another protocol"),
    "NamedPortMissing": Reason(5, PROBLEM, "no container of the pod has a port of targetPort's name"),
    "ProtocolMismatch": Reason(6, PROBLEM, "the pod declares the port's number for another protocol only"),
    "PortNotDeclared": Reason(7, PROBLEM, "the pod declares ports, but not the one that the Service sends to"),
    # A pod that matches and is not ready.
    "NodeMissing": Reason(10, PROBLEM, "the pod's Node is not there, so the pod is in no EndpointSlice"),
    "ReadinessGate": Reason(11, PROBLEM, "a readiness gate of the pod is not True"),
    "ReadinessProbeFailing": Reason(12, PROBLEM, "a container's readiness probe fails"),
    "ReadinessProbePending": Reason(12, PROBLEM, "a container's readiness probe has not succeeded yet"),
    "StartupProbeNotDone": Reason(13, PROBLEM, "a container's startup probe has not succeeded yet"),
    "NotReady": Reason(14, PROBLEM, "the pod's Ready condition is not True, for a reason that is none of the others"),
    "NodeNotReady": Reason(15, PROBLEM, "the pod's node is not Ready"),
    "CrashLooping": Reason(16, PROBLEM, "a container ends again and again"),
    "ContainerTerminated": Reason(17, PROBLEM, "a container has ended and is not started again"),
    "NoAddressOfFamily": Reason(18, PROBLEM, "the pod has an address, but none of the Service's IP family"),
    "NoAddress": Reason(19, PROBLEM, "the pod has no IP address yet"),
    "ImagePull": Reason(20, PROBLEM, "a container's image cannot be had"),
    "ContainerCannotStart": Reason(21, PROBLEM, "a container cannot be started"),
    "ContainerCreating": Reason(22, PROBLEM, "the containers are being created"),
    "InitContainerFailing": Reason(23, PROBLEM, "an init container fails"),
    "InitContainerRunning": Reason(24, PROBLEM, "an init container has not finished"),
    "Unschedulable": Reason(25, PROBLEM, "no node takes the pod"),
    "NotScheduled": Reason(26, PROBLEM, "no scheduler has looked at the pod yet, or it is gated"),
    "PodTerminating": Reason(27, PROBLEM, "the pod is being deleted"),
    "PodFailed": Reason(28, PROBLEM, "the pod has failed and will not run again"),
    "PodSucceeded": Reason(29, PROBLEM, "the pod has finished"),
    # No pod matches.
    "ScaledToZero": Reason(
        38, PROBLEM, "a Deployment, ReplicaSet or StatefulSet would give pods that match, and is scaled to 0"
    ),
    "NoPodsMade": Reason(
        39, PROBLEM, "a Deployment, ReplicaSet, StatefulSet or DaemonSet should have pods that match, and has none"
    ),
    "SelectorMismatch": Reason(40, PROBLEM, "a pod has almost the labels that the selector wants"),
    "OtherNamespace": Reason(41, PROBLEM, "a pod of another namespace would match"),
    "NoPodMatches": Reason(42, PROBLEM, "no pod of the namespace matches the selector"),
    "NoSelector": Reason(43, PROBLEM, "there is no selector, and nobody has written endpoints"),
    "NoReadyEndpoint": Reason(44, PROBLEM, "endpoints were written by hand, and none is ready"),
    "ExternalNameIsAddress": Reason(45, PROBLEM, "externalName is an IP address, which DNS cannot answer with"),
    # Nothing is wrong; good to know.
    "EndpointNodeNotReady": Reason(50, NOTE, "an endpoint is ready although its node is not"),
    "EndpointsTruncated": Reason(51, NOTE, "Endpoints holds 1000 addresses at most; the slices have all"),
    "ExternalName": Reason(52, NOTE, "the Service is another name for a name, and has no endpoints"),
    "ManualEndpoints": Reason(53, NOTE, "there is no selector; the endpoints were written by hand"),
    "ServiceTerminating": Reason(54, NOTE, "the Service is being deleted"),
    "OtherProxy": Reason(55, NOTE, "a label of the Service hands it to another proxy"),
    "NotReadyPublished": Reason(56, NOTE, "publishNotReadyAddresses: pods that are not ready count as ready"),
    "HeadlessWithoutPorts": Reason(57, NOTE, "a headless Service without ports: names only"),
    "ExternalTrafficLocal": Reason(58, NOTE, "externalTrafficPolicy is Local: some nodes do not answer from outside"),
    "SessionAffinity": Reason(59, NOTE, "connections of a client stay with one endpoint"),
    "NotLookedAt": Reason(60, NOTE, "something could not be read, so that this report knows less"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found. `message` is a sentence or two without counts or times: it stays while nothing changes.

    `more` are further sentences for a terminal, with counts and times; `details` says the same as data.
    """

    reason: str
    message: str
    pod: str | None = None
    object: str | None = None
    """`Kind/name`, of what is no pod."""
    since: str | None = None
    """RFC 3339."""
    more: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    severity: Severity = PROBLEM
    distance: int = 0
    """Orders findings of one reason."""


def finding(
    reason: str,
    message: str,
    *,
    pod: str | None = None,
    obj: str | None = None,
    since: str | None = None,
    more: tuple[str, ...] = (),
    details: dict[str, Any] | None = None,
    severity: Severity | None = None,
    distance: int = 0,
) -> Finding:
    """A Finding whose severity is its reason's, unless it is said."""
    return Finding(
        reason=reason,
        message=message,
        pod=pod,
        object=obj,
        since=since,
        more=more,
        details=details or {},
        severity=severity or REASONS[reason].severity,
        distance=distance,
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One endpoint at one port; `port` is None where a Service has none."""

    ip: str
    port: int | None
    port_name: str
    protocol: str
    pod: str | None
    node: str | None
    since: str | None
    ready: bool
    serving: bool
    terminating: bool
    connections: dict[str, int] | None = None
    """How many connections each node's proxy gave it; of the nodes that could be asked, None if none could."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The answer: `findings` are in order, problems first, the nearest miss at the head."""

    namespace: str
    name: str
    type: str
    selector: dict[str, str]
    summary: str
    endpoints: list[Row]
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        return not any(one.severity == PROBLEM for one in self.findings)

    def plain(self) -> dict[str, Any]:
        """As `-o json` prints it."""
        return {
            "service": {
                "namespace": self.namespace,
                "name": self.name,
                "type": self.type,
                "selector": self.selector or None,
            },
            "verdict": "healthy" if self.healthy else "problem",
            "summary": self.summary,
            "endpoints": [
                {
                    "ip": one.ip,
                    "port": one.port,
                    "portName": one.port_name,
                    "protocol": one.protocol,
                    "pod": one.pod,
                    "node": one.node,
                    "since": one.since,
                    "ready": one.ready,
                    "serving": one.serving,
                    "terminating": one.terminating,
                    "connections": one.connections,
                }
                for one in self.endpoints
            ],
            "findings": [
                {
                    "reason": one.reason,
                    "severity": one.severity,
                    "message": one.message,
                    "pod": one.pod,
                    "object": one.object,
                    "since": one.since,
                    "details": msgspec.to_builtins(one.details),
                }
                for one in self.findings
            ],
        }


def order(one: Finding) -> tuple[Any, ...]:
    """Sorts findings: problems first, then by how little is missing."""
    row = REASONS[one.reason]
    return (one.severity != PROBLEM, row.near, one.distance, one.pod or "", one.object or "", one.message)
