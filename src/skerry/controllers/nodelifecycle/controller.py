"""The shell of the node life cycle: caches in, conditions and taints out. Started by controllers.manager.

Nothing is polled: each node has a timer that its signs of life push back.
"""

from __future__ import annotations

import asyncio

import msgspec

from skerry.api import codec, status
from skerry.api.types import coordination, core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.client.workqueue import Queue
from skerry.clock import Clock, rfc3339
from skerry.controllers.nodelifecycle import health, taints
from skerry.controllers.nodelifecycle.zones import Zones
from skerry.controllers.refusals import was_behind
from skerry.controllers.view import View

WORKERS = 4
LEASES = "kube-node-lease"
_BY_NODE = "node"


class NodeLifecycleController:
    """Tells what the nodes do not tell themselves. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, "node-controller", clock=clock)
        self._queue = Queue(clock)
        self._beats: dict[str, health.Heartbeat] = {}
        self._lost: set[str] = set()
        self._permitted: set[str] = set()
        self._zones = Zones()
        self._all_lost = False
        self._nodes = View(informers.of(core.Node), self._queue.add)
        self._leases = informers.of(coordination.Lease, namespace=LEASES)
        self._pods = informers.of(core.Pod)
        self._pods.add_index(_BY_NODE, by_node)
        self._nodes.informer.subscribe(self._node)
        self._leases.subscribe(self._lease)
        self._pods.subscribe(self._pod)

    async def run(self) -> None:
        await self._nodes.informer.synced()
        await self._leases.synced()
        await self._pods.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        node = new or old
        assert node is not None
        name = node.metadata.name
        if new is None:
            self._forget(name)
            self._say(node, "RemovingNode", f"Node {name} event: Removing Node {name} from Controller")
            return
        if old is None:
            self._say(node, "RegisteredNode", f"Node {name} event: Registered Node {name} in Controller")
        elif health.is_ready(old) and not health.is_ready(new):
            self._say(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady")
        self._queue.add(name)

    def _say(self, node: core.Node, reason: str, message: str) -> None:
        self._events.event(node, "Normal", reason, message)

    def _lease(self, _: coordination.Lease | None, new: coordination.Lease | None) -> None:
        if new is not None:
            self._queue.add(new.metadata.name)

    def _pod(self, _: core.Pod | None, new: core.Pod | None) -> None:
        if new is not None and new.spec.node_name in self._lost and says_ready(new):
            self._queue.add(new.spec.node_name)

    def _forget(self, name: str) -> None:
        self._beats.pop(name, None)
        self._lost.discard(name)
        self._permitted.discard(name)
        self._zones.remove(name)
        self._look_around()

    async def _sync(self, name: str) -> None:
        node = self._nodes.get(name)
        if node is None or self._nodes.is_behind(name):
            return
        now, wall = self._clock.monotonic(), self._clock.now()
        lease = self._leases.get(f"{LEASES}/{name}")
        beat = self._beats[name] = health.observe(self._beats.get(name), node, lease, now, wall)
        left = health.deadline(node, beat) - now
        lost = left <= 0
        if lost:
            self._lost.add(name)
        else:
            self._lost.discard(name)
            self._queue.add_after(name, left)
        conditions = health.silent(node, wall) if lost else None
        if conditions is not None:
            wanted = msgspec.structs.replace(node, status=msgspec.structs.replace(node.status, conditions=conditions))
            made = await self._write(node, wanted, "status")
            if made is None:
                return
            node = made
        self._zones.put(node, health.is_ready(node))
        self._look_around()
        if not await self._taint(node, lost):
            return
        if lost:
            await self._tell_pods(name)

    async def _write(self, node: core.Node, wanted: core.Node, subresource: str = "") -> core.Node | None:
        """The node as written; None if it has changed meanwhile: then it comes again."""
        try:
            made = await self._client.update(wanted, subresource=subresource)
        except status.ApiError as error:
            if was_behind(error):
                self._nodes.refused(node)
                return None
            raise
        self._nodes.wrote(made)
        return made

    def _look_around(self) -> None:
        """When the last node falls silent, eviction ends; when one is back, all get a new time to give a sign."""
        if self._zones.all_lost == self._all_lost:
            return
        self._all_lost = self._zones.all_lost
        now = self._clock.monotonic()
        for name, beat in self._beats.items():
            if not self._all_lost:
                beat.seen = now
            self._queue.add(name)

    async def _taint(self, node: core.Node, lost: bool) -> bool:
        """Brings the node's taints in line; False if it has changed meanwhile."""
        wanted = taints.no_schedule(node, lost)
        keys = taints.of_readiness(node, lost)
        if keys is not None:
            wanted = taints.no_execute(wanted, self._may_empty(node, keys))
        if wanted == node.spec.taints:
            return True
        made = codec.copy(node)
        made.spec.taints = taints.stamped(wanted, node.spec.taints, rfc3339(self._clock.now()))
        return await self._write(node, made) is not None

    def _may_empty(self, node: core.Node, keys: list[str]) -> list[str]:
        """The keys for which the node may be tainted NoExecute now; it comes again if that is later."""
        name = node.metadata.name
        if not keys or self._all_lost:
            self._permitted.discard(name)
            return []
        if not taints.has_no_execute(node) and name not in self._permitted:
            wait = self._zones.permit(node, self._clock.monotonic())
            if wait:
                self._queue.add_after(name, wait)
                return []
            self._permitted.add(name)
        return keys

    async def _tell_pods(self, name: str) -> None:
        """R13: the pods of a lost node are not ready, whatever they said last."""
        pods = [one for one in self._pods.by_index(_BY_NODE, name) if says_ready(one)]
        await asyncio.gather(*(self._tell_pod(one) for one in pods))

    async def _tell_pod(self, pod: core.Pod) -> None:
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": rfc3339(self._clock.now())}
        change = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
        name, namespace = pod.metadata.name, pod.metadata.namespace
        try:
            await self._client.patch(core.Pod, name, change, namespace, type="strategic", subresource="status")
        except status.ApiError as error:
            if was_behind(error):
                return
            raise
        self._events.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def by_node(pod: core.Pod) -> list[str]:
    """The index of pods by the node they are bound to."""
    return [pod.spec.node_name] if pod.spec.node_name else []


def says_ready(pod: core.Pod) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
