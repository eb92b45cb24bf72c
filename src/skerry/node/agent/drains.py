"""Holds the stop signals of deleted pods back until nobody sends them new connections and the open ones are done.

One `Drains` serves a node; worker.py asks it for a `Draining` when a pod is deleted. What counts is decided in
node/pods/drain.py; here are the caches that it goes by (EndpointSlices and Nodes, which the proxy keeps anyway), the
acknowledgements, which are watched only while somebody waits for them, and the pods' sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from skerry.api.types import core, discovery, skerry
from skerry.client.informer import Informer, key_of
from skerry.netlink import diag, flows, wire
from skerry.node.pods.drain import ACKNOWLEDGE_BOUND, DNS, GATEWAY, PROXY, Behind, Endpoints, Report, busy, pods_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from skerry.client.client import Client
    from skerry.client.informer import Informers
    from skerry.clock import Clock, Timer
    from skerry.node.runtime.client import Runtime

_log = logging.getLogger(__name__)

LOOK_FIRST, LOOK_MOST = 0.005, 0.2
"""Seconds between two looks at a pod's connections; half as much again each time."""

LINGER = 60.0
"""Seconds for which acknowledgements are watched after the last pod was drained."""

KNOCKS = 4.5
"""Seconds within which a client whose connection was not answered tries again, or has given up."""

_BY_POD = "pods of the node"


class Drains:
    """`start` subscribes; then `of` gives what a pod has to wait for."""

    def __init__(self, client: Client, informers: Informers, clock: Clock, runtime: Runtime, node: str) -> None:
        self.clock, self.runtime, self.node = clock, runtime, node
        self._client = client
        self._slices = informers.of(discovery.EndpointSlice)
        self._slices.add_index(_BY_POD, lambda found: pods_of(found, node))
        self._nodes = informers.of(core.Node)
        self._acknowledgements: Informer[skerry.Acknowledgement] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._end: Timer | None = None
        self._waiting: set[Draining] = set()
        self._given_up: dict[Behind, int] = {}
        self._conntrack: wire.Socket | None = None
        self._has_conntrack = True

    async def start(self) -> None:
        """Returns when the caches are filled."""
        await asyncio.gather(self._slices.synced(), self._nodes.synced())
        self._slices.subscribe(self._slice)
        self._nodes.subscribe(lambda _old, _new: self._news())

    async def close(self) -> None:
        if self._conntrack is not None:
            self._conntrack.close()
        if self._end is not None:
            self._end.cancel()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    def of(self, uid: str, ips: Sequence[str], seconds: float) -> Draining | None:
        """What a deleted pod has to wait for, `seconds` at most; None if no Service leads to it."""
        endpoints = Endpoints(uid)
        for found in self._slices.by_index(_BY_POD, uid):
            endpoints.on_slice(key_of(found), found)
        return Draining(self, endpoints, ips, seconds) if endpoints.needed else None

    def enter(self, one: Draining) -> None:
        """From now on it hears of news."""
        self._waiting.add(one)
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._watch is None:
            found = self._acknowledgements = Informer(self._client, skerry.Acknowledgement, clock=self.clock)
            found.subscribe(lambda _old, _new: self._news())
            self._watch = asyncio.create_task(found.run(), name="watch of Acknowledgement")

    def leave(self, one: Draining) -> None:
        """Ends what `enter` began."""
        self._waiting.discard(one)
        if not self._waiting and self._end is None:
            self._end = self.clock.call_later(LINGER, self._forget)

    def _forget(self) -> None:
        self._end = None
        if not self._waiting and self._watch is not None:
            self._watch.cancel()
            self._watch = self._acknowledgements = None
            self._given_up.clear()

    def behind(self, endpoints: Endpoints) -> list[Behind]:
        """Who of the live nodes may still send a pod new connections."""
        applied = self._applied()
        late = endpoints.behind(self.live(), applied)
        # Who let a pod down and has said nothing since does not hold the next one up, too.
        return [one for one in late if one not in self._given_up or self._given_up[one] != applied.get(one)]

    def gateways(self) -> int:
        """How many there are that follow the slices."""
        live = set(self.live())
        return sum(one.component == GATEWAY and one.node in live for one in self._applied())

    def give_up(self, late: Iterable[Behind]) -> None:
        """These did not acknowledge in time. Who never does is another proxy, and costs the bound each time."""
        applied = self._applied()
        self._given_up.update((one, applied[one]) for one in late if one in applied)

    def live(self) -> list[str]:
        """The nodes that are Ready: with a dead one, nobody can connect."""
        return [
            one.metadata.name
            for one in self._nodes.list()
            if any(each.type == "Ready" and each.status == "True" for each in one.status.conditions)
        ]

    def unanswered(self, ips: Sequence[str], ports: Collection[int]) -> int:
        """Clients that wait for a pod of this node to take their connection, of which its sockets know nothing."""
        if not self._has_conntrack:
            return 0
        try:
            if self._conntrack is None:
                self._conntrack = wire.Socket(wire.NETFILTER)
            return sum(flows.unanswered(self._conntrack, one, ports, KNOCKS) for one in ips)
        except OSError as error:
            _log.info("this node tracks no connections: %s", error)
            self._has_conntrack = False
            return 0

    def _applied(self) -> dict[Behind, int]:
        found = self._acknowledgements.list() if self._acknowledgements is not None else ()
        return {Behind(one.spec.node_name, one.spec.component): one.status.applied_revision for one in found}

    def _slice(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        found = new or old
        if found is not None:
            for one in self._waiting:
                if one.endpoints.on_slice(key_of(found), found, gone=new is None):
                    one.news.set()

    def _news(self) -> None:
        for one in self._waiting:
            one.news.set()


class Draining:
    """One pod that waits. `run` once; `hurry` when there is less time than thought."""

    def __init__(self, drains: Drains, endpoints: Endpoints, ips: Sequence[str], seconds: float) -> None:
        self._drains, self.endpoints, self._ips = drains, endpoints, ips
        self._clock = drains.clock
        self._began = self._clock.monotonic()
        self._until = self._began + seconds
        self.news = asyncio.Event()

    def hurry(self, seconds: float) -> None:
        self._until = min(self._until, self._clock.monotonic() + seconds)
        self.news.set()

    async def run(self) -> Report:
        """What was waited for, when all is done or the time is over."""
        report = Report()
        self._drains.enter(self)
        try:
            await self._acknowledged(report)
        finally:
            self._drains.leave(self)
        await self._closed(report)
        return report

    async def _acknowledged(self, report: Report) -> None:
        until = self._began + ACKNOWLEDGE_BOUND
        while True:
            self.news.clear()
            late = [] if self.endpoints.sending else self._drains.behind(self.endpoints)
            report.acknowledged_after = self._clock.monotonic() - self._began
            if not self.endpoints.sending and not late:
                break
            left = min(until, self._until) - self._clock.monotonic()
            if left <= 0:
                report.still_sending, report.late = bool(self.endpoints.sending), tuple(late)
                self._drains.give_up(late)
                break
            timer = self._clock.call_later(left, self.news.set)
            await self.news.wait()
            timer.cancel()
        live = len(self._drains.live())
        report.told = live if PROXY in self.endpoints.needed else 0
        report.names = live if DNS in self.endpoints.needed else 0
        report.gateways = self._drains.gateways() if self.endpoints.needed else 0

    async def _closed(self, report: Report) -> None:
        began, pause = self._clock.monotonic(), LOOK_FIRST
        ports = self.endpoints.ports
        with contextlib.ExitStack() as stack:
            try:
                handle = self._drains.runtime.in_pod(self.endpoints.uid, lambda: wire.Socket(wire.SOCK_DIAG))
                stack.enter_context(handle)
                while True:
                    found = [one for one in diag.connections(handle) if one.port in ports]
                    used = sum(busy(one.sent_ago, one.received_ago, one.received, one.waiting) for one in found)
                    knocking = 0 if used else self._drains.unanswered(self._ips, ports)
                    report.busy, report.left = used + knocking, len(found)
                    report.first = max(report.first, len(found) + knocking)
                    report.ended_after = self._clock.monotonic() - began
                    left = self._until - self._clock.monotonic()
                    if not report.busy or left <= 0:
                        return
                    await self._clock.sleep(min(pause, left))
                    pause = min(1.5 * pause, LOOK_MOST)
            except (OSError, KeyError) as error:
                _log.warning("the connections of pod %s could not be looked at: %s", self.endpoints.uid, error)
