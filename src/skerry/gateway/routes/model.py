"""The values that HTTPRoutes are made of: entrances with routes by host, and what is said of each object. Pure.

Made by desired.py, rendered by xds/tables.py, said in statuses by conditions.py. All compare by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from skerry.gateway.model import Certificate, Cluster

NOWHERE = "nowhere"
"""The cluster of backends that are not there: Envoy has none of this name, and answers 500."""


class Changes(NamedTuple):
    """Of headers; values are the user's own, with nothing in them that means something to Envoy."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class PathChange(NamedTuple):
    """Another path, or another beginning of it instead of the one that was matched (no slash at its end)."""

    whole: bool
    text: str


class Match(NamedTuple):
    """What a request has to be. `path` is as in gateway.model.Route; `headers` and `query`: (name, exact value)."""

    exact: bool
    path: str
    method: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


class Weighted(NamedTuple):
    """A cluster's share of the requests, by name."""

    cluster: str
    weight: int
    request: Changes = Changes()
    response: Changes = Changes()


class Copied(NamedTuple):
    """A cluster that gets a copy of `numerator` of `denominator` (100, 10000 or 1000000) requests."""

    cluster: str
    numerator: int = 100
    denominator: int = 100


class Send(NamedTuple):
    """To some of these backends; none of weight means 500. Time-outs are in seconds, 0 for none."""

    backends: tuple[Weighted, ...]
    host: str = ""
    path: PathChange | None = None
    copies: tuple[Copied, ...] = ()
    timeout: float = 0
    try_timeout: float = 0


class RedirectTo(NamedTuple):
    """What is "" or None stays as the client had it."""

    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: PathChange | None = None
    status: int = 302


class Rule(NamedTuple):
    """What is done with requests that match."""

    match: Match
    action: Send | RedirectTo
    request: Changes = Changes()
    response: Changes = Changes()


@dataclass(frozen=True, slots=True)
class Entrance:
    """One port of a Gateway.

    `port` is the listeners', `inside` the one on which Envoy listens for it. `hosts`: a host (exact; "*.x", of any
    number of labels; "" for the others) -> its rules, the first that matches wins. `shown`: (host, keys of Secrets) of
    HTTPS listeners, empty for HTTP.
    """

    gateway: str
    port: int
    inside: int
    tls: bool
    hosts: Mapping[str, tuple[Rule, ...]]
    shown: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.gateway}:{self.port}"


class Condition(NamedTuple):
    """Of a status, without its times."""

    type: str
    holds: bool
    reason: str
    message: str = ""


class ListenerVerdict(NamedTuple):
    """What is said of a listener. `kinds`: the kinds of routes that it takes."""

    name: str
    attached: int
    conditions: tuple[Condition, ...]
    kinds: tuple[str, ...]
    valid: bool


class GatewayVerdict(NamedTuple):
    """What is said of a Gateway whatever Envoy does. `ports`: (listeners' port, whether HTTPS) of its entrances."""

    accepted: Condition
    listeners: tuple[ListenerVerdict, ...]
    ports: tuple[tuple[int, bool], ...] = ()


class ParentVerdict(NamedTuple):
    """What is said of a route at one parent. `parent`: the parentRef, as JSON with its keys sorted."""

    parent: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all Gateways of ours ask for. Keys are namespace/name; verdicts of classes by name.

    `clusters`, `certificates`, `services`, `secrets` are as in gateway.model.Desired.
    """

    entrances: tuple[Entrance, ...] = ()
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    classes: Mapping[str, Condition] = field(default_factory=dict)
    gateways: Mapping[str, GatewayVerdict] = field(default_factory=dict)
    routes: Mapping[str, tuple[ParentVerdict, ...]] = field(default_factory=dict)


NOTHING = Wanted()
