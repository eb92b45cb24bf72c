"""The smallest patch from one pod status to another, and the task that writes it. Called by worker.py.

Strategic, so that conditions which others write are left alone; the uid in it makes the API refuse a pod that was
deleted and made again under the same name.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.types import core

if TYPE_CHECKING:
    from skerry.client.client import Client
    from skerry.clock import Clock

_log = logging.getLogger(__name__)
_SCALARS = ("phase", "reason", "message", "hostIP", "podIP", "startTime", "observedGeneration")
_LISTS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
_MERGED = ("hostIPs", "podIPs")


def difference(old: core.PodStatus, new: core.PodStatus) -> dict[str, Any]:
    """What must be patched in `status` to make `old` look like `new`; empty if nothing."""
    before, after = codec.plain(old), codec.plain(new)
    out: dict[str, Any] = {}
    for key in (*_SCALARS, *_LISTS):
        if before.get(key) != after.get(key):
            out[key] = after.get(key)
    for key in _MERGED:
        if before.get(key) != after.get(key):
            found = after.get(key)
            out[key] = [*found, {"$patch": "replace"}] if found and before.get(key) else found
    known = {one["type"]: one for one in before.get("conditions", ())}
    changed = []
    for one in after.get("conditions", ()):
        had = known.get(one["type"], {})
        if had != one:
            # A merge keeps what it is not told to drop.
            changed.append(one | dict.fromkeys(set(had) - set(one)))
    if changed:
        out["conditions"] = changed
    return out


class StatusWriter:
    """Writes the newest status of one pod; what was wanted in between is never written."""

    def __init__(self, client: Client, pod: core.Pod, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._base = pod
        self._wanted: core.PodStatus | None = None
        self._task: asyncio.Task[None] | None = None
        self.gone = False
        """The API has no such pod any more."""

    def observe(self, pod: core.Pod) -> None:
        """The object as a watch saw it; older than the last write, it says nothing."""
        if _version(pod) > _version(self._base):
            self._base = pod
            self._go()

    def want(self, wanted: core.PodStatus) -> None:
        self._wanted = wanted
        self._go()

    async def flush(self) -> None:
        """Returns when what is wanted is written, or never can be."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def close(self) -> None:
        self.gone = True
        if self._task is not None:
            self._task.cancel()

    def _go(self) -> None:
        if (self._task is None or self._task.done()) and not self.gone and self._change():
            self._task = asyncio.create_task(self._write(), name=f"status of {self._base.metadata.name}")

    def _change(self) -> dict[str, Any]:
        return difference(self._base.status, self._wanted) if self._wanted is not None else {}

    async def _write(self) -> None:
        meta = self._base.metadata
        pause = 0.05
        while not self.gone and (change := self._change()):
            patch = {"metadata": {"uid": meta.uid}, "status": change}
            try:
                answer = await self._client.patch(
                    core.Pod, meta.name, patch, meta.namespace, type="strategic", subresource="status"
                )
            except status.ApiError as error:
                if status.is_not_found(error) or status.is_conflict(error):
                    self.gone = True
                    return
                _log.warning("the status of pod %s/%s was not written: %s", meta.namespace, meta.name, error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, 5.0)
                continue
            pause = 0.05
            if _version(answer) > _version(self._base):
                self._base = answer
            elif self._change() == change:
                _log.error("the API took the status of pod %s/%s and did not keep it", meta.namespace, meta.name)
                return


def _version(pod: core.Pod) -> int:
    text = pod.metadata.resource_version
    return int(text) if text.isdigit() else 0
