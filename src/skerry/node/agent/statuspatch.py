"""The smallest patch from one pod status to another, and the task that writes it. Called by worker.py.

Strategic, so that conditions which others write are left alone; the uid in it makes the API refuse a pod that was
deleted and made again under the same name. What nobody waits for (a pod's address while its containers are on their
way) is written a moment later, as a rule together with what comes next: a pod that starts costs a write less.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.types import core

if TYPE_CHECKING:
    from skerry.client.client import Client
    from skerry.clock import Clock, Timer

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


PAUSE = 0.25
"""Seconds that a change may wait that is not urgent."""


def urgent(change: dict[str, Any]) -> bool:
    """Whether somebody may be waiting for what `difference` found: all but that the pod has its network now."""
    conditions = {one["type"] for one in change.get("conditions", ())}
    return not (set(change) <= {*_MERGED, "podIP", "conditions"} and conditions <= {"PodReadyToStartContainers"})


class StatusWriter:
    """Writes the newest status of one pod; what was wanted in between is never written."""

    def __init__(self, client: Client, pod: core.Pod, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._base = pod
        self._wanted: core.PodStatus | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._due = False
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
        self._now()
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
            self._now()

    def close(self) -> None:
        self.gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _go(self) -> None:
        if (self._task is None or self._task.done()) and not self.gone and (change := self._ripe()):
            self._task = asyncio.create_task(self._write(change), name=f"status of {self._base.metadata.name}")

    def _now(self) -> None:
        """What waits need not wait any longer."""
        self._due = True
        self._go()

    def _ripe(self) -> dict[str, Any]:
        """The change that is to be written now; if it can wait, the timer sees to it."""
        change = self._change()
        if change and not self._due and not urgent(change):
            if self._timer is None:
                self._timer = self._clock.call_later(PAUSE, self._now)
            return {}
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due = None, False
        return change

    def _change(self) -> dict[str, Any]:
        return difference(self._base.status, self._wanted) if self._wanted is not None else {}

    async def _write(self, change: dict[str, Any]) -> None:
        meta = self._base.metadata
        pause = 0.05
        while not self.gone and change:
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
                change = self._change()
                continue
            pause = 0.05
            if _version(answer) > _version(self._base):
                self._base = answer
            elif self._change() == change:
                _log.error("the API took the status of pod %s/%s and did not keep it", meta.namespace, meta.name)
                return
            change = self._ripe()


def _version(pod: core.Pod) -> int:
    text = pod.metadata.resource_version
    return int(text) if text.isdigit() else 0
