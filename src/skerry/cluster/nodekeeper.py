"""The nodes' processes as the control plane sees them: noticing that one has ended, and starting it again.

Called by controlplane.py. Of several nodes, one that ends stays down like a machine that is lost, until `skerry up` is
asked for it (revival.py): what a cluster does without it is worth seeing. A node that is the only one is started again
at once, with a growing pause if it does not live long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from skerry.cluster import entrance, sockets
from skerry.cluster.errors import ClusterError
from skerry.cluster.namespaces import NamespaceError

if TYPE_CHECKING:
    from skerry.api.types import coordination, core
    from skerry.client.informer import Informer
    from skerry.clock import Clock
    from skerry.cluster.namespaces import Handle, NodeHandle
    from skerry.cluster.paths import ClusterPaths
    from skerry.cluster.plan import NodePlan

READY_SECONDS = 30.0
"""How long a node that was started again may take to say that it is ready."""
_log = logging.getLogger(__name__)


class Pace:
    """The pauses before a node is started again: none, then 1 s, doubling to 60 s. After a life of 60 s it is anew."""

    LIMIT = 60.0

    def __init__(self) -> None:
        self._failures = 0
        self._began = float("-inf")

    def began(self, now: float) -> None:
        """A life has begun."""
        self._began = now

    def ended(self, now: float) -> float:
        """It has ended: the seconds to wait before the next."""
        if now - self._began >= self.LIMIT:
            self._failures = 0
        self._failures += 1
        return 0.0 if self._failures == 1 else min(2.0 ** (self._failures - 2), self.LIMIT)


class NodeKeeper:
    """`failed(sentence)` is called when a node ends before `settled` was called: then the cluster cannot start."""

    def __init__(
        self,
        handle: Handle,
        nodes: tuple[NodePlan, ...],
        paths: ClusterPaths,
        clock: Clock,
        failed: Callable[[str], None],
    ) -> None:
        self._handle, self._paths, self._clock, self._failed = handle, paths, clock, failed
        self._plans = {node.name: node for node in nodes}
        self._down: set[str] = set()
        self._paces = {name: Pace() for name in self._plans}
        self._turns = sockets.Turns()
        self._starting = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled = self._closed = False

    def watch(self) -> None:
        """Notices from now on what ends."""
        for node in self._handle.nodes.values():
            self._watch(node)
        self._announce()

    def serve(self) -> None:
        """Gives the nodes sockets of the host from now on."""
        for node in self._handle.nodes.values():
            self._serve(node)

    def settled(self) -> None:
        """The cluster is up: a node that ends now does not end it."""
        self._settled = True

    async def close(self) -> None:
        """Starts nothing any more; what ends now was asked to."""
        self._closed = True
        for node in self._handle.nodes.values():
            asyncio.get_running_loop().remove_reader(node.pidfd)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def follow(self, nodes: Informer[core.Node], leases: Informer[coordination.Lease]) -> None:
        """What the nodes say of themselves, for `start_missing`."""
        self._nodes, self._leases = nodes, leases
        nodes.subscribe(lambda _, __: self._changed.set())
        leases.subscribe(lambda _, __: self._changed.set())

    async def start_missing(self, report: Callable[[str], None]) -> list[str]:
        """Starts the nodes that are down, and those whose Node object was deleted; their names, when all are ready.

        `report(name)` for each that is. ClusterError if one cannot be started.
        """
        missing = [name for name in self._plans if name in self._down or self._nodes.get(name) is None]
        began = self._clock.now()
        for name in missing:
            await self._end(name)
            try:
                await self._start(name)
            except NamespaceError as error:
                raise ClusterError(str(error)) from error
        waiting = list(missing)
        try:
            async with asyncio.timeout(READY_SECONDS):
                while waiting:
                    self._changed.clear()
                    for name in [one for one in waiting if self._is_ready(one, began)]:
                        waiting.remove(name)
                        report(name)
                    for name in waiting:
                        if name in self._down:
                            raise ClusterError(f"{name} ended again: see {self._paths.node_log(name)}.")
                    if waiting:
                        await self._changed.wait()
        except TimeoutError:
            names = ", ".join(waiting)
            raise ClusterError(
                f"{names} did not become ready within {READY_SECONDS:.0f} s: see {self._paths.logs}."
            ) from None
        return missing

    def _is_ready(self, name: str, since: float) -> bool:
        """Whether the node says so, in this life of it: it reports before it renews its Lease for the first time."""
        from skerry.clock import parse_rfc3339

        node, lease = self._nodes.get(name), self._leases.get(f"kube-node-lease/{name}")
        if node is None or lease is None or parse_rfc3339(lease.spec.renew_time or "1970-01-01T00:00:00Z") < since:
            return False
        return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)

    async def _end(self, name: str) -> None:
        """Returns when nothing of the node runs any more."""
        while name not in self._down:
            self._changed.clear()
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle.nodes[name].pidfd, signal.SIGKILL)
            await self._changed.wait()

    async def _start(self, name: str) -> None:
        """Starts a node unless it runs. NamespaceError."""
        async with self._starting:
            if name not in self._down or self._closed:
                return
            node = await asyncio.to_thread(self._handle.start_node, self._plans[name])
            self._down.discard(name)
            self._paces[name].began(self._clock.monotonic())
            self._watch(node)
            self._serve(node)
            self._announce()

    async def _start_again(self, name: str) -> None:
        while name in self._down:
            pause = self._paces[name].ended(self._clock.monotonic())
            _log.info("%s is started again in %.0f s", name, pause)
            await self._clock.sleep(pause)
            try:
                await self._start(name)
            except NamespaceError as error:
                _log.error("%s was not started: %s", name, error)

    def _watch(self, node: NodeHandle) -> None:
        asyncio.get_running_loop().add_reader(node.pidfd, self._ended, node)

    def _ended(self, node: NodeHandle) -> None:
        """All processes of a node have ended though nobody asked: while the cluster starts that is the end of it."""
        asyncio.get_running_loop().remove_reader(node.pidfd)
        if self._closed:
            return
        _log.error("%s ended", node.name)
        self._down.add(node.name)
        self._changed.set()
        self._announce()
        self._turns.leave(node.name)
        if not self._settled:
            self._failed(f"{node.name} ended: see the logs in {self._paths.logs}.")
        elif len(self._plans) == 1:
            self._spawn(self._start_again(node.name))

    def _serve(self, node: NodeHandle) -> None:
        self._spawn(sockets.serve(node.broker, node=node.name, turns=self._turns))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _announce(self) -> None:
        living = {name: node.pid for name, node in self._handle.nodes.items() if name not in self._down}
        entrance.announce(self._paths, living)
