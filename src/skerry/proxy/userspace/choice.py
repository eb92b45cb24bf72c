"""Which backend a client gets. Pure: no socket, no clock.

Called by backend.py, which makes a `ServicePort` for each service port and a `Door` for each frontend; the relays ask
the door.
"""

from __future__ import annotations

import functools
import ipaddress
import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from skerry.proxy.table import Backend, Node

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
CLIENTS_MAX = 1 << 17
"""Clients that a service port with affinity remembers; who came longest ago makes room."""


class ServicePort:
    """What the frontends of one service port share: clients' records (P23), and what its backends were given.

    `seconds`: since a client's last new connection for which it keeps its backend, 0 for no affinity.
    """

    def __init__(self, seconds: int, monotonic: Callable[[], float]) -> None:
        self.totals: Counter[Backend] = Counter()
        """Connections that each backend was given."""
        self._seconds, self._monotonic = seconds, monotonic
        self._records: dict[str, tuple[Backend, float]] = {}  # the last one is who came last
        self._members: frozenset[Backend] = frozenset()

    def choose(self, client: str, backends: Sequence[Backend]) -> Backend:
        """One of some backends: the one that the client had, or any (P14)."""
        if not self._seconds:
            return random.choice(backends)
        now = self._monotonic()
        self._expire(now)
        known = self._records.pop(client, None)
        chosen = known[0] if known is not None and known[0] in backends else random.choice(backends)
        self._records[client] = (chosen, now)
        return chosen

    def _expire(self, now: float) -> None:
        while self._records:
            client, (_, since) = next(iter(self._records.items()))
            if now - since < self._seconds and len(self._records) < CLIENTS_MAX:
                return
            del self._records[client]

    def consist_of(self, backends: frozenset[Backend]) -> None:
        """These are all backends there are now: what others were given, and who had them, is forgotten."""
        gone, self._members = self._members - backends, backends
        for one in gone:
            self.totals.pop(one, None)
        if gone:
            self._records = {client: known for client, known in self._records.items() if known[0] not in gone}


class Door:
    """One frontend's guide (relay/guide.py): changed with `lead` whenever the table changes."""

    def __init__(self, node: Node) -> None:
        self._port: ServicePort | None = None
        self._backends: Sequence[Backend] = ()
        self._near: Sequence[Backend] | None = None
        self._stages: list[tuple[_Network, ...]] = []
        self._networks = _networks(here(node))

    def lead(
        self,
        port: ServicePort,
        backends: Sequence[Backend],
        near: Sequence[Backend] | None,
        checks: Sequence[Sequence[str]] = (),
    ) -> None:
        """Clients get one of `backends`, or those on this node one of `near`, if that is given.

        `checks`: stages as those of filters.py, for machines that know no filters: who fails gets nothing.
        """
        self._port, self._backends, self._near = port, backends, near
        self._stages = [_networks(tuple(stage)) for stage in checks]

    def choose(self, client: str, tried: Collection[Backend], /) -> Backend | None:
        """A backend for a client."""
        found = self._backends
        if self._near is not None or self._stages:
            address = ipaddress.ip_address(client)
            if not all(any(address in one for one in stage) for stage in self._stages):
                return None
            if self._near is not None and any(address in one for one in self._networks):
                found = self._near
        if tried:
            found = [one for one in found if one not in tried]
        return self._port.choose(client, found) if found and self._port is not None else None

    def opened(self, backend: Backend, /) -> None:
        """A client got it."""
        if self._port is not None:
            self._port.totals[backend] += 1


@functools.lru_cache(1 << 10)
def _networks(prefixes: tuple[str, ...]) -> tuple[_Network, ...]:
    """Ten thousand doors have the same few."""
    return tuple(map(ipaddress.ip_network, prefixes))


def here(node: Node) -> tuple[str, ...]:
    """The prefixes that clients on this node have: its own addresses and its pods' (P16)."""
    return (*node.addresses, *node.pod_cidrs)
