"""The shell of the scheduler: caches in, bindings out. Started by controllers.manager.

A decision and its note in the books happen in one go, without waiting in between, so that bindings under way are
known to the next decision. Pods that fit nowhere wait for a node to change or for a pod to make room.
"""

from __future__ import annotations

from skerry.api import status
from skerry.api.types import core, meta
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock, rfc3339
from skerry.controllers.refusals import was_behind
from skerry.controllers.scheduler import fit

NAME = "default-scheduler"
WORKERS = 5


class SchedulerController:
    """Binds pods to nodes. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, NAME, clock=clock)
        self._queue = Queue(clock)
        self._uses: dict[str, fit.Use] = {}
        self._where: dict[str, str] = {}  # pod -> the node it is counted on
        self._waiting: set[str] = set()
        self._pods = informers.of(core.Pod)
        self._nodes = informers.of(core.Node)
        self._pods.subscribe(self._pod)
        self._nodes.subscribe(self._node)

    async def run(self) -> None:
        await self._pods.synced()
        await self._nodes.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        key = key_of(pod)
        if new is None or new.status.phase in ("Succeeded", "Failed"):
            self._waiting.discard(key)
            self._uncount(key)
            return
        if new.spec.node_name:
            self._waiting.discard(key)
            if self._where.get(key) != new.spec.node_name or old is None or old.metadata.uid != new.metadata.uid:
                self._count(key, new, new.spec.node_name)
        elif _is_ours(new) and (old is None or old.metadata.uid != new.metadata.uid or old.spec != new.spec):
            self._queue.add(key)

    def _count(self, key: str, pod: core.Pod, node: str) -> None:
        self._forget(key)
        self._where[key] = node
        self._uses.setdefault(node, fit.Use()).add(key, pod)

    def _forget(self, key: str) -> bool:
        node = self._where.pop(key, None)
        if node is None:
            return False
        self._uses[node].remove(key)
        if not self._uses[node].pods:
            del self._uses[node]
        return True

    def _uncount(self, key: str) -> None:
        if self._forget(key):
            self._try_waiting()

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        if new is not None and (old is None or _capability(old) != _capability(new)):
            self._try_waiting()

    def _try_waiting(self) -> None:
        for key in self._waiting:
            self._queue.add(key)
        self._waiting.clear()

    async def _sync(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.spec.node_name or key in self._where or not _is_ours(pod):
            return
        choice = fit.choose(pod, self._nodes.items.values(), self._uses)
        if not choice.node:
            self._waiting.add(key)
            await self._refuse(pod, choice.message)
            return
        self._count(key, pod, choice.node)
        try:
            await self._bind(pod, choice.node)
        except BaseException as error:
            self._uncount(key)
            if isinstance(error, status.ApiError) and was_behind(error):
                return  # gone, or bound by another hand: its event says so
            raise
        text = f"Successfully assigned {key} to {choice.node}"
        self._events.event(pod, "Normal", "Scheduled", text)

    async def _bind(self, pod: core.Pod, node: str) -> None:
        binding = core.Binding(
            metadata=meta.ObjectMeta(name=pod.metadata.name, namespace=pod.metadata.namespace, uid=pod.metadata.uid),
            target=core.ObjectReference(kind="Node", name=node),
        )
        await self._client.post(core.Pod, pod.metadata.name, "binding", binding, pod.metadata.namespace)

    async def _refuse(self, pod: core.Pod, message: str) -> None:
        self._events.event(pod, "Warning", "FailedScheduling", message)
        known = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
        if known is not None and (known.status, known.reason, known.message) == ("False", "Unschedulable", message):
            return
        since = known.last_transition_time if known is not None and known.status == "False" else None
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": since or rfc3339(self._clock.now()),
        }
        change = {"status": {"conditions": [condition]}, "metadata": {"uid": pod.metadata.uid}}
        name, namespace = pod.metadata.name, pod.metadata.namespace
        try:
            await self._client.patch(core.Pod, name, change, namespace, type="strategic", subresource="status")
        except status.ApiError as error:
            if not was_behind(error):
                raise


def _is_ours(pod: core.Pod) -> bool:
    return (
        pod.spec.scheduler_name in ("", NAME)
        and pod.metadata.deletion_timestamp is None
        and not pod.spec.scheduling_gates
    )


def _capability(node: core.Node) -> tuple[object, ...]:
    """What of a node decides about pods; heartbeats do not."""
    ready = [one.status for one in node.status.conditions if one.type == "Ready"]
    return (node.metadata.labels, node.spec.taints, node.spec.unschedulable, node.status.allocatable, ready)
