"""The shell of the disruption controller: caches in, statuses of budgets out. Started by controllers.manager.

An eviction writes the same status: who has seen the older one is refused and looks again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from skerry.api import budgets, status
from skerry.api.types import apps, core, policy
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informer, Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers import owners
from skerry.controllers.budgets import decide
from skerry.controllers.refusals import was_behind
from skerry.controllers.view import View

_NAMESPACE = "namespace"


class BudgetController:
    """`await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, "controllermanager", clock=clock)
        self._queue = Queue(clock)
        self._budgets = View(informers.of(policy.PodDisruptionBudget), self._queue.add)
        self._budgets.add_index(_NAMESPACE, lambda one: [one.metadata.namespace])
        self._pods = informers.of(core.Pod)
        self._pods.add_index(_NAMESPACE, lambda one: [one.metadata.namespace])
        self._sets = informers.of(apps.ReplicaSet)
        self._deployments = informers.of(apps.Deployment)
        self._stateful = informers.of(apps.StatefulSet)
        self._budgets.informer.subscribe(self._budget)
        self._pods.subscribe(self._pod)

    async def run(self) -> None:
        for one in (self._budgets.informer, self._pods, self._sets, self._deployments, self._stateful):
            await one.synced()
        await controller.run(self._queue, self._sync)

    def _budget(self, old: policy.PodDisruptionBudget | None, new: policy.PodDisruptionBudget | None) -> None:
        if new is not None and not (old is not None and self._budgets.is_own(new)):
            self._queue.add(key_of(new))

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        pod = new or old
        assert pod is not None
        for budget in self._budgets.by_index(_NAMESPACE, pod.metadata.namespace):
            if any(one is not None and budgets.covers(budget, one) for one in (old, new)):
                self._queue.add(key_of(budget))

    async def _sync(self, key: str) -> None:
        budget = self._budgets.get(key)
        if budget is None or self._budgets.is_behind(key):
            return
        now = self._clock.now()
        known = self._pods.by_index(_NAMESPACE, budget.metadata.namespace)
        pods = [one for one in known if budgets.covers(budget, one)]
        if not pods:
            self._events.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            decision = decide.decide(budget, pods, self._scale, now)
        except decide.NoScale as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self._events.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            decision = decide.Decision(decide.failed(budget, str(error), now))
        for pod in decision.stuck:
            text = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            self._events.event(pod, "Warning", "NotDeleted", text)
        if decision.wait is not None:
            self._queue.add_after(key, decision.wait)
        if decision.status != budget.status:
            await self._write(budget, decision.status)

    def _scale(self, pods: list[core.Pod]) -> int:
        """How many pods the controllers of these want. Pods that nobody made count as nobody's."""
        wanted: dict[str, int] = {}
        for pod in pods:
            owner = owners.controller_of(pod)
            if owner is None or owner.uid in wanted:
                continue
            replicas = self._replicas(owner.kind, f"{pod.metadata.namespace}/{owner.name}", owner.uid)
            if replicas is None:
                raise decide.NoScale(f'found no controllers for pod "{pod.metadata.name}"')
            uid, count = replicas
            wanted[uid] = count
        return sum(wanted.values())

    def _replicas(self, kind: str, key: str, uid: str) -> tuple[str, int] | None:
        """Who decides on how many pods there are, and how many: a Deployment where a set has one."""
        caches: dict[str, Informer[Any]] = {"ReplicaSet": self._sets, "StatefulSet": self._stateful}
        found = caches[kind].get(key) if kind in caches else None
        if found is None or found.metadata.uid != uid:
            return None
        above = owners.controller_of(found)
        if above is not None and above.kind == "Deployment":
            deployment = self._deployments.get(f"{found.metadata.namespace}/{above.name}")
            if deployment is not None and deployment.metadata.uid == above.uid:
                return above.uid, deployment.spec.replicas or 0
        return uid, found.spec.replicas or 0

    async def _write(self, budget: policy.PodDisruptionBudget, wanted: policy.PodDisruptionBudgetStatus) -> None:
        made = msgspec.structs.replace(budget, status=wanted)
        try:
            self._budgets.wrote(await self._client.update(made, subresource="status"))
        except status.ApiError as error:
            if not was_behind(error):
                raise
            self._budgets.refused(budget)
