"""What all controllers that own pods have in common: caches, the queue, adopting, creating and deleting with events.

Called by the shells of ReplicaSet, StatefulSet, DaemonSet and Job. Instead of counting what it expects to see, a
controller decides on a View of the pods, which shows its own creations and deletions from the moment the server has
answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from skerry.api import labels, status
from skerry.api.types import core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers import owners
from skerry.controllers.claims import Claim
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.view import View

T = TypeVar("T")
OWNER, ORPHANS, NAMESPACE = "controller", "orphans", "namespace"
_SAID = {
    "SuccessfulCreate": "Created pod: {pod}",
    "SuccessfulDelete": "Deleted pod: {pod}",
    "FailedCreate": "Error creating: {error}",
    "FailedDelete": "Error deleting: {error}",
}


def by_controller(obj: Any) -> list[str]:
    """For an index: the uid of what controls an object."""
    uid = owners.controller_uid(obj)
    return [uid] if uid else []


class Keeper(Generic[T]):
    """`kind`: what owns the pods. `said`: the messages of its events, where they are not the usual ones."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        informers: Informers,
        kind: type[T],
        component: str,
        said: dict[str, str] | None = None,
    ) -> None:
        self.client, self.clock = client, clock
        self.events = Recorder(client, component, clock=clock)
        self.queue = Queue(clock)
        self.owners: View[T] = View(informers.of(kind), self.queue.add)
        self.pods = View(informers.of(core.Pod), self._pod_caught_up)
        self._kind, self._said = kind.__name__, {**_SAID, **(said or {})}
        self.owners.add_index(NAMESPACE, lambda one: [_namespace(one)])
        self.pods.add_index(OWNER, by_controller)
        self.pods.add_index(ORPHANS, lambda one: [] if owners.controller_of(one) else [one.metadata.namespace])
        self.owners.informer.subscribe(self._owner)
        self.pods.informer.subscribe(self._pod)

    async def run(self, sync: Callable[[str], Awaitable[None]], workers: int) -> None:
        """Until cancelled: `sync(key)` for every owner that something happened to."""
        await self.owners.informer.synced()
        await self.pods.informer.synced()
        await controller.run(self.queue, sync, workers=workers)

    def current(self, key: str) -> T | None:
        """The newest state of an owner; None if there is none, or if its next event has to be waited for."""
        found = self.owners.get(key)
        return None if found is None or self.owners.is_behind(key) else found

    def pods_of(self, owner: Any) -> list[core.Pod]:
        """The owner's own pods and the orphans of its namespace."""
        return self.pods.by_index(OWNER, owner.metadata.uid) + self.pods.by_index(ORPHANS, owner.metadata.namespace)

    async def claim(self, owner: Any, claim: Claim) -> None:
        """Takes over and lets go what was decided."""
        for pod in claim.adopt:
            self.pods.wrote(await self.client.update(owners.adopted(pod, owner)))
        for pod in claim.release:
            try:
                self.pods.wrote(await self.client.update(owners.released(pod, owner)))
            except status.ApiError as error:
                if not was_behind(error):
                    raise

    async def create(self, owner: Any, pods: Sequence[core.Pod], known: list[core.Pod]) -> None:
        """Creates with a slow start; `known` gets what was made. ApiError of the first that was refused, if any."""
        left = list(pods)
        for size in batches(len(left)):
            some, left = left[:size], left[size:]
            await _all(self._create_into(owner, one, known) for one in some)

    async def _create_into(self, owner: Any, pod: core.Pod, known: list[core.Pod]) -> None:
        known.append(await self.create_one(owner, pod))

    async def create_one(self, owner: Any, pod: core.Pod) -> core.Pod:
        """Creates a pod and says so. ApiError if that is refused, which is said too."""
        try:
            made = await self.client.create(pod)
        except status.ApiError as error:
            if not is_namespace_terminating(error):
                self.say(owner, "Warning", "FailedCreate", pod.metadata.name, str(error))
            raise
        self.pods.wrote(made)
        self.say(owner, "Normal", "SuccessfulCreate", made.metadata.name)
        return made

    async def delete(self, owner: Any, pods: Iterable[core.Pod], known: list[core.Pod]) -> None:
        """Deletes all at once; what goes leaves `known`. ApiError of the first that was refused, if any."""
        await _all(self._delete_from(owner, one, known) for one in list(pods))

    async def _delete_from(self, owner: Any, pod: core.Pod, known: list[core.Pod]) -> None:
        await self.delete_one(owner, pod)
        known[:] = [one for one in known if one is not pod]

    async def delete_one(self, owner: Any, pod: core.Pod) -> None:
        """Asks for a pod's deletion and says so. ApiError if that is refused, which is said too."""
        name = pod.metadata.name
        left: core.Pod | None = None
        try:
            left = await self.client.delete(core.Pod, name, pod.metadata.namespace, uid=pod.metadata.uid)
        except status.ApiError as error:
            if not was_behind(error):
                self.say(owner, "Warning", "FailedDelete", name, str(error))
                raise
        else:
            self.say(owner, "Normal", "SuccessfulDelete", name)
        if left is not None:
            self.pods.wrote(left)
        else:
            self.pods.deleted(pod)

    def say(self, owner: Any, kind: str, reason: str, pod: str, error: str = "") -> None:
        """An event in the words of this kind of owner."""
        self.events.event(
            owner, kind, reason, self._said[reason].format(pod=pod, owner=owner.metadata.name, error=error)
        )

    async def write_status(self, key: str, owner: Any, made: Any) -> bool:
        """Writes a status if it changed. False: somebody was faster, and the key comes back when that is known."""
        if made == owner.status:
            return True
        wanted = msgspec.structs.replace(owner, status=made)
        try:
            self.owners.wrote(await self.client.update(wanted, subresource="status"))
        except status.ApiError as error:
            if was_behind(error):
                self.owners.refused(owner)
                self.queue.retry(key)
                return False
            raise
        return True

    def _owner(self, old: Any, new: Any) -> None:
        if new is not None and not (old is not None and self.owners.is_own(new)):
            self.queue.add(key_of(new))

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        for one in (old, new):
            if one is not None:
                self._touch(one)

    def _touch(self, pod: core.Pod) -> None:
        owner = owners.controller_of(pod)
        if owner is not None:
            if owner.kind == self._kind:
                self.queue.add(f"{pod.metadata.namespace}/{owner.name}")
        elif owners.is_active(pod):
            found: list[Any] = self.owners.by_index(NAMESPACE, pod.metadata.namespace)
            for one in found:
                if labels.from_selector(one.spec.selector).matches(pod.metadata.labels):
                    self.queue.add(key_of(one))

    def _pod_caught_up(self, key: str) -> None:
        pod = self.pods.informer.get(key)
        if pod is not None:
            self._touch(pod)


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """All of them to their end, then the first error."""
    for error in await asyncio.gather(*calls, return_exceptions=True):
        if error is not None:
            raise error


def batches(count: int) -> list[int]:
    """Slow start (A4): 1, 2, 4 ... so that a template that is refused is refused once, not 500 times."""
    out: list[int] = []
    size = 1
    while count:
        out.append(min(size, count))
        count -= out[-1]
        size *= 2
    return out


def _namespace(obj: Any) -> str:
    namespace: str = obj.metadata.namespace
    return namespace
