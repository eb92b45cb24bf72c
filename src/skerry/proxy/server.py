"""The service proxy of one node: follows Services and EndpointSlices and makes the kernel do what they say.

Called by the node's process and by `skerry proxy`, in the network namespace of the node. The brain decides, the
back end carries out; here is only when: nothing before both lists are there (P2), the first change at once, and those
that follow within a millisecond together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from skerry.api.types import core, discovery
from skerry.client.informer import Informers
from skerry.clock import Clock, Timer, parse_rfc3339
from skerry.proxy.backend import BackEnd, Connections
from skerry.proxy.brain import Brain
from skerry.proxy.conntrack import Conntrack
from skerry.proxy.metrics import ProxyMetrics
from skerry.proxy.table import Change, Frontend, Node, family_of

log = logging.getLogger(__name__)

WINDOW = 0.001
"""Seconds after a change has been programmed in which further ones are collected."""

RETRY_FIRST, RETRY_MOST = 0.1, 5.0
"""Seconds until the whole table is tried again after the kernel refused it; doubled each time."""


BEHIND = 60.0
"""Seconds after which a proxy that could not follow says that it is not healthy: upstream's twice 30."""

ZONE = "topology.kubernetes.io/zone"
LEAVING = "ToBeDeletedByClusterAutoscaler"
"""The taint of a node that will be deleted soon."""
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
"""The annotation of a slice that says when the pod or Service changed that it follows."""

CHECK = 5.0
"""Seconds between two looks at whether somebody else changed the kernel's table."""


@dataclass(slots=True)
class Statistics:
    """What the proxy has done so far: times in seconds by the clock's `monotonic`."""

    frontends: int = 0
    programmed: int = 0
    failures: int = 0
    last_duration: float = 0.0
    flows_forgotten: int = 0
    repairs: int = 0


class Proxy:
    """`start`, then it runs until `stop`.

    `on_applied(slices, services)` is called whenever one of the newest revisions that are in the kernel has grown,
    `on_repair()` when somebody else's damage to the table was found and mended.
    """

    def __init__(
        self,
        informers: Informers,
        node: Node,
        back_end: BackEnd,
        clock: Clock,
        *,
        conntrack: Conntrack | None = None,
        on_applied: Callable[[int, int], None] | None = None,
        on_repair: Callable[[], None] | None = None,
    ) -> None:
        self.brain = Brain(node)
        self._services = informers.of(core.Service)
        self._slices = informers.of(discovery.EndpointSlice)
        self._nodes = informers.of(core.Node, field_selector=f"metadata.name={node.name}")
        self._back_end, self._clock, self._conntrack = back_end, clock, conntrack
        self._on_applied = on_applied
        self._on_repair = on_repair
        self._change = Change()
        self._seen = self._applied = (0, 0)  # EndpointSlices, Services
        self._started = self._stopped = False
        self._soon: asyncio.Handle | None = None
        self._timer: Timer | None = None
        self._checking: Timer | None = None
        self._retry: float = 0.0
        self._busy = self._damaged = False
        """Is the back end taking a whole table over? Was that because somebody had changed it?"""
        self._jobs: set[asyncio.Task[None]] = set()
        self._statistics = Statistics()
        self.metrics = ProxyMetrics(node.families)
        self.ports_changed = asyncio.Event()
        """Set when a Service changed: its health check node port may have."""
        self._born = self._updated = clock.now()
        self._behind_since: float | None = None
        self._triggers: list[tuple[float, str]] = []  # when, and of which family
        self._look_again: set[Frontend] | None = set()
        self.eligible = True
        """May balancers send this node traffic (P35)? Not if its Node has gone, is being deleted or is about to be."""

    @property
    def mode(self) -> str:
        """Which back end it has: nftables or userspace."""
        return self._back_end.mode

    @property
    def applied_revision(self) -> int:
        """All EndpointSlices up to this revision are in the kernel; 0 before the first table is."""
        return self._applied[0]

    def statistics(self) -> Statistics:
        """A snapshot."""
        self._statistics.frontends = len(self.brain.table.frontends)
        return self._statistics

    async def start(self) -> None:
        """Returns when the first whole table is in the kernel; needs informers that run. OSError if it is refused."""
        self._services.subscribe(self._service)
        self._slices.subscribe(self._slice)
        self._nodes.subscribe(self._node)
        await asyncio.gather(self._services.synced(), self._slices.synced())
        self._see(_revision(self._slices.resource_version), _revision(self._services.resource_version))
        await self._take_over()
        self._started = True
        self._plan_check()
        self._catch_up()

    async def _take_over(self) -> None:
        """Makes the whole table as it is now that of the kernel; what comes in meanwhile waits. OSError if refused."""
        self._cancel()
        self._busy = True
        self._change = Change()
        seen, triggers = self._seen, self._triggers
        self._triggers = []
        begun = self._clock.monotonic()
        try:
            await self._back_end.take_over(self.brain.table.snapshot())
        except OSError:
            self._triggers = triggers + self._triggers
            raise
        finally:
            self._busy = False
        if self._stopped:
            return
        self._retry = 0.0
        waiting = self._triggers
        self._triggers = triggers
        self._measure(self._clock.monotonic() - begun, whole=True)
        self._triggers = waiting
        self._done(None, seen)

    async def _start_again(self) -> None:
        """The kernel's table is damaged or was refused."""
        try:
            await self._take_over()
        except OSError as error:
            if not self._stopped:
                self._fail(error)
            return
        if self._damaged:
            self._damaged = False
            self._statistics.repairs += 1
            self.metrics.repairs.add(1)
            if self._on_repair is not None:
                self._on_repair()
        self._catch_up()

    def _catch_up(self) -> None:
        if not self._stopped and (self._change or self._seen != self._applied):
            self._program()

    def _begin(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def stop(self) -> None:
        """Follows no changes any more. What is in the kernel stays there."""
        self._stopped = True
        self._cancel()
        if self._checking is not None:
            self._checking.cancel()
        for job in self._jobs:
            job.cancel()
        self._back_end.close()
        if self._conntrack is not None:
            self._conntrack.close()

    def _cancel(self) -> None:
        for one in (self._soon, self._timer):
            if one is not None:
                one.cancel()
        self._soon = self._timer = None

    def _plan_check(self) -> None:
        self._checking = self._clock.call_later(CHECK, self._check)

    def _check(self) -> None:
        """Not while a change waits: then the table is not yet what the kernel holds."""
        self._plan_check()
        if self._change or self._retry or self._jobs:
            return
        self._heal_again()
        self._begin(self._look())

    async def _look(self) -> None:
        """Has somebody else changed the kernel's table? Changes go on meanwhile, and one of them may find it out."""
        try:
            intact = await self._back_end.intact(self.brain.table)
        except OSError as error:
            if not self._stopped and not self._busy and not self._retry:
                self._cancel()
                self._fail(error)
            return
        if not intact and not self._busy and not self._retry:
            self._damaged = True
            await self._start_again()

    def _see(self, slices: int = 0, services: int = 0) -> None:
        self._seen = (max(self._seen[0], slices), max(self._seen[1], services))

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one: Any = new or old
        self._see(services=_revision(one.metadata.resource_version))
        self._note(service=True)
        self.ports_changed.set()
        self._change.add(self.brain.apply_service(_key(one), new))
        # A new address must be in the kernel before anybody hears of it (DNS follows the same cache, after us): a
        # packet to an address that no Service has is dropped, and its sender tries again only after a second.
        if self._started and not self._stopped and not self._retry and not self._busy:
            self._cancel()
            self._program()

    def _slice(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        one: Any = new or old
        self._see(slices=_revision(one.metadata.resource_version))
        self._note(service=False, family=one.address_type)
        trigger = new.metadata.annotations.get(TRIGGER) if new is not None else None
        if trigger:
            with contextlib.suppress(ValueError):
                self._triggers.append((parse_rfc3339(trigger), one.address_type))
        self._collect(self.brain.apply_slice(_key(one), new))

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        """Our own Node may be about to go, and may say which zone it is in; nobody waits for either."""
        one: Any = new or old
        if one.metadata.name != self.brain.node.name:
            return
        leaving = new is None or new.metadata.deletion_timestamp is not None
        self.eligible = not leaving and all(taint.key != LEAVING for taint in one.spec.taints)
        if new is not None:
            change = self.brain.move_to_zone(new.metadata.labels.get(ZONE, ""))
            if change:
                self._collect(change)

    def move_to(self, addresses: tuple[str, ...]) -> None:
        """The node has these addresses for node ports and health checks from now on."""
        change = self.brain.move_to_addresses(addresses)
        if change:
            self._collect(change)
        self.ports_changed.set()

    def _note(self, *, service: bool, family: str = "") -> None:
        self.metrics.came_in(service=service, now=self._clock.now(), family=family)
        if self._behind_since is None:
            self._behind_since = self._clock.monotonic()

    def healthy(self) -> bool:
        """Is nothing waiting for the kernel that came in long ago (P35)?"""
        since = self._behind_since
        return self._started and (since is None or self._clock.monotonic() - since < BEHIND)

    def updated_at(self) -> float:
        """When the kernel last followed, in seconds since 1970."""
        return self._updated

    def connections(self, service: str = "") -> list[Connections]:
        """How many connections each endpoint of a Service (namespace/name; "": of all) was given. OSError."""
        return [one for one in self._back_end.connections() if service in ("", one.service)]

    def scrape(self) -> str:
        """All metrics, as a scraper reads them."""
        self.metrics.misses.set(self._back_end.misses())
        self.metrics.nowhere_near(self.brain.table)
        self.metrics.unswept(self._back_end.unswept())
        self.metrics.connections.clear()
        for service, port, protocol, backend, total in self._back_end.connections():
            self.metrics.connections.set(total, service, port, protocol, f"{backend.address}:{backend.port}")
        return self.metrics.registry.text()

    def _collect(self, change: Change) -> None:
        """Takes a change in; also an empty one, because its revision is to be acknowledged."""
        self._change.add(change)
        waits = self._busy or self._soon is not None or self._timer is not None
        if self._started and not self._stopped and not waits:
            self._soon = asyncio.get_running_loop().call_soon(self._program)

    def _program(self) -> None:
        self._soon = None
        change, self._change = self._change, Change()
        begun = self._clock.monotonic()
        try:
            if change:
                self._back_end.program(self.brain.table, change)
        except OSError:  # it was damaged, which the back end told in the log
            self._damaged = True
            self._busy = True
            self._begin(self._start_again())
            return
        self._measure(self._clock.monotonic() - begun, whole=False)
        self._timer = self._clock.call_later(WINDOW, self._reopen)
        self._done(change.frontends, self._seen)

    def _measure(self, seconds: float, *, whole: bool) -> None:
        """All that came in is in the kernel. Pods that changed before the proxy began do not count (P37)."""
        self._statistics.last_duration = seconds
        self._updated = self._clock.now()
        self._behind_since = None
        self.metrics.applied(seconds, whole=whole, now=self._updated)
        for trigger, family in self._triggers:
            if trigger >= self._born:
                self.metrics.programmed(max(0.0, self._updated - trigger), family)
        self._triggers.clear()

    def _reopen(self) -> None:
        """The window is over: what came in meanwhile is programmed now."""
        self._timer = None
        self._catch_up()

    def _fail(self, error: OSError) -> None:
        self._statistics.failures += 1
        self.metrics.failed()
        self._retry = min(self._retry * 2, RETRY_MOST) if self._retry else RETRY_FIRST
        log.error("the kernel refused the service table, trying again in %.1f s: %s", self._retry, error)
        self._timer = self._clock.call_later(self._retry, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        self._begin(self._start_again())

    def _done(self, changed: set[Frontend] | None, seen: tuple[int, int]) -> None:
        """A change of these frontends (None: of everything) is in the kernel, and all up to these revisions."""
        self._statistics.programmed += 1
        self._heal(changed)
        if self._applied != seen:
            self._applied = seen
            if self._on_applied is not None:
                self._on_applied(*self._applied)

    def _heal(self, changed: set[Frontend] | None) -> None:
        """UDP flows follow. A packet may have been on its way to where it no longer should: a check looks once more."""
        self._forget_flows(changed)
        if changed is None or self._look_again is None:
            self._look_again = None
        else:
            self._look_again |= {one for one in changed if one.protocol == "UDP"}

    def _heal_again(self) -> None:
        changed, self._look_again = self._look_again, set()
        if (changed is None or changed) and not self._forget_flows(changed):
            self._look_again = None

    def _forget_flows(self, changed: set[Frontend] | None) -> bool:
        """False if conntrack could not be asked."""
        if self._conntrack is None:
            return True
        for cidr in self.brain.node.service_cidrs:
            family = family_of(cidr)
            begun = self._clock.monotonic()
            try:
                if changed is None:
                    gone = self._conntrack.reconcile(self.brain.table, (cidr,))
                else:
                    these = {one for one in changed if family_of(one.address) == family}
                    gone = self._conntrack.heal(these, self.brain.table)
            except OSError as error:
                log.warning("could not look for outdated UDP flows: %s", error)
                return False
            self._statistics.flows_forgotten += gone
            self.metrics.forgot(gone, self._clock.monotonic() - begun, family)
        return True


def _key(one: Any) -> str:
    return f"{one.metadata.namespace}/{one.metadata.name}"


def _revision(text: str) -> int:
    """A resource version as a number; ours and etcd's are."""
    return int(text) if text.isdigit() else 0
