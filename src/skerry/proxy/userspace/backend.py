"""The userspace back end: makes listeners follow the service table. Called by server.py.

One listener a frontend that has somewhere to go; without one the kernel refuses, which is what rules ask for (P11,
P25). Where rules ask for silence (P12, P13, P20) a filter on the listener drops packets before they are anybody's.
The table is in force when a call returns. Listeners end with the process, and so do the connections behind them.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import resource
import socket
from collections import Counter
from collections.abc import Iterator, Mapping

from skerry import linux
from skerry.clock import Clock
from skerry.proxy.backend import Connections
from skerry.proxy.relay.tcp import TcpRelay
from skerry.proxy.relay.udp import UdpRelay
from skerry.proxy.table import Change, Empty, Entry, Frontend, ListKey, Node, Scope, ServiceTable
from skerry.proxy.userspace import filters
from skerry.proxy.userspace.choice import Door, ServicePort, here
from skerry.proxy.userspace.places import Place, version

log = logging.getLogger(__name__)

_BACKLOG = 4096
_AT_ONCE = 16
"""Listeners that are opened in one turn of the loop, which takes some milliseconds."""
_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}

_PortKey = ListKey
"""A service port: the key of its lists, with one scope for all of them."""

Stages = tuple[tuple[str, ...], ...]
"""Who may come: in each stage the prefixes of which a client must have one."""


class _Listener:
    """A frontend's socket, its relay and its door."""

    def __init__(self, sock: socket.socket, relay: TcpRelay | UdpRelay, door: Door) -> None:
        self.sock, self.relay, self.door = sock, relay, door
        self.stages: Stages = ()
        self.filtered = True


class Userspace:
    """Carries out service tables with sockets, in the network namespace and the event loop in which it is made."""

    mode = "userspace"

    def __init__(self, node: Node, clock: Clock, place: Place) -> None:
        self._node, self._clock, self._place = node, clock, place
        self._listeners: dict[Frontend, _Listener] = {}
        self._closing: dict[TcpRelay, str] = {}
        """Relays whose last connections go on though their frontend has gone, with its address."""
        self._ports: dict[_PortKey, ServicePort] = {}
        self._addresses: Counter[str] = Counter()
        self._leaving: set[str] = set()
        """Addresses of which no frontend is left."""
        self._known: set[Frontend] = set()
        self._failed: dict[Frontend, str] = {}
        _raise_limit()

    def start(self, table: ServiceTable) -> None:
        """Makes this the table in force, whatever there was."""
        self.program(table, self._everything(table))

    def _everything(self, table: ServiceTable) -> Change:
        found = table.everything()
        found.frontends |= self._known
        found.lists |= self._ports.keys()
        return found

    def program(self, table: ServiceTable, change: Change) -> None:
        """Follows a change. What cannot be listened on is told in the log and tried again at each check."""
        for key in {_port_key(one) for one in change.lists}:
            self._renew_port(table, key)
        for frontend in change.frontends:
            self._follow(table, frontend)
        self._sweep()

    async def take_over(self, table: ServiceTable) -> None:
        """As `start`, a few at a time: ten thousand listeners take seconds, in which others have their turns."""
        everything = self._everything(table)
        lists, frontends = iter(everything.lists), iter(everything.frontends)
        while some := set(itertools.islice(lists, 8 * _AT_ONCE)):
            self.program(table, Change(lists=some))
            await asyncio.sleep(0)
        while others := set(itertools.islice(frontends, _AT_ONCE)):
            self.program(table, Change(others))
            await asyncio.sleep(0)

    async def intact(self, table: ServiceTable) -> bool:
        """Tries again what could not be listened on. Nobody else can change what is open."""
        self._sweep()
        for frontend in list(self._failed):
            self._follow(table, frontend)
        return True

    def unswept(self) -> dict[str, int]:
        """Sockets can always be closed."""
        return {}

    def misses(self) -> int:
        """Connections that found no backend though there was one: there is no way to lose one here."""
        return 0

    def connections(self) -> Iterator[Connections]:
        """How many connections each backend has been given."""
        for key, port in self._ports.items():
            for backend, total in port.totals.items():
                yield Connections(key.service, key.port, key.protocol, backend, total)

    @property
    def unserved(self) -> Mapping[Frontend, str]:
        """Frontends that cannot be listened on, and why."""
        return self._failed

    def close(self) -> None:
        """Closes every listener and resets every connection."""
        for one in (*(listener.relay for listener in self._listeners.values()), *self._closing):
            one.close()
        self._listeners.clear()
        self._closing.clear()
        self._place.close()

    def _renew_port(self, table: ServiceTable, key: _PortKey) -> None:
        found = [table.lists[one] for scope in Scope if (one := key._replace(scope=scope)) in table.lists]
        if not found:
            self._ports.pop(key, None)
            return
        if key not in self._ports:
            self._ports[key] = ServicePort(key.affinity, self._clock.monotonic)
        self._ports[key].consist_of(frozenset().union(*found))

    def _follow(self, table: ServiceTable, frontend: Frontend) -> None:
        """A frontend is now what the table says, or gone."""
        entry = table.frontends.get(frontend)
        self._failed.pop(frontend, None)
        try:
            self._settle(frontend, there=entry is not None)
            if entry is None or not (table.lists[entry.list] or entry.empty is Empty.DROP):
                self._shut(frontend)
            else:
                self._lead(table, frontend, entry)
        except OSError as error:
            self._fail(frontend, linux.reason(error))

    def _fail(self, frontend: Frontend, reason: str) -> None:
        self._failed[frontend] = reason
        log.warning("cannot listen on %s:%d/%s: %s", frontend.address, frontend.port, frontend.protocol, reason)

    def _settle(self, frontend: Frontend, *, there: bool) -> None:
        """Packets to its address arrive here as long as one frontend has it."""
        if there == (frontend in self._known):
            return
        if there:
            if frontend.address not in self._addresses:
                self._place.come(frontend.address)
            self._known.add(frontend)
            self._leaving.discard(frontend.address)
            self._addresses[frontend.address] += 1
            return
        self._known.discard(frontend)
        self._addresses[frontend.address] -= 1
        if not self._addresses[frontend.address]:
            self._leaving.add(frontend.address)

    def _sweep(self) -> None:
        """Addresses that no frontend has any more go, when their last connection has ended."""
        if not (self._closing or self._leaving):
            return
        self._closing = {relay: address for relay, address in self._closing.items() if relay.connections}
        for address in self._leaving - set(self._closing.values()):
            self._leaving.discard(address)
            del self._addresses[address]
            self._place.go(address)

    def _shut(self, frontend: Frontend) -> None:
        """New connections are refused; those that are there go on, flows of UDP do not."""
        listener = self._listeners.pop(frontend, None)
        if listener is not None:
            listener.relay.stop_listening()
            if isinstance(listener.relay, TcpRelay) and listener.relay.connections:
                self._closing[listener.relay] = frontend.address

    def _lead(self, table: ServiceTable, frontend: Frontend, entry: Entry) -> None:
        """There is a listener, and it leads to the entry's backends."""
        backends = table.lists[entry.list]
        near = None if entry.near is None else table.lists[entry.near]
        stages: Stages = (entry.sources,) if entry.sources else ()
        if not backends:
            stages += (here(self._node) if near else (),)
        listener = self._listeners.get(frontend)
        if listener is None:
            listener = self._listen(frontend, stages)
        elif stages != listener.stages:
            self._admit(listener, frontend, stages)
        checks = () if listener.filtered else stages
        listener.door.lead(self._ports[_port_key(entry.list)], backends, near, checks)
        if isinstance(listener.relay, UdpRelay):
            serving = table.serving.get(entry.list, frozenset())
            if serving:
                listener.relay.keep(serving)

    def _listen(self, frontend: Frontend, stages: Stages) -> _Listener:
        """OSError if it cannot."""
        kind = _KINDS.get(frontend.protocol)
        if kind is None:
            raise OSError(errno.EPROTONOSUPPORT, f"{frontend.protocol} is not carried in user space")
        sock, address = self._place.open(frontend.address, kind)
        try:
            door = Door(self._node)
            listener = _Listener(sock, self._relay(sock, frontend, door), door)
            if frontend.protocol == "TCP":  # against connections in TIME_WAIT
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._admit(listener, frontend, stages)
            sock.bind((address, frontend.port))
            if frontend.protocol == "TCP":
                sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        listener.relay.start()
        self._listeners[frontend] = listener
        return listener

    def _relay(self, sock: socket.socket, frontend: Frontend, door: Door) -> TcpRelay | UdpRelay:
        return TcpRelay(sock, door) if frontend.protocol == "TCP" else UdpRelay(sock, door, self._clock)

    def _admit(self, listener: _Listener, frontend: Frontend, stages: Stages) -> None:
        """Has the kernel drop the packets of other clients; where it cannot, the door sends them away."""
        listener.stages, before = stages, listener.stages
        try:
            if before and listener.filtered:
                filters.detach(listener.sock)
            listener.filtered = True
            if stages:
                filters.attach(listener.sock, filters.program(version(frontend.address), stages))
        except (OSError, ValueError) as error:
            listener.filtered = False
            log.warning("%s:%d resets clients that it should not answer: %s", frontend.address, frontend.port, error)


def _port_key(key: ListKey) -> _PortKey:
    return key._replace(scope=Scope.CLUSTER)


def _raise_limit() -> None:
    """As many descriptors as this process may have: one a listener, two to six a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
