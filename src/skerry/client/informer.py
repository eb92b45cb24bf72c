"""A cache of one kind, kept by list and watch, with subscribers and indexes. Called by whatever reacts to change.

Informers of a process are shared: whoever asks `Informers` for the same kind and selectors gets the same cache.
Subscribers are called in the order of the events, on the event loop's thread, after the cache was changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from skerry.api import status
from skerry.clock import Clock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from skerry.client.client import Client

T = TypeVar("T")
_log = logging.getLogger(__name__)


def key_of(obj: Any) -> str:
    """`namespace/name`, or the name of what has no namespace."""
    namespace, name = obj.metadata.namespace, obj.metadata.name
    return f"{namespace}/{name}" if namespace else name


def _version(obj: Any) -> str:
    version: str = obj.metadata.resource_version
    return version


class Informer(Generic[T]):
    """`items` by key; empty until `synced`."""

    def __init__(
        self,
        client: Client,
        kind: type[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.kind = kind
        self.items: dict[str, T] = {}
        self.resource_version = ""
        self._client, self._clock = client, clock or SystemClock()
        self._namespace, self._labels, self._fields = namespace, label_selector, field_selector
        self._subscribers: list[Callable[[T | None, T | None], None]] = []
        self._list_subscribers: list[Callable[[], None]] = []
        self._indexes: dict[str, tuple[Callable[[T], Iterable[str]], defaultdict[str, dict[str, T]]]] = {}
        self._synced = asyncio.Event()

    def get(self, key: str) -> T | None:
        return self.items.get(key)

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Returns when the first list is in the cache."""
        await self._synced.wait()

    def subscribe(self, call: Callable[[T | None, T | None], None]) -> None:
        """`call(old, new)` for every change from now on, and (None, item) at once for what is there already."""
        self._subscribers.append(call)
        for item in self.list():
            call(None, item)

    def on_list(self, call: Callable[[], None]) -> None:
        """`call()` after every list. What came and went since the last event leaves no other trace than this."""
        self._list_subscribers.append(call)

    def add_index(self, name: str, values: Callable[[T], Iterable[str]]) -> None:
        """Keeps the items by what `values` says of them; asked with `by_index`."""
        if name not in self._indexes:
            self._indexes[name] = (values, defaultdict(dict))
            for key, item in self.items.items():
                self._index(key, None, item)

    def by_index(self, name: str, value: str) -> list[T]:
        return list(self._indexes[name][1].get(value, {}).values())

    def list(self) -> list[T]:
        return list(self.items.values())

    async def run(self) -> None:
        """Lists and watches until cancelled."""
        delay = 0.05
        while True:
            try:
                if not self.resource_version:
                    await self._list()
                    self._synced.set()
                await self._watch()
                delay = 0.05
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  (a cache goes on whatever a server sends)
                if status.is_expired(error):
                    self.resource_version = ""
                    continue
                if not isinstance(error, status.ApiError | OSError | EOFError):
                    _log.exception("the cache of %s met an error", self.kind.__name__)
                else:
                    _log.info("the cache of %s: %s", self.kind.__name__, error)
                await self._clock.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def _list(self) -> None:
        found = await self._client.list(
            self.kind, self._namespace, label_selector=self._labels, field_selector=self._fields
        )
        fresh = {key_of(item): item for item in found.items}
        for key in [key for key in self.items if key not in fresh]:
            self._put(key, None)
        for key, item in fresh.items():
            known = self.items.get(key)
            if known is None or _version(known) != _version(item):
                self._put(key, item)
        self.resource_version = found.resource_version
        for call in self._list_subscribers:
            call()

    async def _watch(self) -> None:
        async with contextlib.aclosing(
            self._client.watch(
                self.kind,
                self._namespace,
                resource_version=self.resource_version,
                label_selector=self._labels,
                field_selector=self._fields,
            )
        ) as events:
            async for event in events:
                item = cast("Any", event.object)
                if event.type != "BOOKMARK":
                    self._put(key_of(item), None if event.type == "DELETED" else event.object, last=event.object)
                self.resource_version = item.metadata.resource_version

    def _put(self, key: str, item: T | None, last: T | None = None) -> None:
        """Changes the cache and tells the subscribers; `last` is the final state of a deleted item."""
        old = self.items.get(key)
        if item is None:
            if old is None:
                return
            del self.items[key]
        else:
            self.items[key] = item
        self._index(key, old, item)
        told = last if item is None and last is not None else old
        for call in self._subscribers:
            try:
                call(told, item)
            except Exception:  # noqa: BLE001  (one subscriber must not starve the others)
                _log.exception("a subscriber of %s failed on %s", self.kind.__name__, key)

    def _index(self, key: str, old: T | None, new: T | None) -> None:
        for values, index in self._indexes.values():
            before = set(values(old)) if old is not None else set()
            after = set(values(new)) if new is not None else set()
            for value in before - after:
                index[value].pop(key, None)
                if not index[value]:
                    del index[value]
            for value in after:
                assert new is not None
                index[value][key] = new


class Informers:
    """The informers of a process, one per kind and selectors."""

    def __init__(self, client: Client, clock: Clock | None = None) -> None:
        self.client, self._clock = client, clock or SystemClock()
        self._informers: dict[tuple[Any, ...], Informer[Any]] = {}
        self._tasks: dict[Informer[Any], asyncio.Task[None]] = {}
        self._started = False

    def of(
        self, kind: type[T], *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Informer[T]:
        """The shared informer; started now if the others were."""
        key = (kind, namespace, label_selector, field_selector)
        found = self._informers.get(key)
        if found is None:
            found = self._informers[key] = Informer(
                self.client,
                kind,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                clock=self._clock,
            )
            if self._started:
                self._run(found)
        return cast("Informer[T]", found)

    async def start(self) -> None:
        """Starts all; returns at once (await `synced` of those that matter)."""
        if not self._started:
            self._started = True
            for one in self._informers.values():
                self._run(one)

    def forget(self, kind: type[Any]) -> None:
        """Ends the informers of a kind that is no more."""
        for key in [key for key in self._informers if key[0] is kind]:
            task = self._tasks.pop(self._informers.pop(key), None)
            if task is not None:
                task.cancel()

    def _run(self, informer: Informer[Any]) -> None:
        self._tasks[informer] = asyncio.create_task(informer.run(), name=f"informer {informer.kind.__name__}")

    async def synced(self) -> None:
        """Returns when every informer asked for so far has its first list."""
        await asyncio.gather(*(one.synced() for one in self._informers.values()))

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._started = False
