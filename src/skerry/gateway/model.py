"""The values that Ingress is made of: routes by host, clusters, certificates, and what is wrong. Pure.

Made by desired.py, rendered by xds/, and read by whoever writes events and statuses. All are frozen and compare by
value: an unchanged thing is equal to what it was. Keys of objects are namespace/name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

CONTROLLER = "skerry.dev/ingress"
"""What an IngressClass of ours has as spec.controller."""

CLASS = "skerry"
"""The name of the IngressClass that a cluster has from the start."""

ANY_HOST = ""
"""The host of rules without one: for requests whose host is nobody's."""


class Protocol(Enum):
    """What a backend speaks, as its Service port's appProtocol says."""

    HTTP = "http"
    H2C = "h2c"
    HTTPS = "https"
    H2 = "h2"
    """HTTP/2 over TLS, and nothing else."""


class Cluster(NamedTuple):
    """One port of a Service. `name` is namespace/service:port number; `port` the name that joins it with slices."""

    name: str
    service: str
    number: int
    port: str
    protocol: Protocol
    family: str
    """Of the Service's addresses: IPv4 or IPv6; slices of the other one hold the same pods again."""


class Endpoint(NamedTuple):
    """Where requests for a cluster may go. `weight` is at least 1, compared with the cluster's others."""

    address: str
    port: int
    weight: int = 1


class Forward(NamedTuple):
    """Requests go to this cluster, by name."""

    cluster: str


class Answer(NamedTuple):
    """Requests are answered with this, a line of plain text."""

    status: int
    body: str


Action = Forward | Answer

NOT_FOUND = Answer(404, "No Ingress is for this host and path.")


class Route(NamedTuple):
    """One path of a host. A prefix has no slash at its end, so "" is the prefix of everything."""

    exact: bool
    path: str
    action: Action


class Certificate(NamedTuple):
    """A usable certificate with its key, as PEM written by us. `digest`: of the bytes of the Secret it was made of."""

    secret: str
    chain: str
    key: str
    digest: str


class Problem(NamedTuple):
    """What is wrong with an Ingress, as the reason and message of a Warning event."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Desired:
    """What all Ingresses of ours ask for.

    `hosts`: a host (exact; "*.x"; ANY_HOST) -> its routes, the first that matches wins. A host's last route may be its
    default backend. What no host has is `fallback`'s: the first default backend, or 404.
    `clusters`: by name, all that routes lead to. `certificates`: by the Secret's key. `sni`: a host (exact or "*.x") ->
    the Secret whose certificate it shows. `default_certificate`: the Secret for other names, "" for the cluster's own.
    `ours`: the Ingresses whose status gets addresses, sorted. `problems`: by Ingress, only those that have any.
    `services`, `secrets`: keys of everything that was looked up, found or not: no other one's change matters.
    """

    hosts: Mapping[str, tuple[Route, ...]] = field(default_factory=dict)
    fallback: Action = NOT_FOUND
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    sni: Mapping[str, str] = field(default_factory=dict)
    default_certificate: str = ""
    ours: tuple[str, ...] = ()
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
