"""Deletes pods that do not tolerate their node's NoExecute taints, when their time there is over.

Started by controllers.manager. How long a pod may stay is counted from when this controller first saw it have to go.
"""

from __future__ import annotations

from skerry.api import status
from skerry.api.types import core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.disruption import disrupted
from skerry.controllers.nodelifecycle.controller import by_node
from skerry.controllers.refusals import was_behind
from skerry.controllers.tolerations import seconds_to_stay

WORKERS = 4
_BY_NODE = "node"


class TaintEvictionController:
    """Empties tainted nodes. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, "taint-eviction-controller", clock=clock)
        self._queue = Queue(clock)
        self._since: dict[str, tuple[str, float]] = {}  # pod -> its uid, and when it was first seen to have to go
        self._pods = informers.of(core.Pod)
        self._nodes = informers.of(core.Node)
        self._pods.add_index(_BY_NODE, by_node)
        self._pods.subscribe(self._pod)
        self._nodes.subscribe(self._node)

    async def run(self) -> None:
        await self._pods.synced()
        await self._nodes.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if new is None or old is None or _decides(old) != _decides(new):
            self._queue.add(key_of(pod))

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        node = new or old
        assert node is not None
        if _no_execute(old) != _no_execute(new):
            for pod in self._pods.by_index(_BY_NODE, node.metadata.name):
                self._queue.add(key_of(pod))

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.metadata.deletion_timestamp or not pod.spec.node_name:
            self._since.pop(key, None)
            return
        found = _no_execute(self._nodes.get(pod.spec.node_name))
        seconds = seconds_to_stay(pod.spec.tolerations, found)
        uid, now = pod.metadata.uid, self._clock.monotonic()
        if seconds is None:
            known = self._since.pop(key, None)
            if known is not None and known[0] == uid:
                self._events.event(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return
        known = self._since.get(key)
        since = known[1] if known is not None and known[0] == uid else now
        self._since[key] = uid, since
        left = since + seconds - now
        if left > 0:
            self._queue.add_after(key, left)
            return
        await self._evict(key, pod)

    async def _evict(self, key: str, pod: core.Pod) -> None:
        self._events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        why = "Taint manager: deleting due to NoExecute taint"
        change = disrupted(pod, "DeletionByTaintManager", why, self._clock.now())
        name, namespace = pod.metadata.name, pod.metadata.namespace
        try:
            if change:
                await self._client.patch(core.Pod, name, change, namespace, type="strategic", subresource="status")
            await self._client.delete(core.Pod, name, namespace, uid=pod.metadata.uid)
        except status.ApiError as error:
            if not was_behind(error):
                raise


def _no_execute(node: core.Node | None) -> list[core.Taint]:
    return [] if node is None else [one for one in node.spec.taints if one.effect == "NoExecute"]


def _decides(pod: core.Pod) -> tuple[object, ...]:
    """What of a pod decides whether it may stay."""
    return pod.metadata.uid, pod.metadata.deletion_timestamp, pod.spec.node_name, pod.spec.tolerations
