"""Which pods of a StatefulSet are made, deleted and renewed next, and what its status says. Pure.

OrderedReady goes one pod at a time: up from the lowest number, each once the one before is ready; down from the
highest; and renewed from the highest. A pod that does not get ready stops it, also when the template has been mended
meanwhile: somebody has to delete that pod, as upstream. Parallel waits for nothing but maxUnavailable in an update.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from skerry.api.percent import scaled
from skerry.api.types import apps, core
from skerry.controllers import owners
from skerry.controllers.revisions import History
from skerry.controllers.statefulset import pods as naming


@dataclass
class Decision:
    """`create` are numbers with the revision to use. `recreate` have ended, `condemned` are too many, `renew` are old.

    `wait`: seconds until a ready pod counts as available, if that is waited for.
    """

    create: list[tuple[int, apps.ControllerRevision]] = field(default_factory=list)
    recreate: list[core.Pod] = field(default_factory=list)
    condemned: list[core.Pod] = field(default_factory=list)
    renew: list[core.Pod] = field(default_factory=list)
    mend: list[core.Pod] = field(default_factory=list)
    wait: float | None = None


@dataclass(frozen=True)
class World:
    """What is decided on. `pods` are the set's own, `current` is the version that it comes from."""

    statefulset: apps.StatefulSet
    pods: Sequence[core.Pod]
    history: History
    now: float

    @property
    def update(self) -> apps.ControllerRevision:
        return self.history.newest

    @property
    def current(self) -> apps.ControllerRevision:
        return self.history.find(self.statefulset.status.current_revision) or self.history.newest

    @property
    def replicas(self) -> int:
        return self.statefulset.spec.replicas or 0

    @property
    def ordinals(self) -> range:
        first = naming.start(self.statefulset)
        return range(first, first + self.replicas)

    def slots(self) -> dict[int, core.Pod]:
        """The pods that are wanted and there, by number."""
        found = {naming.ordinal_of(self.statefulset, one): one for one in self.pods}
        return {one: found[one] for one in self.ordinals if one in found}

    def surplus(self) -> list[core.Pod]:
        """Pods beyond the wanted numbers, the highest first."""
        found = {naming.ordinal_of(self.statefulset, one): one for one in self.pods}
        return [found[one] for one in sorted(found, reverse=True) if one >= 0 and one not in self.ordinals]

    def available_in(self, pod: core.Pod) -> float | None:
        """Seconds until a pod is available; None if it is not ready."""
        if not _is_running_and_ready(pod):
            return None
        return owners.available_in(pod, self.statefulset.spec.min_ready_seconds, self.now)

    def is_available(self, pod: core.Pod) -> bool:
        return self.available_in(pod) == 0 and not _is_going(pod)


def decide(world: World) -> Decision:
    """The next step. Nothing while the set is being deleted."""
    out = Decision()
    if world.statefulset.metadata.deletion_timestamp is not None:
        return out
    ordered = world.statefulset.spec.pod_management_policy != "Parallel"
    slots, surplus = world.slots(), world.surplus()
    out.mend = [one for one in slots.values() if naming.mended(one) is not None and not _is_going(one)]
    if _fill(world, slots, ordered, out) and ordered:
        return out
    if _shrink(world, slots, surplus, ordered, out) and ordered:
        return out
    if world.statefulset.spec.update_strategy.type == "RollingUpdate" and not out.create and not out.recreate:
        out.renew = _renew(world, slots)
    return out


def _fill(world: World, slots: dict[int, core.Pod], ordered: bool, out: Decision) -> bool:
    """Makes what is missing and removes what has ended; whether an ordered set has to wait for it."""
    for ordinal in world.ordinals:
        pod = slots.get(ordinal)
        if pod is None:
            out.create.append((ordinal, _wanted(world, ordinal)))
        elif pod.status.phase in ("Failed", "Succeeded"):
            if not _is_going(pod):
                out.recreate.append(pod)
        elif ordered and (_is_going(pod) or not _is_running_and_ready(pod)):
            return True
        elif ordered and not world.is_available(pod):
            out.wait = world.available_in(pod)
            return True
        else:
            continue
        if ordered:
            return True
    return False


def _wanted(world: World, ordinal: int) -> apps.ControllerRevision:
    """The version of a pod that is to be made: the present one, or the former below a partition."""
    strategy = world.statefulset.spec.update_strategy
    if strategy.type != "RollingUpdate":
        return world.update
    partition = (strategy.rolling_update.partition or 0) if strategy.rolling_update is not None else 0
    return world.current if ordinal < naming.start(world.statefulset) + partition else world.update


def _shrink(
    world: World, slots: dict[int, core.Pod], surplus: Sequence[core.Pod], ordered: bool, out: Decision
) -> bool:
    """Removes what is too much; whether an ordered set has to wait for it."""
    if not ordered:
        out.condemned = [one for one in surplus if not _is_going(one)]
        return bool(surplus)
    if not surplus:
        return False
    first_unhealthy = _first_unhealthy([*slots.values(), *reversed(surplus)])
    highest = surplus[0]
    if _is_going(highest):
        return True
    if highest is not first_unhealthy and not world.is_available(highest):
        out.wait = world.available_in(highest)
        return True
    out.condemned = [highest]
    return True


def _first_unhealthy(pods: Iterable[core.Pod]) -> core.Pod | None:
    return next((one for one in pods if not _is_running_and_ready(one) or _is_going(one)), None)


def _renew(world: World, slots: dict[int, core.Pod]) -> list[core.Pod]:
    """Pods of former versions to delete now, the highest first: never more than maxUnavailable are missing.

    Those that are not available anyhow cost nothing.
    """
    rolling = world.statefulset.spec.update_strategy.rolling_update
    partition = (rolling.partition or 0) if rolling is not None else 0
    most = max(1, scaled(rolling.max_unavailable, world.replicas, up=True)) if rolling is not None else 1
    if rolling is not None and rolling.max_unavailable is None:
        most = 1
    missing = world.replicas - sum(world.is_available(one) for one in slots.values())
    out: list[core.Pod] = []
    for ordinal in reversed(world.ordinals):
        pod = slots.get(ordinal)
        if ordinal < naming.start(world.statefulset) + partition:
            break
        if pod is None or _is_going(pod) or naming.revision_of(pod) == world.update.metadata.name:
            continue
        if world.is_available(pod):
            if missing >= most:
                break
            missing += 1
        out.append(pod)
    return out


def status(world: World) -> tuple[apps.StatefulSetStatus, float | None]:
    """(the status that the pods make, seconds until it changes by itself or None)."""
    statefulset, known = world.statefulset, world.statefulset.status
    current, update = world.current.metadata.name, world.update.metadata.name
    own = [one for one in world.pods if naming.ordinal_of(statefulset, one) >= 0]
    living = [one for one in own if not _is_going(one)]
    waits = [world.available_in(one) for one in own if _is_running_and_ready(one)]
    made = msgspec.structs.replace(
        known,
        observed_generation=statefulset.metadata.generation,
        replicas=len(own),
        ready_replicas=len(waits),
        available_replicas=sum(1 for one in waits if one == 0),
        current_replicas=sum(naming.revision_of(one) == current for one in living),
        updated_replicas=sum(naming.revision_of(one) == update for one in living),
        current_revision=current,
        update_revision=update,
        collision_count=known.collision_count or 0,
    )
    is_whole = made.updated_replicas == made.replicas == made.ready_replicas == world.replicas
    if statefulset.spec.update_strategy.type == "RollingUpdate" and is_whole:
        made.current_revision, made.current_replicas = update, made.updated_replicas
    return made, min((one for one in waits if one), default=None)


def _is_going(pod: core.Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def _is_running_and_ready(pod: core.Pod) -> bool:
    return pod.status.phase == "Running" and owners.is_ready(pod)
