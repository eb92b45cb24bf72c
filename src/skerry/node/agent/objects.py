"""The ConfigMaps and Secrets that this node's pods refer to: read when needed, watched for as long as somebody cares.

Called by podvolumes.py and instances.py. A watch only says that something changed; who hears it reads anew, since a
watch may be behind what was read before. There is one watch an object, shared by all pods that use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from skerry.api import status
from skerry.api.types import core
from skerry.client.informer import Informer
from skerry.node.volumes.payload import Sources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.client.client import Client
    from skerry.clock import Clock


class Ref(NamedTuple):
    """An object by its kind (ConfigMap or Secret) and name."""

    kind: type[Any]
    namespace: str
    name: str


def refs(namespace: str, config_maps: Iterable[str], secrets: Iterable[str]) -> set[Ref]:
    """The objects of a namespace by their names."""
    return {
        *(Ref(core.ConfigMap, namespace, one) for one in config_maps),
        *(Ref(core.Secret, namespace, one) for one in secrets),
    }


class _Watch:
    def __init__(self, informer: Informer[Any]) -> None:
        self.informer = informer
        self.calls: set[Callable[[Any], None]] = set()
        self.task = asyncio.create_task(informer.run(), name=f"watch of {informer.kind.__name__}")
        informer.subscribe(self._changed)

    def _changed(self, _: Any, new: Any) -> None:
        for call in list(self.calls):
            call(new)


class Objects:
    """One of them serves a node."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._watches: dict[Ref, _Watch] = {}
        self._reading: dict[Ref, asyncio.Task[Any]] = {}
        self._next: dict[Ref, asyncio.Task[Any]] = {}

    async def read(self, ref: Ref) -> Any:
        """The newest state of an object, None if there is none. ApiError.

        Whoever asks while an object is being read shares the next reading with all who do (a hundred pods that begin at
        once want the same ConfigMap): the answer is never older than the question.
        """
        found = self._next.get(ref)
        if found is None:
            found = self._next[ref] = asyncio.create_task(self._turn(ref, self._reading.get(ref)))
        return await asyncio.shield(found)

    async def _turn(self, ref: Ref, before: asyncio.Task[Any] | None) -> Any:
        if before is not None:
            await asyncio.wait((before,))
        mine = self._reading[ref] = self._next.pop(ref)
        try:
            return await self._get(ref)
        finally:
            if self._reading[ref] is mine:
                del self._reading[ref]

    async def _get(self, ref: Ref) -> Any:
        try:
            return await self._client.get(ref.kind, ref.name, ref.namespace)
        except status.ApiError as error:
            if status.is_not_found(error):
                return None
            raise

    def follow(self, ref: Ref, call: Callable[[Any], None]) -> None:
        """`call(object)` from now on whenever the object changed (None: it went), and at once if it is known."""
        watch = self._watches.get(ref)
        if watch is None:
            only = f"metadata.name={ref.name}"
            watch = self._watches[ref] = _Watch(
                Informer(self._client, ref.kind, namespace=ref.namespace, field_selector=only, clock=self._clock)
            )
        watch.calls.add(call)
        known = watch.informer.list()
        if known:
            call(known[0])

    def forget(self, ref: Ref, call: Callable[[Any], None]) -> None:
        """Ends what `follow` began."""
        watch = self._watches.get(ref)
        if watch is None:
            return
        watch.calls.discard(call)
        if not watch.calls:
            del self._watches[ref]
            watch.task.cancel()

    async def close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [one.task for one in self._watches.values()]
        tasks += [*self._reading.values(), *self._next.values()]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        """How many objects are watched."""
        return len(self._watches)


class Following:
    """What one pod refers to. `changed` is called when something of it is newer than what the pod read last."""

    def __init__(self, objects: Objects, changed: Callable[[], None]) -> None:
        self._objects, self._changed = objects, changed
        self._read: dict[Ref, int] = {}
        self._calls: dict[Ref, Callable[[Any], None]] = {}

    async def sources(self, found: set[Ref]) -> Sources:
        """Reads objects, for volumes or variables, and follows them from now on unless they never change. ApiError."""
        out = Sources()
        for ref, one in zip(found, await asyncio.gather(*map(self._objects.read, found)), strict=True):
            self._read[ref] = _version(one)
            (out.config_maps if ref.kind is core.ConfigMap else out.secrets)[ref.name] = one
            self._follow(ref, changes=one is None or not one.immutable)
        return out

    def close(self) -> None:
        for ref, call in self._calls.items():
            self._objects.forget(ref, call)
        self._calls.clear()

    def _follow(self, ref: Ref, *, changes: bool) -> None:
        if changes and ref not in self._calls:

            def call(new: Any) -> None:
                if new is None or _version(new) > self._read[ref]:
                    self._changed()

            self._calls[ref] = call
            self._objects.follow(ref, call)
        elif not changes and ref in self._calls:
            self._objects.forget(ref, self._calls.pop(ref))


def _version(one: Any) -> int:
    return int(one.metadata.resource_version) if one is not None else 0
