"""The shell of the ReplicaSet controller: caches in, pods out. Started by controllers.manager.

Instead of counting what it expects to see, it decides on a View of the pods, which shows its own creations and
deletions from the moment the server has answered.
"""

from __future__ import annotations

import asyncio

import msgspec

from skerry.api import labels, status
from skerry.api.types import apps, core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers import owners
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.replicaset import decide
from skerry.controllers.view import View

WORKERS = 5
_ORPHANS = "orphans"
_OWNER = "controller"


class ReplicaSetController:
    """Keeps the pods of all ReplicaSets. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, "replicaset-controller", clock=clock)
        self._queue = Queue(clock)
        self._sets = View(informers.of(apps.ReplicaSet), self._queue.add)
        self._pods = View(informers.of(core.Pod), self._pod_caught_up)
        self._sets.add_index("namespace", lambda one: [one.metadata.namespace])
        self._sets.add_index(_OWNER, _by_controller)
        self._pods.add_index(_OWNER, _by_controller)
        self._pods.add_index(_ORPHANS, lambda one: [] if owners.controller_of(one) else [one.metadata.namespace])
        self._sets.informer.subscribe(self._set)
        self._pods.informer.subscribe(self._pod)

    async def run(self) -> None:
        await self._sets.informer.synced()
        await self._pods.informer.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _set(self, old: apps.ReplicaSet | None, new: apps.ReplicaSet | None) -> None:
        if new is not None and not (old is not None and self._sets.is_own(new)):
            self._queue.add(key_of(new))

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        for one in (old, new):
            if one is not None:
                self._touch(one)

    def _touch(self, pod: core.Pod) -> None:
        owner = owners.controller_of(pod)
        if owner is not None:
            if owner.kind == "ReplicaSet":
                self._queue.add(f"{pod.metadata.namespace}/{owner.name}")
        elif owners.is_active(pod):
            for one in self._sets.by_index("namespace", pod.metadata.namespace):
                if labels.from_selector(one.spec.selector).matches(pod.metadata.labels):
                    self._queue.add(key_of(one))

    def _pod_caught_up(self, key: str) -> None:
        pod = self._pods.informer.get(key)
        if pod is not None:
            self._touch(pod)

    async def _sync(self, key: str) -> None:
        replicaset = self._sets.get(key)
        if replicaset is None or self._sets.is_behind(key):
            return
        now = self._clock.now()
        uid = replicaset.metadata.uid
        pods = self._pods.by_index(_OWNER, uid) + self._pods.by_index(_ORPHANS, replicaset.metadata.namespace)
        decision = decide.decide(replicaset, pods, lambda: self._related(replicaset), now)
        failure: tuple[str, str] | None = None
        problem: Exception | None = None
        try:
            await self._claim(replicaset, decision)
            if decision.create:
                await self._create(replicaset, decision)
            elif decision.delete:
                await self._delete(replicaset, decision)
        except status.ApiError as error:
            if not was_behind(error):
                failure = ("FailedCreate" if decision.create else "FailedDelete", str(error))
            problem = None if is_namespace_terminating(error) else error
        wait = await self._report(key, replicaset, decision, failure)
        if wait is not None:
            self._queue.add_after(key, wait)
        if problem is not None:
            raise problem

    def _related(self, replicaset: apps.ReplicaSet) -> list[core.Pod]:
        owner = owners.controller_uid(replicaset)
        sets = self._sets.by_index(_OWNER, owner) if owner else [replicaset]
        return [pod for one in sets for pod in self._pods.by_index(_OWNER, one.metadata.uid)]

    async def _claim(self, replicaset: apps.ReplicaSet, decision: decide.Decision) -> None:
        for pod in decision.adopt:
            self._pods.wrote(await self._client.update(owners.adopted(pod, replicaset)))
        for pod in decision.release:
            try:
                self._pods.wrote(await self._client.update(owners.released(pod, replicaset)))
            except status.ApiError as error:
                if not was_behind(error):
                    raise

    async def _create(self, replicaset: apps.ReplicaSet, decision: decide.Decision) -> None:
        for size in decide.batches(decision.create):
            results = await asyncio.gather(
                *(self._create_one(replicaset, decision) for _ in range(size)), return_exceptions=True
            )
            for error in results:
                if error is not None:
                    raise error

    async def _create_one(self, replicaset: apps.ReplicaSet, decision: decide.Decision) -> None:
        try:
            made = await self._client.create(decide.new_pod(replicaset))
        except status.ApiError as error:
            if not is_namespace_terminating(error):
                self._events.event(replicaset, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        self._pods.wrote(made)
        decision.pods.append(made)
        self._events.event(replicaset, "Normal", "SuccessfulCreate", f"Created pod: {made.metadata.name}")

    async def _delete(self, replicaset: apps.ReplicaSet, decision: decide.Decision) -> None:
        results = await asyncio.gather(
            *(self._delete_one(replicaset, pod) for pod in decision.delete), return_exceptions=True
        )
        gone = {id(pod) for pod, error in zip(decision.delete, results, strict=True) if error is None}
        decision.pods = [one for one in decision.pods if id(one) not in gone]
        for error in results:
            if error is not None:
                raise error

    async def _delete_one(self, replicaset: apps.ReplicaSet, pod: core.Pod) -> None:
        name = pod.metadata.name
        try:
            await self._client.delete(core.Pod, name, pod.metadata.namespace, uid=pod.metadata.uid)
        except status.ApiError as error:
            if not was_behind(error):
                self._events.event(replicaset, "Warning", "FailedDelete", f"Error deleting: {error}")
                raise
        else:
            self._events.event(replicaset, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        self._pods.deleted(pod)

    async def _report(
        self, key: str, replicaset: apps.ReplicaSet, decision: decide.Decision, failure: tuple[str, str] | None
    ) -> float | None:
        """Writes the status if it changed; seconds until it changes by itself, if it does."""
        made, wait = decide.status(replicaset, decision.pods, failure, self._clock.now())
        if made == replicaset.status:
            return wait
        wanted = msgspec.structs.replace(replicaset, status=made)
        try:
            self._sets.wrote(await self._client.update(wanted, subresource="status"))
        except status.ApiError as error:
            if was_behind(error):
                self._sets.refused(replicaset)
                self._queue.retry(key)
                return wait
            raise
        return wait


def _by_controller(obj: core.Pod | apps.ReplicaSet) -> list[str]:
    uid = owners.controller_uid(obj)
    return [uid] if uid else []
