"""The shell of the Job controller: caches in, pods out. Started by controllers.manager."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from skerry.api import status
from skerry.api.types import batch, core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers import owners
from skerry.controllers.claims import claim
from skerry.controllers.job import decide
from skerry.controllers.job import pods as facts
from skerry.controllers.keeper import Keeper
from skerry.controllers.refusals import is_namespace_terminating, was_behind

WORKERS = 5
OWN = "kubernetes.io/job-controller"


class JobController:
    """Brings all Jobs to their end. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._keeper = Keeper(client, clock, informers, batch.Job, "job-controller")
        self._orphans = Queue(clock)
        self._keeper.pods.informer.subscribe(self._pod)
        self._keeper.owners.informer.subscribe(self._job)

    async def run(self) -> None:
        await asyncio.gather(
            self._keeper.run(self._sync, WORKERS),
            controller.run(self._orphans, self._let_go),
        )

    def _pod(self, _: core.Pod | None, new: core.Pod | None) -> None:
        """A pod that nobody will count any more must not wait for it."""
        if new is not None and facts.is_tracked(new) and self._is_lost(new):
            self._orphans.add(key_of(new))

    def _job(self, old: batch.Job | None, new: batch.Job | None) -> None:
        if new is None and old is not None:
            for pod in self._keeper.pods_of(old):
                self._orphans.add(key_of(pod))

    def _is_lost(self, pod: core.Pod) -> bool:
        owner = owners.controller_of(pod)
        if owner is None:
            return True
        if owner.kind != "Job" or not self._keeper.owners.informer.has_synced:
            return False
        job = self._keeper.owners.informer.get(f"{pod.metadata.namespace}/{owner.name}")
        return job is None or job.metadata.uid != owner.uid

    async def _let_go(self, key: str) -> None:
        pod = self._keeper.pods.get(key)
        if pod is None or not facts.is_tracked(pod) or not self._is_lost(pod):
            return
        owner = owners.controller_of(pod)
        if owner is not None:
            try:
                found = await self._client.get(batch.Job, owner.name, pod.metadata.namespace)
            except status.ApiError as error:
                if not status.is_not_found(error):
                    raise
            else:
                if found.metadata.uid == owner.uid:
                    return  # the cache was behind
        await self._untrack([pod])

    async def _sync(self, key: str) -> None:
        job = self._keeper.current(key)
        if job is None or (job.spec.managed_by or OWN) != OWN:
            return
        keeper = self._keeper
        claimed = claim(job, job.spec.selector, keeper.pods_of(job))
        claimed.adopt, adopted = [], claimed.adopt
        problem: status.ApiError | None = None
        for pod in adopted:
            keeper.pods.wrote(await self._client.update(facts.tracked(owners.adopted(pod, job))))
        await keeper.claim(job, claimed)
        decision = decide.decide(job, claimed.pods, self._clock.now())
        if decision.expired:
            await self._expire(job)
            return
        known: list[core.Pod] = []
        try:
            await self._untrack(one for one in decision.drop if facts.is_tracked(one))
            gone = [*decision.stop, *decision.drop]
            left = list(gone)
            await keeper.delete(job, gone, left)
            decision.status.active -= len(gone) - len(left)
            await keeper.create(job, [facts.new_pod(job, *one) for one in decision.create], known)
        except status.ApiError as error:
            problem = None if is_namespace_terminating(error) else error
        decision.status.active += len(known)
        if await keeper.write_status(key, job, decision.status):
            for kind, reason, message in decision.events:
                keeper.events.event(job, kind, reason, message)
            await self._untrack(decision.settled)
        if decision.wait is not None:
            keeper.queue.add_after(key, decision.wait)
        if problem is not None:
            raise problem

    async def _untrack(self, pods: Iterable[core.Pod]) -> None:
        """Takes the finalizer off; a pod that has changed meanwhile comes again."""
        await asyncio.gather(*(self._untrack_one(one) for one in pods))

    async def _untrack_one(self, pod: core.Pod) -> None:
        change = {"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [facts.FINALIZER]}}
        name, namespace = pod.metadata.name, pod.metadata.namespace
        try:
            self._keeper.pods.wrote(await self._client.patch(core.Pod, name, change, namespace, type="strategic"))
        except status.ApiError as error:
            if not was_behind(error):
                raise
            self._keeper.pods.gone(pod)

    async def _expire(self, job: batch.Job) -> None:
        name, namespace = job.metadata.name, job.metadata.namespace
        try:
            await self._client.delete(batch.Job, name, namespace, uid=job.metadata.uid, propagation_policy="Foreground")
        except status.ApiError as error:
            if not was_behind(error):
                raise
