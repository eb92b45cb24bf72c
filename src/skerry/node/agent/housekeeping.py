"""Keeps a node's disk from filling up and tells what is on it: image garbage collection, DiskPressure, the images.

Called by main.py. images/garbage.py decides what goes; here are the clock, the disk and the API.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.types import core, meta
from skerry.node.images import garbage, reference, removal
from skerry.node.images.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.node.agent.services import NodeServices
    from skerry.node.images.store import Store

_log = logging.getLogger(__name__)

LOOK_EVERY = 10.0
COLLECT_EVERY = 300.0
MOST_IMAGES, MOST_NAMES = 50, 5
"""That Node.status.images tells of, as in upstream."""
PRESSURE_BYTES = 1 << 30
"""Of free space; or a tenth of the disk, if that is less. Upstream's tenth alone is 100 GB on common machines."""
PRESSURE_INODES = 0.05


class Housekeeping:
    """Of one node."""

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self._failed = False

    async def run(self) -> None:
        """Until cancelled."""
        services = self._services
        self._say_limits()
        collect_at = services.clock.monotonic() + COLLECT_EVERY
        images = await asyncio.to_thread(listed, services.images.store)
        while True:
            services.health.update(disk_pressure=pressed(os.statvfs(services.data)), images=images)
            came = await self._pause()
            services.cgroups.sample()
            due = services.clock.monotonic() >= collect_at
            if due:
                collect_at += COLLECT_EVERY
                await self._collect()
            if came or due:
                images = await asyncio.to_thread(listed, services.images.store)

    async def _pause(self) -> bool:
        """Returns after some seconds (False), or when an image came (True)."""
        changed, late = self._services.images.changed, False

        def wake() -> None:
            nonlocal late
            late = not changed.is_set()
            changed.set()

        timer = self._services.clock.call_later(LOOK_EVERY, wake)
        await changed.wait()
        timer.cancel()
        changed.clear()
        return not late

    def _say_limits(self) -> None:
        lacking, _, message = self._services.cgroups.verdict()
        if lacking:
            self._say("Warning", "LimitsNotEnforced", message)

    def _say(self, kind: str, reason: str, message: str) -> None:
        name = self._services.name
        node = core.Node(metadata=meta.ObjectMeta(name=name, uid=name))
        self._services.recorder.event(node, kind, reason, message)

    async def _collect(self) -> None:
        try:
            await self.collect()
        except (OSError, status.ApiError) as error:
            _log.warning("images were not looked through: %s", error)

    async def collect(self, disk: garbage.Disk | None = None) -> list[garbage.Kept]:
        """Removes images that nobody needs, if there is reason to; which ones. `disk`: for tests. OSError, ApiError."""
        services = self._services
        store, now = services.images.store, services.clock.now()
        for one in await self._pods(f"spec.nodeName={services.name}"):
            for name in names_used(one):
                store.used(name)
        disk = disk or removal.disk(store)
        images = await asyncio.to_thread(removal.kept, store)
        decision = garbage.decide(images, (), disk, now)
        if decision.remove or decision.found < decision.wanted:
            in_use = {name for pod in await self._pods("") for name in names_used(pod)}
            decision = garbage.decide(images, in_use, disk, now)
            await asyncio.to_thread(removal.remove, store, decision.remove, now)
        else:
            await asyncio.to_thread(removal.sweep, store, now)
        failed = decision.found < decision.wanted
        if failed and not self._failed:
            text = (
                "Failed to garbage collect required amount of images. Attempted to free "
                f"{decision.wanted} bytes, but only found {decision.found} bytes eligible to free."
            )
            self._say("Warning", "FreeDiskSpaceFailed", text)
        self._failed = failed
        return decision.remove

    async def _pods(self, field_selector: str) -> list[core.Pod]:
        found = await self._services.client.list(core.Pod, field_selector=field_selector)
        return [one for one in found.items if one.status.phase not in ("Succeeded", "Failed")]


def names_used(pod: core.Pod) -> set[str]:
    """The images of a pod, by the store's names: as its spec calls them, and what its containers were started from."""
    found = {one.image for one in (*pod.spec.containers, *pod.spec.init_containers)}
    found |= {one.image for one in pod.spec.ephemeral_containers}
    statuses = (
        *pod.status.container_statuses,
        *pod.status.init_container_statuses,
        *pod.status.ephemeral_container_statuses,
    )
    found |= {one.image_id for one in statuses if "@" in one.image_id}
    return set(_keys(found))


def _keys(names: Iterable[str]) -> Iterable[str]:
    for one in names:
        try:
            yield reference.parse(one).key
        except ImageError:
            continue


def listed(store: Store) -> list[core.ContainerImage]:
    """What Node.status.images says of a store: the largest images, by digest first."""
    sizes: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    for record, _, _ in store.names():
        sizes[record.config] = record.size
        names.setdefault(record.config, []).append(record.key)
    order = sorted(sizes, key=lambda one: (-sizes[one], one))[:MOST_IMAGES]
    return [
        core.ContainerImage(
            names=sorted(names[one], key=lambda name: ("@" not in name, name))[:MOST_NAMES], size_bytes=sizes[one]
        )
        for one in order
    ]


def pressed(disk: os.statvfs_result) -> bool:
    """Whether a disk is nearly full."""
    least = min(PRESSURE_BYTES, disk.f_blocks * disk.f_frsize // 10)
    few_inodes = disk.f_files > 0 and disk.f_favail < disk.f_files * PRESSURE_INODES
    return disk.f_bavail * disk.f_frsize < least or few_inodes
