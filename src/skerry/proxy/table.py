"""The service table: what every address of a Service does on this node. Plain values, no I/O.

The brain (brain.py) keeps it, the back ends (nftables/, userspace/) carry it out. A *frontend* is an address that
clients connect to, a *backend* one place that answers, a *list* the backends that frontends choose from; several
frontends share one list.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

IPV4, IPV6 = "IPv4", "IPv6"


def family_of(address: str) -> str:
    """IPV4 or IPV6, of an address or prefix in text."""
    return IPV6 if ":" in address else IPV4


_NUMBERS = {IPV4: socket.AF_INET, IPV6: socket.AF_INET6}


@functools.lru_cache(maxsize=64)
def _ends(prefix: str) -> tuple[bytes, bytes]:
    """The first and the last address of a prefix, packed. Taking a text apart costs 20 us, and 250,000 ask for one."""
    network = ipaddress.ip_network(prefix)
    return network[0].packed, network[-1].packed


class Frontend(NamedTuple):
    """Where clients connect to: an address in text, TCP, UDP or SCTP, and a port."""

    address: str
    protocol: str
    port: int


class Backend(NamedTuple):
    """Where a connection can go."""

    address: str
    port: int


class Scope(Enum):
    """Which endpoints of a service port a list holds (P7, P8)."""

    CLUSTER = "cluster"
    LOCAL = "local"


class ListKey(NamedTuple):
    """A list's identity: the service (namespace/name), its port's name and protocol (P4), the scope, and the family.

    `affinity`: seconds since its last new connection for which a client keeps its backend, 0 for none (P23). Lists that
    differ in the scope alone share what they know about clients.
    """

    service: str
    port: str
    protocol: str
    scope: Scope
    affinity: int = 0
    family: str = IPV4


class Empty(Enum):
    """What happens to connections when a list is empty: refused at once (P11) or silently dropped (P12, P13)."""

    REJECT = "reject"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a frontend does. `empty` is REJECT unless the list is empty because all endpoints are elsewhere.

    `masquerade`: the backend sees this node's address as the client's (P15). `near`: the list for clients that are pods
    of this node or the node itself, where they have another one (P16). `sources`: the prefixes from which clients may
    come, disjoint; empty for everybody (P20).
    """

    list: ListKey
    empty: Empty
    masquerade: bool
    near: ListKey | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """The node that a proxy runs on. Node ports answer on `addresses`; `pod_cidrs` are where its pods are, if known.

    `service_cidrs` have one range a family; a family without one is not proxied. One of length 0 says that the range is
    not known: then nothing is known of addresses that no Service has.
    """

    name: str
    addresses: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    pod_cidrs: tuple[str, ...] = ()
    zone: str = ""

    @property
    def families(self) -> tuple[str, ...]:
        """Those that are proxied, the cluster's primary one first."""
        return tuple(map(family_of, self.service_cidrs))

    def service_cidr(self, family: str) -> str:
        """The range of cluster IPs of a family that is proxied."""
        return next(one for one in self.service_cidrs if family_of(one) == family)

    def pod_cidr(self, family: str) -> str | None:
        """The range of this node's pods, None if it is not known."""
        return next((one for one in self.pod_cidrs if family_of(one) == family), None)

    def hosts(self, address: str) -> bool:
        """Is this one of the node's own or its pods' addresses?"""
        if address in self.addresses:
            return True
        pods = self.pod_cidr(family_of(address))
        if pods is None:
            return False
        first, last = _ends(pods)
        return first <= socket.inet_pton(_NUMBERS[family_of(address)], address) <= last


@dataclass(slots=True)
class ServiceTable:
    """All of it. `lists` has a key for every list in use, also for empty ones.

    `addresses`: cluster IPs, with the number of Services that claim each. `hairpins`: backends' addresses on this node
    (a client may reach itself through a Service, P18), counted the same. `serving`: for UDP, the endpoints that may
    keep the flows they have (P33): also those that get no new ones.
    """

    frontends: dict[Frontend, Entry] = field(default_factory=dict)
    lists: dict[ListKey, tuple[Backend, ...]] = field(default_factory=dict)
    addresses: dict[str, int] = field(default_factory=dict)
    hairpins: dict[str, int] = field(default_factory=dict)
    serving: dict[ListKey, frozenset[Backend]] = field(default_factory=dict)

    def backends(self, frontend: Frontend) -> tuple[Backend, ...]:
        """The backends of a frontend, none if it does not exist."""
        entry = self.frontends.get(frontend)
        return () if entry is None else self.lists[entry.list]

    def snapshot(self) -> ServiceTable:
        """What it is now, for somebody who takes his time."""
        return ServiceTable(
            dict(self.frontends), dict(self.lists), dict(self.addresses), dict(self.hairpins), dict(self.serving)
        )

    def everything(self) -> Change:
        """The change that leads from an empty table to this one."""
        return Change(set(self.frontends), set(self.lists), set(self.addresses), set(self.hairpins))


@dataclass(slots=True)
class Change:
    """What may differ from the last time: look up in the table what it is now; what is not there is gone.

    `frontends` holds those whose entry, or whose list's backends, changed.
    """

    frontends: set[Frontend] = field(default_factory=set)
    lists: set[ListKey] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    hairpins: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.frontends or self.lists or self.addresses or self.hairpins)

    def add(self, other: Change) -> None:
        """Makes this both changes."""
        self.frontends |= other.frontends
        self.lists |= other.lists
        self.addresses |= other.addresses
        self.hairpins |= other.hairpins

    def of(self, family: str) -> Change:
        """The part of one family."""
        return Change(
            {one for one in self.frontends if family_of(one.address) == family},
            {one for one in self.lists if one.family == family},
            {one for one in self.addresses if family_of(one) == family},
            {one for one in self.hairpins if family_of(one) == family},
        )
