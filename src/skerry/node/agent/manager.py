"""The pods of one node: a worker for each, fed by the cache of the pods bound to it.

Called by main.py and node/streams.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING

from skerry.api.types import core
from skerry.node.agent.files import uid_of
from skerry.node.agent.registration import node_object
from skerry.node.agent.worker import PodWorker
from skerry.node.pods.room import no_room
from skerry.node.volumes import setup

if TYPE_CHECKING:
    from pathlib import Path

    from skerry.node.agent.services import NodeServices
    from skerry.node.pods.state import Problem

_log = logging.getLogger(__name__)

RESTART_AFTER = 1.0
"""Seconds before a worker that failed is replaced."""


class PodManager:
    """`workers` by uid: also of pods that have ended, until their objects are gone."""

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self.workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        self._nodes = services.informers.of(core.Node, field_selector=f"metadata.name={services.name}")

    async def start(self) -> None:
        """Returns when the pods that are there have their workers, and what earlier ones left is cleaned up."""
        informer = self._services.informers.of(core.Pod, field_selector=f"spec.nodeName={self._services.name}")
        services = self._services.informers.of(core.Service)
        for one in (informer, services, self._nodes):
            await one.synced()
        await self._services.drains.start()
        pods = informer.list()
        self._services.runtime.avoid(each.ip for one in pods for each in one.status.pod_i_ps)
        await asyncio.to_thread(self._clean_up, {one.metadata.uid for one in pods})
        # Those that the node took in an earlier life have their room before others are asked after.
        for pod in sorted(informer.list(), key=lambda one: (not was_taken(one), one.metadata.creation_timestamp or "")):
            self._changed(None, pod)
        informer.subscribe(self._changed)

    async def close(self) -> None:
        """Stops the workers. Containers are the runtime's to end."""
        self._closed = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._services.drains.close()
        await self._services.objects.close()

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by its name; of two with one name, the newer one's."""
        found = [
            one
            for one in self.workers.values()
            if one.pod.metadata.name == name and one.pod.metadata.namespace == namespace
        ]
        return found[-1] if found else None

    async def ended(self, uid: str) -> None:
        """Returns when nothing of a pod is left on this node."""
        task = self._tasks.get(uid)
        if task is not None:
            await asyncio.wait((task,))

    def statistics(self) -> dict[str, int]:
        running = sum(len(one.instances.live) for one in self.workers.values())
        return {"pods": len(self.workers), "containers": running}

    def _clean_up(self, wanted: set[str]) -> None:
        """What is on disk is of an earlier life: processes and mounts died with it."""
        directory = self._services.pods_directory
        directory.mkdir(parents=True, exist_ok=True)
        for one in directory.iterdir():
            if uid_of(one) not in wanted:
                setup.remove(one / "_volumes")
                setup.remove(one / "_shared")
                _remove(one)
            else:
                _remove(one / "_rootfs")
        for one in self._services.memory_directory.iterdir():
            if uid_of(one) not in wanted:
                _remove(one)

    def _changed(self, old: core.Pod | None, new: core.Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._vanished(old.metadata.uid)
        if new is None or self._closed:
            return
        worker = self.workers.get(new.metadata.uid)
        if worker is not None:
            worker.update(new)
            return
        worker = self.workers[new.metadata.uid] = PodWorker(self._services, new, self._refusal(new))
        task = asyncio.create_task(self._run(worker), name=f"pod {new.metadata.namespace}/{new.metadata.name}")
        self._tasks[new.metadata.uid] = task

    def _refusal(self, pod: core.Pod) -> Problem | None:
        """Why the node does not take a pod that has just come; None if it does, or did already."""
        if was_taken(pod) or pod.metadata.deletion_timestamp:
            return None
        services = self._services
        node = self._nodes.get(services.name) or node_object(services, services.clock.now(), ready=True)
        return no_room(pod, node, [one.claim for one in self.workers.values() if one.machine.takes_room])

    def _vanished(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is None:
            return
        worker.vanish()
        if uid not in self._tasks:
            del self.workers[uid]

    async def _run(self, worker: PodWorker) -> None:
        uid = worker.machine.uid
        while not await self._lived(worker):
            # Nothing but a mistake in this program leads here. What the pod's status tells is enough to begin again.
            await self._services.runtime.remove_pod(uid)
            self._services.cgroups.forget(uid)
            if worker.machine.vanished:
                break
            await self._services.clock.sleep(RESTART_AFTER)
            worker = self.workers[uid] = PodWorker(self._services, worker.pod, worker.refusal)
        await asyncio.to_thread(worker.files.remove)
        del self._tasks[uid]
        # One whose object is still there (a finalizer holds it) is remembered, or it would be started again.
        if worker.machine.vanished:
            del self.workers[uid]

    async def _lived(self, worker: PodWorker) -> bool:
        """Runs a worker; whether it came to its end."""
        try:
            await worker.run()
        except Exception:  # noqa: BLE001 - one pod must not end the others
            _log.exception("the worker of pod %s/%s", worker.pod.metadata.namespace, worker.pod.metadata.name)
            return False
        return True


def was_taken(pod: core.Pod) -> bool:
    """Whether a node has admitted the pod already: the first status that it writes has a start time."""
    return pod.status.start_time is not None or pod.status.phase in ("Succeeded", "Failed")


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
