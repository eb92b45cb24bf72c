"""A cluster that treats its controllers badly: events come late, out of order, twice or never, and writes fail.

The store is a log for each kind. What a controller's caches have not been shown yet waits in `pending`; the test
decides what arrives when. Writes go by the rules of the API (versions, names, owners) and fail or linger when the test
wants it.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from skerry.api import codec, status
from skerry.api.types import core, discovery
from skerry.client.client import Client
from skerry.client.informer import Informer, Informers
from skerry.clock import FakeClock, rfc3339
from skerry.controllers.endpoints.controller import EndpointsController

KINDS: tuple[type[Any], ...] = (core.Service, core.Pod, core.Node, core.Endpoints, discovery.EndpointSlice)
_Entry = tuple[str, Any]  # key; the new state, None if it is gone


def key_of(one: Any) -> str:
    return "/".join(filter(None, (one.metadata.namespace, one.metadata.name)))


class Store:
    """The truth, and how it came about."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.revision = clock, 0
        self.objects: dict[type[Any], dict[str, Any]] = {kind: {} for kind in KINDS}
        self.log: dict[type[Any], list[tuple[str, Any, Any]]] = {kind: [] for kind in KINDS}  # key, old, new

    def get(self, kind: type[Any], key: str) -> Any:
        return self.objects[kind].get(key)

    def put(self, one: Any) -> Any:
        """Creates or replaces, as the API server would; ApiError for a conflict."""
        one, kind = codec.copy(one), type(one)
        if not one.metadata.name:
            one.metadata.name = f"{one.metadata.generate_name}{self.revision}"
        old = self.get(kind, key_of(one))
        if old is None:
            if one.metadata.resource_version:
                raise status.not_found("", kind.__name__, one.metadata.name)
            one.metadata.uid, one.metadata.creation_timestamp = f"uid-{self.revision}", rfc3339(self.clock.now())
        else:
            if one.metadata.resource_version not in ("", old.metadata.resource_version):
                raise status.conflict("", kind.__name__, one.metadata.name)
            one.metadata.uid, one.metadata.creation_timestamp = old.metadata.uid, old.metadata.creation_timestamp
            one.metadata.resource_version = old.metadata.resource_version
            if codec.encode(old) == codec.encode(one):
                return old
        self.revision += 1
        one.metadata.resource_version = str(self.revision)
        self._record(kind, key_of(one), old, one)
        return one

    def delete(self, one: Any) -> None:
        self.revision += 1
        last = codec.copy(one)
        last.metadata.resource_version = str(self.revision)
        self._record(type(one), key_of(one), last, None)
        if isinstance(one, core.Service) and (same := self.get(core.Endpoints, key_of(one))) is not None:
            self.delete(same)  # E49
        for each in list(self.objects[discovery.EndpointSlice].values()):  # the garbage collector
            if any(owner.uid == one.metadata.uid for owner in each.metadata.owner_references):
                self.delete(each)

    def _record(self, kind: type[Any], key: str, old: Any, new: Any) -> None:
        if new is None:
            del self.objects[kind][key]
        else:
            self.objects[kind][key] = new
        self.log[kind].append((key, old, new))


class LossyClient(Client):
    """Writes to the Store. What `faults` holds happens to the next ones: slow, refused, lost (undone), unheard (done).

    `before_answer` is called after each.
    """

    def __init__(self, store: Store, before_answer: Any) -> None:
        super().__init__(cast("Any", None))
        self.store, self.faults = store, list[str]()
        self._written = before_answer
        self.writes: list[str] = []  # `create Endpoints web`
        self.events: list[tuple[str, str, str]] = []  # type, reason, message

    async def create(self, obj: Any) -> Any:
        if isinstance(obj, core.Event):
            self.events.append((obj.type, obj.reason, obj.message))
            return obj
        if obj.metadata.name and self.store.get(type(obj), key_of(obj)) is not None:
            raise status.already_exists("", type(obj).__name__, obj.metadata.name)
        return await self._do(f"create {obj.kind} {obj.metadata.name}", lambda: self.store.put(obj))

    async def update(self, obj: Any, *, subresource: str = "") -> Any:
        if self.store.get(type(obj), key_of(obj)) is None:
            raise status.not_found("", type(obj).__name__, obj.metadata.name)
        return await self._do(f"update {obj.kind} {obj.metadata.name}", lambda: self.store.put(obj))

    async def delete(self, kind: Any, name: str, namespace: str = "", **more: Any) -> None:
        def do() -> None:
            found = self.store.get(kind, f"{namespace}/{name}")
            if found is None:
                raise status.not_found("", kind.__name__, name)
            if more.get("uid") not in (None, "", found.metadata.uid):
                raise status.conflict("", kind.__name__, name)
            self.store.delete(found)

        await self._do(f"delete {kind.__name__} {name}", do)

    async def patch(self, kind: Any, *_: Any, **__: Any) -> Any:
        assert kind is core.Event
        return core.Event()

    async def _do(self, what: str, write: Any) -> Any:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "slow":
            await asyncio.sleep(0)
            await self.store.clock.sleep(0.02)
        if fault == "lost":
            raise status.ApiError(500, "the request was lost")
        if fault == "refused":
            raise status.conflict("", "things", "x")
        if fault == "terminating":
            cause = {"reason": "NamespaceTerminating", "message": "", "field": ""}
            raise status.forbidden("", "things", "x", "it is being terminated", [cause])
        made = write()
        self.writes.append(what.strip())
        self._written()
        if fault == "unheard":
            raise status.ApiError(504, "the answer was lost")
        if fault == "slow":
            await self.store.clock.sleep(0.02)
        return made


class Caches(Informers):
    """Informers that are shown what the test lets through."""

    def __init__(self, client: LossyClient, clock: FakeClock, store: Store, behind: int) -> None:
        """They begin with the state that was true `behind` changes ago, of each kind."""
        super().__init__(client, clock)
        self.store = store
        self.pending: dict[type[Any], list[_Entry]] = {}
        self.deaf: set[type[Any]] = set()
        for kind in KINDS:
            log = store.log[kind]
            self.pending[kind] = [(key, new) for key, _, new in log[max(0, len(log) - behind) :]]
            old = dict(store.objects[kind])
            for key, before, _ in reversed(log[max(0, len(log) - behind) :]):
                if before is None:
                    old.pop(key, None)
                else:
                    old[key] = before
            for key, one in old.items():
                self._show(kind, key, one)

    def filled(self, *, but: type[Any] | None = None) -> None:
        """The first lists are there."""
        for kind in KINDS:
            if kind is not but:
                self.of(kind)._synced.set()

    def _show(self, kind: type[Any], key: str, one: Any) -> None:
        informer: Informer[Any] = self.of(kind)
        informer._put(key, codec.copy(one) if one is not None else None)

    def deliver(self, kind: type[Any], at: int = 0, *, twice: bool = False) -> None:
        """One event of those that wait; the first of its key, wherever that stands."""
        pending = self.pending[kind]
        key = pending[at % len(pending)][0]
        first = next(index for index, entry in enumerate(pending) if entry[0] == key)
        key, one = pending.pop(first)
        for _ in range(2 if twice else 1):
            self._show(kind, key, one)

    def lose(self, kind: type[Any]) -> None:
        """The watch breaks: what waited never comes, until `relist`."""
        self.pending[kind].clear()
        self.deaf.add(kind)

    def relist(self, kind: type[Any]) -> None:
        self.deaf.discard(kind)
        self.pending[kind].clear()
        now = self.store.objects[kind]
        for key in [key for key in self.of(kind).items if key not in now]:
            self._show(kind, key, None)
        for key, one in now.items():
            known = self.of(kind).get(key)
            if known is None or known.metadata.resource_version != one.metadata.resource_version:
                self._show(kind, key, one)
        self.of(kind).resource_version = str(self.store.revision)
        for call in self.of(kind)._list_subscribers:
            call()


class Cluster:
    """The store, the caches and the controller that reads them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.store = Store(self.clock)
        self.client = LossyClient(self.store, self._written)
        self.checks: list[Any] = []
        self._seen = dict.fromkeys(KINDS, 0)
        self.task: asyncio.Task[None] | None = None
        self.restart(0)

    def _written(self) -> None:
        self.spread()
        for check in self.checks:
            check()

    def spread(self) -> None:
        """What was logged since the last time waits to be delivered."""
        for kind in KINDS:
            log = self.store.log[kind]
            if kind not in self.caches.deaf:
                self.caches.pending[kind] += [(key, new) for key, _, new in log[self._seen[kind] :]]
            self._seen[kind] = len(log)

    def restart(self, behind: int, *, unfilled: type[Any] | None = None) -> None:
        """A new controller, with caches that may be old; `unfilled` is a kind whose first list does not come."""
        self.stop()
        self._seen = {kind: len(self.store.log[kind]) for kind in KINDS}
        self.caches = Caches(self.client, self.clock, self.store, behind)
        controller = EndpointsController(self.client, self.clock, self.caches, max_endpoints=2)

        self.caches.filled(but=unfilled)
        self.task = self.loop.create_task(controller.run())
        self.work()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))

    def close(self) -> None:
        self.stop()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def work(self, seconds: float = 0.0) -> None:
        """Lets the controller do what it can, and time pass."""
        self.loop.run_until_complete(self.clock.advance(seconds))
        self.spread()

    def calm(self) -> None:
        """Everything is delivered, nothing fails, and there is time for everything."""
        self.client.faults.clear()
        for _ in range(60):
            before = self.store.revision
            for kind in KINDS:
                if kind in self.caches.deaf:
                    self.caches.relist(kind)
                while self.caches.pending[kind]:
                    self.caches.deliver(kind)
            self.work(2000.0)
            if self.store.revision == before and not any(self.caches.pending.values()):
                return
        raise AssertionError("it never came to rest")
