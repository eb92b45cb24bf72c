"""Looks from time to time how much disk pods use that may use only so much, and ends those that use more.

Called by main.py. node/pods/storage.py says what the limits are, and what is said of pods that exceed them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from skerry.node.pods import storage
from skerry.node.volumes.usage import used

if TYPE_CHECKING:
    from skerry.clock import Clock
    from skerry.node.agent.manager import PodManager
    from skerry.node.agent.worker import PodWorker
    from skerry.node.pods.storage import Limits

LOOK_EVERY = 10.0


class StorageKeeper:
    """Of one node's pods."""

    def __init__(self, manager: PodManager, clock: Clock) -> None:
        self._manager, self._clock = manager, clock

    async def run(self) -> None:
        """Until cancelled. Pods without limits are not looked at."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            for worker in list(self._manager.workers.values()):
                allowed = storage.limits(worker.pod)
                if allowed and not worker.machine.over:
                    await self._look(worker, allowed)

    async def _look(self, worker: PodWorker, allowed: Limits) -> None:
        message = await asyncio.to_thread(_excess, worker, allowed)
        if message:
            worker.evict(message)


def _excess(worker: PodWorker, allowed: Limits) -> str:
    """Measures what there are limits for, no more."""
    files = worker.files
    disks = [one.name for one in worker.pod.spec.volumes if one.empty_dir is not None and not one.empty_dir.medium]
    wanted = disks if allowed.pod else allowed.volumes
    volumes = {name: used(str(files.volumes / name)) for name in wanted}
    containers: dict[str, int] = {}
    if allowed.pod:
        for one in list(worker.machine.containers.values()):
            layer = used(str(files.scratch(one.id) / "upper")) if one.id else 0
            containers[one.name] = layer + used(str(files.logs(one.name)))
    return storage.excess(allowed, volumes, containers)
