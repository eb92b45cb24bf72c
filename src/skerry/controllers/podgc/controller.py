"""The shell of the pod collector: caches in, forced deletions out. Started by controllers.manager."""

from __future__ import annotations

import logging
from typing import Any

from skerry.api import status
from skerry.api.types import core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.disruption import disrupted
from skerry.controllers.nodelifecycle.controller import by_node
from skerry.controllers.podgc import decide
from skerry.controllers.refusals import was_behind

_BY_NODE = "node"
_ENDED = "ended"
_log = logging.getLogger(__name__)


class PodGcController:
    """`await run()` until cancelled. `kept`: how many pods that have ended may stay."""

    def __init__(self, client: Client, clock: Clock, informers: Informers, kept: int = decide.KEPT) -> None:
        self._client, self._clock, self._kept = client, clock, kept
        self._queue = Queue(clock)
        self._missing: dict[str, float] = {}  # node that pods are bound to -> since when it is not there
        self._pods = informers.of(core.Pod)
        self._nodes = informers.of(core.Node)
        self._pods.add_index(_BY_NODE, by_node)
        self._ended: set[str] = set()
        self._pods.subscribe(self._pod)
        self._nodes.subscribe(self._node)

    async def run(self) -> None:
        await self._pods.synced()
        await self._nodes.synced()
        await controller.run(self._queue, self._sync)

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        key = key_of(pod)
        if new is None or not decide.has_ended(new):
            self._ended.discard(key)
        elif key not in self._ended:
            self._ended.add(key)
            if len(self._ended) > self._kept:
                self._queue.add(_ENDED)
        lonely = bool(new and new.spec.node_name and self._nodes.get(new.spec.node_name) is None)
        if new is not None and (lonely or new.metadata.deletion_timestamp):
            self._queue.add(key)

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        node = new or old
        assert node is not None
        name = node.metadata.name
        if new is not None:
            self._missing.pop(name, None)
        if new is None or decide.is_out_of_service(new):
            for pod in self._pods.by_index(_BY_NODE, name):
                self._queue.add(key_of(pod))

    async def _sync(self, key: str) -> None:
        if key == _ENDED:
            found = (self._pods.get(one) for one in self._ended)
            for one in decide.surplus([one for one in found if one is not None], self._kept):
                await self._remove(one, {})
            return
        pod = self._pods.get(key)
        if pod is None:
            return
        now, name = self._clock.monotonic(), pod.spec.node_name
        node = self._nodes.get(name) if name else None
        since = self._missing.setdefault(name, now) if name and node is None else now
        why = decide.verdict(pod, node, now - since)
        if why is None:
            if name and node is None:
                self._queue.add_after(key, since + decide.QUARANTINE - now)
            return
        if why is decide.Why.NODE_GONE:
            if await self._is_there(name):
                return  # its event comes
            await self._remove(pod, disrupted(pod, "DeletionByPodGC", why.value, self._clock.now()))
        else:
            await self._remove(pod, {})

    async def _is_there(self, name: str) -> bool:
        """Asks the server itself: the cache may be behind."""
        try:
            await self._client.get(core.Node, name)
        except status.ApiError as error:
            if status.is_not_found(error):
                return False
            raise
        return True

    async def _remove(self, pod: core.Pod, change: dict[str, Any]) -> None:
        """Says that the pod has failed, unless it has ended, and deletes it without waiting for its node."""
        meta = pod.metadata
        if not decide.has_ended(pod):
            change = change or {"metadata": {"uid": meta.uid}, "status": {}}
            change["status"]["phase"] = "Failed"
        _log.info("pod %s is removed", key_of(pod))
        try:
            if change:
                await self._client.patch(
                    core.Pod, meta.name, change, meta.namespace, type="strategic", subresource="status"
                )
            await self._client.delete(core.Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid)
        except status.ApiError as error:
            if not was_behind(error):
                raise
