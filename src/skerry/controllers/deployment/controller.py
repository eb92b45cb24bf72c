"""The shell of the Deployment controller: caches in, ReplicaSets out. Started by controllers.manager."""

from __future__ import annotations

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
from skerry.controllers.deployment import rollout, versions
from skerry.controllers.deployment import status as reporting
from skerry.controllers.refusals import is_namespace_terminating, was_behind
from skerry.controllers.view import View

WORKERS = 5
_OWNER = "controller"
_ORPHANS = "orphans"


class DeploymentController:
    """Rolls out all Deployments. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client, self._clock = client, clock
        self._events = Recorder(client, "deployment-controller", clock=clock)
        self._queue = Queue(clock)
        self._deployments = View(informers.of(apps.Deployment), self._queue.add)
        self._sets = View(informers.of(apps.ReplicaSet), self._set_caught_up)
        self._pods = informers.of(core.Pod)
        self._deployments.add_index("namespace", lambda one: [one.metadata.namespace])
        self._sets.add_index(_OWNER, _by_controller)
        self._sets.add_index(_ORPHANS, lambda one: [] if owners.controller_of(one) else [one.metadata.namespace])
        self._pods.add_index(_OWNER, _by_controller)
        self._deployments.informer.subscribe(self._deployment)
        self._sets.informer.subscribe(self._set)
        self._pods.subscribe(self._pod)

    async def run(self) -> None:
        await self._deployments.informer.synced()
        await self._sets.informer.synced()
        await self._pods.synced()
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _deployment(self, old: apps.Deployment | None, new: apps.Deployment | None) -> None:
        if new is not None and not (old is not None and self._deployments.is_own(new)):
            self._queue.add(key_of(new))

    def _set(self, old: apps.ReplicaSet | None, new: apps.ReplicaSet | None) -> None:
        for one in (old, new):
            if one is not None:
                self._touch(one)

    def _touch(self, one: apps.ReplicaSet) -> None:
        owner = owners.controller_of(one)
        if owner is not None:
            if owner.kind == "Deployment":
                self._queue.add(f"{one.metadata.namespace}/{owner.name}")
            return
        for each in self._deployments.by_index("namespace", one.metadata.namespace):
            if labels.from_selector(each.spec.selector).matches(one.metadata.labels):
                self._queue.add(key_of(each))

    def _set_caught_up(self, key: str) -> None:
        one = self._sets.informer.get(key)
        if one is not None:
            self._touch(one)

    def _pod(self, old: core.Pod | None, new: core.Pod | None) -> None:
        """Recreate goes on when the last old pod is gone or finished."""
        pod = new or old
        assert pod is not None
        if new is not None and new.status.phase not in ("Succeeded", "Failed"):
            return
        owner = owners.controller_of(pod)
        replicaset = self._sets.get(f"{pod.metadata.namespace}/{owner.name}") if owner is not None else None
        owner = owners.controller_of(replicaset) if replicaset is not None else None
        if owner is None:
            return
        deployment = self._deployments.get(f"{pod.metadata.namespace}/{owner.name}")
        if deployment is not None and deployment.spec.strategy.type == "Recreate":
            self._queue.add(key_of(deployment))

    async def _sync(self, key: str) -> None:
        deployment = self._deployments.get(key)
        if deployment is None or self._deployments.is_behind(key):
            return
        try:
            await self._roll(key, deployment)
        except status.ApiError as error:
            if not is_namespace_terminating(error):
                raise

    async def _roll(self, key: str, deployment: apps.Deployment) -> None:
        sets = await self._claimed(deployment)
        if any(self._sets.is_behind(key_of(one)) for one in sets):
            return
        world = self._world(deployment, sets)
        created = failed = ""
        problem: status.ApiError | None = None
        if deployment.metadata.deletion_timestamp is None:
            plan = rollout.plan(world)
            if world.new is not None and not deployment.spec.paused and not rollout.is_resized(world):
                sets = await self._note(deployment, world.new, world, sets)
            sets = [await self._resize(deployment, one, plan) for one in sets]
            if plan.create is not None:
                try:
                    made = await self._create(key, deployment, world, plan.create)
                except status.ApiError as error:
                    if is_namespace_terminating(error):
                        raise
                    failed, problem = str(error), error
                else:
                    if made is None:
                        return
                    sets, created = [*sets, made], made.metadata.name
            world = self._world(deployment, sets)
            deployment = await self._number(deployment, world)
            world = self._world(deployment, sets)
        await self._report(key, world, created, failed)
        if problem is not None:
            raise problem

    def _world(self, deployment: apps.Deployment, sets: list[apps.ReplicaSet]) -> rollout.World:
        new = versions.find_new(deployment, sets)
        old = [one for one in versions.by_age(sets) if one is not new]
        running = any(
            pod.status.phase not in ("Succeeded", "Failed")
            for one in old
            for pod in self._pods.by_index(_OWNER, one.metadata.uid)
        )
        return rollout.World(deployment, new, old, running)

    async def _claimed(self, deployment: apps.Deployment) -> list[apps.ReplicaSet]:
        """The Deployment's sets; orphans that match are taken over, own ones that do not are let go."""
        selector = labels.from_selector(deployment.spec.selector)
        sets: list[apps.ReplicaSet] = []
        going = deployment.metadata.deletion_timestamp is not None
        for one in self._sets.by_index(_OWNER, deployment.metadata.uid):
            if going or selector.matches(one.metadata.labels):
                sets.append(one)
            else:
                await self._update(one, owners.released(one, deployment))
        orphans = [] if going else self._sets.by_index(_ORPHANS, deployment.metadata.namespace)
        for one in orphans:
            if one.metadata.deletion_timestamp is None and selector.matches(one.metadata.labels):
                taken = await self._update(one, owners.adopted(one, deployment))
                sets.append(taken)
        return sets

    async def _update(self, known: apps.ReplicaSet, wanted: apps.ReplicaSet) -> apps.ReplicaSet:
        try:
            made = await self._client.update(wanted)
        except status.ApiError as error:
            if was_behind(error):
                self._sets.refused(known)
            raise
        self._sets.wrote(made)
        return made

    async def _note(
        self, deployment: apps.Deployment, new: apps.ReplicaSet, world: rollout.World, sets: list[apps.ReplicaSet]
    ) -> list[apps.ReplicaSet]:
        """Keeps the new set's annotations and minReadySeconds as the Deployment has them."""
        noted = versions.annotations_of(deployment, new, versions.next_revision(world.old))
        seconds = deployment.spec.min_ready_seconds
        if noted == new.metadata.annotations and seconds == new.spec.min_ready_seconds:
            return sets
        wanted = msgspec.structs.replace(
            new,
            metadata=msgspec.structs.replace(new.metadata, annotations=noted),
            spec=msgspec.structs.replace(new.spec, min_ready_seconds=seconds),
        )
        made = await self._update(new, wanted)
        return [made if one is new else one for one in sets]

    async def _resize(self, deployment: apps.Deployment, one: apps.ReplicaSet, plan: rollout.Plan) -> apps.ReplicaSet:
        size = next((size for each, size in plan.steps if each.metadata.uid == one.metadata.uid), None)
        if size is None:
            return one
        before = rollout.size(one)
        noted = versions.sizes(deployment, rollout.most(deployment))
        made = await self._update(one, versions.with_size(one, size, noted))
        if size != before:
            self._say_scaled(deployment, one.metadata.name, before, size)
        return made

    def _say_scaled(self, deployment: apps.Deployment, name: str, before: int, size: int) -> None:
        way = "up" if size > before else "down"
        text = f"Scaled {way} replica set {name} from {before} to {size}"
        self._events.event(deployment, "Normal", "ScalingReplicaSet", text)

    async def _create(
        self, key: str, deployment: apps.Deployment, world: rollout.World, size: int
    ) -> apps.ReplicaSet | None:
        """The new set. None if its name was taken by something else: then the hash is counted on and tried again."""
        noted = versions.annotations_of(deployment, None, versions.next_revision(world.old))
        noted |= versions.sizes(deployment, rollout.most(deployment))
        wanted = versions.new_set(deployment, size, noted)
        try:
            made = await self._client.create(wanted)
        except status.ApiError as error:
            if not status.is_already_exists(error):
                if not is_namespace_terminating(error):
                    text = f'Failed to create new replica set "{wanted.metadata.name}": {error}'
                    self._events.event(deployment, "Warning", "ReplicaSetCreateError", text)
                raise
            known = await self._client.get(apps.ReplicaSet, wanted.metadata.name, wanted.metadata.namespace)
            own = owners.controller_uid(known) == deployment.metadata.uid
            if own and versions.same_template(known.spec.template, deployment.spec.template):
                self._sets.wrote(known)
                return known
            count = (deployment.status.collision_count or 0) + 1
            changed = msgspec.structs.replace(deployment.status, collision_count=count)
            await self._write_status(key, deployment, changed)
            self._queue.add(key)
            return None
        self._sets.wrote(made)
        if size:
            self._say_scaled(deployment, made.metadata.name, 0, size)
        return made

    async def _number(self, deployment: apps.Deployment, world: rollout.World) -> apps.Deployment:
        """The Deployment carries the revision of its new set."""
        if world.new is None:
            return deployment
        number = world.new.metadata.annotations.get(versions.REVISION, "")
        if not number or deployment.metadata.annotations.get(versions.REVISION) == number:
            return deployment
        name, namespace = deployment.metadata.name, deployment.metadata.namespace
        change = {"metadata": {"annotations": {versions.REVISION: number}}}
        made = await self._client.patch(apps.Deployment, name, change, namespace)
        self._deployments.wrote(made)
        return made

    async def _report(self, key: str, world: rollout.World, created: str, failed: str) -> None:
        deployment = world.deployment
        made, wait = reporting.decide(world, self._clock.now(), created=created, failed=failed)
        if made != deployment.status:
            await self._write_status(key, deployment, made)
        if wait is not None:
            self._queue.add_after(key, wait)
        if deployment.metadata.deletion_timestamp is None and (
            deployment.spec.paused or reporting.is_complete(deployment, made)
        ):
            for one in versions.expired(deployment, world.old):
                await self._delete(one)

    async def _write_status(self, key: str, deployment: apps.Deployment, made: apps.DeploymentStatus) -> None:
        try:
            written = await self._client.update(msgspec.structs.replace(deployment, status=made), subresource="status")
        except status.ApiError as error:
            if was_behind(error):
                self._deployments.refused(deployment)
                self._queue.add_after(key, 0.005)
                return
            raise
        self._deployments.wrote(written)

    async def _delete(self, one: apps.ReplicaSet) -> None:
        try:
            await self._client.delete(apps.ReplicaSet, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid)
        except status.ApiError as error:
            if not was_behind(error):
                raise
        self._sets.deleted(one)


def _by_controller(obj: core.Pod | apps.ReplicaSet) -> list[str]:
    uid = owners.controller_uid(obj)
    return [uid] if uid else []
