"""The shell of the DaemonSet controller: caches in, pods out. Started by controllers.manager."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from skerry.api import status
from skerry.api.types import apps, core
from skerry.client.client import Client
from skerry.client.informer import Informers, key_of
from skerry.clock import Clock
from skerry.controllers.claims import claim
from skerry.controllers.daemonset import decide
from skerry.controllers.daemonset import pods as placing
from skerry.controllers.keeper import OWNER, Keeper
from skerry.controllers.refusals import is_namespace_terminating
from skerry.controllers.revisions import HASH_LABEL, Collision, Revisions, digest_of

WORKERS = 2
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 900.0
"""Seconds between the removals of failed pods on one node: the first doubles up to the second."""


class DaemonSetController:
    """Keeps the pods of all DaemonSets. `await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._clock = clock
        self._keeper = Keeper(client, clock, informers, apps.DaemonSet, "daemonset-controller")
        self._revisions = Revisions(client, informers)
        self._nodes = informers.of(core.Node)
        self._pauses: dict[tuple[str, str], tuple[float, float]] = {}  # (set, node) -> when last (monotonic), how long
        self._nodes.subscribe(self._node)

    async def run(self) -> None:
        await self._nodes.synced()
        await self._revisions.synced()
        await self._keeper.run(self._sync, WORKERS)

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        """Wakes the sets that think differently of a node now."""
        if old is not None and new is not None and _decides(old) == _decides(new):
            return
        for one in self._keeper.owners.informer.list():
            verdicts = [placing.belongs(one, node) if node is not None else None for node in (old, new)]
            if verdicts[0] != verdicts[1]:
                self._keeper.queue.add(key_of(one))

    async def _sync(self, key: str) -> None:
        daemonset = self._keeper.current(key)
        if daemonset is None:
            self._pauses = {one: value for one, value in self._pauses.items() if one[0] != key}
            return
        claimed = claim(daemonset, daemonset.spec.selector, self._keeper.pods_of(daemonset))
        problem: status.ApiError | None = None
        try:
            await self._keeper.claim(daemonset, claimed)
            history = await self._revisions.of(daemonset)
            world = decide.World(
                daemonset, claimed.pods, self._nodes.list(), digest_of(history.newest), self._clock.now()
            )
            try:
                await self._carry_out(key, world, claimed.pods)
            except status.ApiError as error:
                problem = error
            pods = self._keeper.pods.by_index(OWNER, daemonset.metadata.uid)
            made, wait = decide.status(replace(world, pods=pods))
            if wait is not None:
                self._keeper.queue.add_after(key, wait)
            if await self._keeper.write_status(key, daemonset, made):
                digests = {one.metadata.labels.get(HASH_LABEL, "") for one in pods}
                used = {one.metadata.name for one in history.all if digest_of(one) in digests}
                await self._revisions.truncate(daemonset, history, used)
        except Collision:
            count = (daemonset.status.collision_count or 0) + 1
            changed = msgspec.structs.replace(daemonset.status, collision_count=count)
            await self._keeper.write_status(key, daemonset, changed)
            self._keeper.queue.add(key)
        except status.ApiError as error:
            problem = problem or error
        if problem is not None and not is_namespace_terminating(problem):
            raise problem

    async def _carry_out(self, key: str, world: decide.World, known: list[core.Pod]) -> None:
        keeper, daemonset = self._keeper, world.daemonset
        decision = decide.decide(world)
        paused = {id(one) for one in decision.failed if not self._may_remove(key, one)}
        for one in decision.failed:
            if id(one) not in paused:
                where = f"{one.metadata.namespace}/{one.metadata.name} on node {one.spec.node_name}"
                text = f"Found failed daemon pod {where}, will try to kill it"
                keeper.events.event(daemonset, "Warning", "FailedDaemonPod", text)
        for one in decision.ended:
            where = f"{one.metadata.namespace}/{one.metadata.name} on node {one.spec.node_name}"
            text = f"Found succeeded daemon pod {where}, will try to delete it"
            keeper.events.event(daemonset, "Normal", "SucceededDaemonPod", text)
        pods = [placing.new_pod(daemonset, node, world.digest) for node in decision.create]
        await keeper.create(daemonset, pods, known)
        await keeper.delete(daemonset, [one for one in decision.delete if id(one) not in paused], known)

    def _may_remove(self, key: str, pod: core.Pod) -> bool:
        """Whether enough time has passed since a failed pod was removed there; else the set comes back when it has."""
        place, now = (key, placing.node_of(pod)), self._clock.monotonic()
        since, pause = self._pauses.get(place, (0.0, 0.0))
        if pause and now - since > 2 * LONGEST_PAUSE:
            pause = 0.0
        if pause and now - since < pause:
            self._keeper.queue.add_after(key, since + pause - now)
            return False
        self._pauses[place] = now, min(2 * pause, LONGEST_PAUSE) if pause else FIRST_PAUSE
        return True


def _decides(node: core.Node) -> tuple[object, ...]:
    """What of a node decides whether a pod belongs there."""
    return node.metadata.uid, node.metadata.labels, node.spec.taints
