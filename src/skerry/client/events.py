"""Writes Events: what happened to an object, for people. Called by controllers and node agents.

An event that repeats is counted in the object that exists. Writing goes on in the background and is given up quietly:
events are best effort, as upstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any

from skerry.api import status
from skerry.api.types import core, meta
from skerry.clock import Clock, SystemClock, rfc3339

if TYPE_CHECKING:
    from skerry.client.client import Client

_KEPT = 4096


class Recorder:
    """`component` and `host` name the source, as `kubectl describe` prints it."""

    def __init__(self, client: Client, component: str, host: str = "", *, clock: Clock | None = None) -> None:
        self._client, self._component, self._host = client, component, host
        self._clock = clock or SystemClock()
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}
        self._queue: asyncio.Queue[tuple[tuple[str, ...], core.Event]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._numbers = itertools.count(int(self._clock.now() * 1e9))

    def event(self, obj: Any, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        """Says that `reason` happened to `obj`; `kind` is Normal or Warning. Returns at once."""
        about = core.ObjectReference(
            kind=obj.kind,
            api_version=obj.api_version,
            namespace=obj.metadata.namespace,
            name=obj.metadata.name,
            uid=obj.metadata.uid,
            resource_version=obj.metadata.resource_version,
            field_path=field_path,
        )
        now = rfc3339(self._clock.now())
        made = core.Event(
            metadata=meta.ObjectMeta(
                name=f"{about.name}.{next(self._numbers):x}", namespace=about.namespace or "default"
            ),
            involved_object=about,
            type=kind,
            reason=reason,
            message=message[:1024],
            source=core.EventSource(component=self._component, host=self._host),
            reporting_component=self._component,
            reporting_instance=self._host,
            first_timestamp=now,
            last_timestamp=now,
            count=1,
        )
        key = (about.kind, about.namespace, about.name, about.uid, field_path, kind, reason, message)
        self._queue.put_nowait((key, made))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def flush(self) -> None:
        """Returns when everything said so far is written."""
        if self._task is not None:
            await self._task

    async def _write(self) -> None:
        while not self._queue.empty():
            key, made = self._queue.get_nowait()
            with contextlib.suppress(status.ApiError, OSError):
                await self._one(key, made)

    async def _one(self, key: tuple[str, ...], made: core.Event) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            name, count = known
            change = {"count": count + 1, "lastTimestamp": made.last_timestamp}
            try:
                await self._client.patch(core.Event, name, change, made.metadata.namespace)
            except status.ApiError as error:
                if not status.is_not_found(error):
                    raise
            else:
                self._remember(key, name, count + 1)
                return
        await self._client.create(made)
        self._remember(key, made.metadata.name, 1)

    def _remember(self, key: tuple[str, ...], name: str, count: int) -> None:
        self._known[key] = (name, count)
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
