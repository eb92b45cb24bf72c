"""The shell of the CronJob controller: caches and the clock in, Jobs out. Started by controllers.manager."""

from __future__ import annotations

import msgspec

from skerry.api import status
from skerry.api.types import batch
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers import owners
from skerry.controllers.cronjob import decide
from skerry.controllers.keeper import OWNER, by_controller
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.view import View

WORKERS = 5


class CronJobController:
    """Starts Jobs in time. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, "cronjob-controller", clock=clock)
        self._queue = Queue(clock)
        self._cronjobs = View(informers.of(batch.CronJob), self._queue.add)
        self._jobs = View(informers.of(batch.Job))
        self._jobs.add_index(OWNER, by_controller)
        self._cronjobs.informer.subscribe(self._cronjob)
        self._jobs.informer.subscribe(self._job)

    async def run(self) -> None:
        await self._cronjobs.informer.synced()
        await self._jobs.informer.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _cronjob(self, old: batch.CronJob | None, new: batch.CronJob | None) -> None:
        if new is not None and not (old is not None and self._cronjobs.is_own(new)):
            self._queue.add(key_of(new))

    def _job(self, old: batch.Job | None, new: batch.Job | None) -> None:
        job = new or old
        assert job is not None
        owner = owners.controller_of(job)
        if owner is not None and owner.kind == "CronJob":
            self._queue.add(f"{job.metadata.namespace}/{owner.name}")

    async def _sync(self, key: str) -> None:
        cronjob = self._cronjobs.get(key)
        if cronjob is None or self._cronjobs.is_behind(key):
            return
        jobs = self._jobs.by_index(OWNER, cronjob.metadata.uid)
        decision = decide.decide(cronjob, jobs, self._clock.now())
        if decision.wait is not None:
            self._queue.add_after(key, decision.wait)
        for kind, reason, message in decision.events:
            self._events.event(cronjob, kind, reason, message)
        made = decision.status
        for job in (*decision.replace, *decision.expire):
            await self._delete(cronjob, job)
        if decision.create is not None:
            job_made = await self._create(cronjob, decision.create)
            if job_made is not None:
                made = decide.started(made, job_made)
        if made != cronjob.status:
            await self._report(key, cronjob, made)

    async def _create(self, cronjob: batch.CronJob, wanted: batch.Job) -> batch.Job | None:
        """The Job, made now or by a life before this one; None if somebody else's has its name."""
        name = wanted.metadata.name
        try:
            made = await self._client.create(wanted)
        except status.ApiError as error:
            if is_namespace_terminating(error):
                return None
            if not status.is_already_exists(error):
                self._events.event(cronjob, "Warning", "FailedCreate", f"Error creating job: {error}")
                raise
            known = await self._client.get(batch.Job, name, wanted.metadata.namespace)
            return known if owners.controller_uid(known) == cronjob.metadata.uid else None
        self._jobs.wrote(made)
        self._events.event(cronjob, "Normal", "SuccessfulCreate", f"Created job {name}")
        return made

    async def _delete(self, cronjob: batch.CronJob, job: batch.Job) -> None:
        name, namespace = job.metadata.name, job.metadata.namespace
        try:
            await self._client.delete(batch.Job, name, namespace, uid=job.metadata.uid, propagation_policy="Background")
        except status.ApiError as error:
            if not was_behind(error):
                self._events.event(cronjob, "Warning", "FailedDelete", f"Deleted job: {error}")
                raise
        else:
            self._events.event(cronjob, "Normal", "SuccessfulDelete", f"Deleted job {name}")
        self._jobs.deleted(job)

    async def _report(self, key: str, cronjob: batch.CronJob, made: batch.CronJobStatus) -> None:
        try:
            wanted = msgspec.structs.replace(cronjob, status=made)
            self._cronjobs.wrote(await self._client.update(wanted, subresource="status"))
        except status.ApiError as error:
            if not was_behind(error):
                raise
            self._cronjobs.refused(cronjob)
            self._queue.retry(key)
