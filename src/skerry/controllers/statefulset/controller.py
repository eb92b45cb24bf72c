"""The shell of the StatefulSet controller: caches in, pods and claims out. Started by controllers.manager."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from skerry.api import status
from skerry.api.types import apps, core
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import Clock
from skerry.controllers.claims import claim
from skerry.controllers.keeper import OWNER, Keeper
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.revisions import Collision, Revisions
from skerry.controllers.statefulset import decide
from skerry.controllers.statefulset import pods as naming

WORKERS = 5
_SAID = {
    "SuccessfulCreate": "create Pod {pod} in StatefulSet {owner} successful",
    "SuccessfulDelete": "delete Pod {pod} in StatefulSet {owner} successful",
    "FailedCreate": "create Pod {pod} in StatefulSet {owner} failed error: {error}",
    "FailedDelete": "delete Pod {pod} in StatefulSet {owner} failed error: {error}",
    "RecreatingFailedPod": "StatefulSet {owner} is recreating failed Pod {pod}",
    "RecreatingTerminatedPod": "StatefulSet {owner} is recreating terminated Pod {pod}",
}


class StaleClaim(status.ApiError):
    """A claim of the right name is on its way out: the pod has to wait for it to be gone."""

    def __init__(self, name: str) -> None:
        super().__init__(409, f"persistentvolumeclaim {name} is being deleted")


class StatefulSetController:
    """Keeps the pods of all StatefulSets. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._keeper = Keeper(client, clock, informers, apps.StatefulSet, "statefulset-controller", _SAID)
        self._revisions = Revisions(client, informers)

    async def run(self) -> None:
        await self._revisions.synced()
        await self._keeper.run(self._sync, WORKERS)

    async def _sync(self, key: str) -> None:
        statefulset = self._keeper.current(key)
        if statefulset is None:
            return
        claimed = claim(statefulset, statefulset.spec.selector, self._mine(statefulset))
        problem: status.ApiError | None = None
        try:
            await self._keeper.claim(statefulset, claimed)
            history = await self._revisions.of(statefulset)
            world = decide.World(statefulset, claimed.pods, history, self._clock.now())
            try:
                await self._carry_out(statefulset, decide.decide(world), claimed.pods)
            except status.ApiError as error:
                problem = error
            await self._report(key, replace(world, pods=self._keeper.pods.by_index(OWNER, statefulset.metadata.uid)))
        except Collision:
            count = (statefulset.status.collision_count or 0) + 1
            changed = msgspec.structs.replace(statefulset.status, collision_count=count)
            await self._keeper.write_status(key, statefulset, changed)
            self._keeper.queue.add(key)
        except status.ApiError as error:
            problem = problem or error
        if problem is not None and not is_namespace_terminating(problem):
            raise problem

    def _mine(self, statefulset: apps.StatefulSet) -> list[core.Pod]:
        """The set's pods, and orphans that have one of its names."""
        uid = statefulset.metadata.uid
        return [
            one
            for one in self._keeper.pods_of(statefulset)
            if any(owner.uid == uid for owner in one.metadata.owner_references)
            or naming.ordinal_of(statefulset, one) >= 0
        ]

    async def _carry_out(self, statefulset: apps.StatefulSet, decision: decide.Decision, known: list[core.Pod]) -> None:
        keeper = self._keeper
        for pod in decision.mend:
            mended = naming.mended(pod)
            if mended is not None:
                keeper.pods.wrote(await self._client.update(mended))
        for pod in decision.recreate:
            reason = "RecreatingFailedPod" if pod.status.phase == "Failed" else "RecreatingTerminatedPod"
            keeper.say(statefulset, "Warning", reason, pod.metadata.name)
        await keeper.delete(statefulset, decision.recreate, known)
        if statefulset.status.observed_generation != statefulset.metadata.generation:
            await self._keep_claims(statefulset, known)
        for ordinal, _ in decision.create:
            await self._make_claims(statefulset, f"{statefulset.metadata.name}-{ordinal}")
        made = [naming.named(statefulset, ordinal, revision) for ordinal, revision in decision.create]
        await keeper.create(statefulset, made, known)
        for pod in decision.condemned:
            await self._own_claims(statefulset, pod.metadata.name, pod)
        await keeper.delete(statefulset, [*decision.condemned, *decision.renew], known)
        if decision.wait:
            keeper.queue.add_after(f"{statefulset.metadata.namespace}/{statefulset.metadata.name}", decision.wait)

    async def _report(self, key: str, world: decide.World) -> None:
        made, wait = decide.status(world)
        if wait is not None:
            self._keeper.queue.add_after(key, wait)
        if await self._keeper.write_status(key, world.statefulset, made):
            used = {made.current_revision, made.update_revision, *(naming.revision_of(one) for one in world.pods)}
            await self._revisions.truncate(world.statefulset, world.history, used)

    async def _make_claims(self, statefulset: apps.StatefulSet, pod: str) -> None:
        """The claims of a pod are there before it is. ApiError if one cannot be, or is on its way out."""
        for one in naming.claims(statefulset, pod):
            try:
                await self._client.create(one)
            except status.ApiError as error:
                if not status.is_already_exists(error):
                    self._keeper.say(statefulset, "Warning", "FailedCreate", pod, str(error))
                    raise
                await self._reuse(statefulset, one)
            else:
                text = f"create Claim {one.metadata.name} Pod {pod} in StatefulSet {statefulset.metadata.name} success"
                self._keeper.events.event(statefulset, "Normal", "SuccessfulCreate", text)

    async def _reuse(self, statefulset: apps.StatefulSet, wanted: core.PersistentVolumeClaim) -> None:
        name, namespace = wanted.metadata.name, wanted.metadata.namespace
        known = await self._client.get(core.PersistentVolumeClaim, name, namespace)
        of_pod = any(one.kind == "Pod" for one in known.metadata.owner_references)
        if known.metadata.deletion_timestamp is not None or of_pod:
            raise StaleClaim(name)
        await self._own(known, statefulset, None)

    async def _keep_claims(self, statefulset: apps.StatefulSet, pods: list[core.Pod]) -> None:
        """After the retention policy may have changed."""
        for pod in pods:
            if naming.ordinal_of(statefulset, pod) >= 0:
                await self._own_claims(statefulset, pod.metadata.name, None)

    async def _own_claims(self, statefulset: apps.StatefulSet, pod: str, condemned: core.Pod | None) -> None:
        for one in statefulset.spec.volume_claim_templates:
            name = naming.claim_name(one, pod)
            try:
                known = await self._client.get(core.PersistentVolumeClaim, name, statefulset.metadata.namespace)
                await self._own(known, statefulset, condemned)
            except status.ApiError as error:
                if not was_behind(error):
                    raise

    async def _own(
        self, known: core.PersistentVolumeClaim, statefulset: apps.StatefulSet, condemned: core.Pod | None
    ) -> None:
        """Gives a claim the owners that its set's retention policy says."""
        others = [one for one in known.metadata.owner_references if one.kind not in ("StatefulSet", "Pod")]
        wanted = [*others, *naming.claim_owners(statefulset, condemned)]
        if wanted != known.metadata.owner_references:
            changed = msgspec.structs.replace(known.metadata, owner_references=wanted)
            await self._client.update(msgspec.structs.replace(known, metadata=changed))
