"""The shell of the ReplicaSet controller: caches in, pods out. Started by controllers.manager."""

from __future__ import annotations

from skerry.api import status
from skerry.api.types import apps, core
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import Clock
from skerry.controllers import owners
from skerry.controllers.keeper import OWNER, Keeper, by_controller
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.replicaset import decide

WORKERS = 5


class ReplicaSetController:
    """Keeps the pods of all ReplicaSets. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._clock = clock
        self._keeper = Keeper(client, clock, informers, apps.ReplicaSet, "replicaset-controller")
        self._keeper.owners.add_index(OWNER, by_controller)

    async def run(self) -> None:
        await self._keeper.run(self._sync, WORKERS)

    async def _sync(self, key: str) -> None:
        keeper, replicaset = self._keeper, self._keeper.current(key)
        if replicaset is None:
            return
        pods = keeper.pods_of(replicaset)
        decision = decide.decide(replicaset, pods, lambda: self._related(replicaset), self._clock.now())
        failure: tuple[str, str] | None = None
        problem: Exception | None = None
        try:
            await keeper.claim(replicaset, decision)
            if decision.create:
                wanted = [decide.new_pod(replicaset)] * decision.create
                await keeper.create(replicaset, wanted, decision.pods)
            elif decision.delete:
                await keeper.delete(replicaset, decision.delete, decision.pods)
        except status.ApiError as error:
            if not was_behind(error):
                failure = ("FailedCreate" if decision.create else "FailedDelete", str(error))
            problem = None if is_namespace_terminating(error) else error
        made, wait = decide.status(replicaset, decision.pods, failure, self._clock.now())
        await keeper.write_status(key, replicaset, made)
        if wait is not None:
            keeper.queue.add_after(key, wait)
        if problem is not None:
            raise problem

    def _related(self, replicaset: apps.ReplicaSet) -> list[core.Pod]:
        owner = owners.controller_uid(replicaset)
        sets = self._keeper.owners.by_index(OWNER, owner) if owner else [replicaset]
        return [pod for one in sets for pod in self._keeper.pods.by_index(OWNER, one.metadata.uid)]
