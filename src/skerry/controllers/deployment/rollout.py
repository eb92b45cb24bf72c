"""How many pods each ReplicaSet of a Deployment should have next (A1). Pure.

`Plan.steps` has the new sizes for one step of the way; the shell carries them out and comes back when the pods moved.
Rolling updates never have more than replicas + maxSurge pods, nor fewer available ones than replicas - maxUnavailable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from skerry.api.numerals import whole
from skerry.api.percent import scaled
from skerry.api.types import apps
from skerry.controllers.deployment import versions


@dataclass
class Plan:
    """New sizes of existing sets, and the size at which the new set is to be made (None: it is there, or not yet)."""

    steps: list[tuple[apps.ReplicaSet, int]] = field(default_factory=list)
    create: int | None = None


@dataclass(frozen=True)
class World:
    """What a decision is made on. `new` is the set of the present template, `old` the others, oldest first.

    `old_pods` tells whether any pod of an old set still runs (Recreate waits for that).
    """

    deployment: apps.Deployment
    new: apps.ReplicaSet | None
    old: Sequence[apps.ReplicaSet]
    old_pods: bool = False

    @property
    def all(self) -> list[apps.ReplicaSet]:
        return [*self.old, self.new] if self.new is not None else list(self.old)

    @property
    def replicas(self) -> int:
        return self.deployment.spec.replicas or 0


def size(one: apps.ReplicaSet) -> int:
    return one.spec.replicas or 0


def total(sets: Sequence[apps.ReplicaSet]) -> int:
    return sum(size(one) for one in sets)


def available(sets: Sequence[apps.ReplicaSet]) -> int:
    return sum(one.status.available_replicas for one in sets)


def bounds(deployment: apps.Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers: the first rounded up, the second down, not both 0 (A1)."""
    replicas = deployment.spec.replicas or 0
    rolling = deployment.spec.strategy.rolling_update
    if deployment.spec.strategy.type == "Recreate" or rolling is None:
        return 0, 0
    surge = scaled(rolling.max_surge, replicas, up=True)
    unavailable = min(scaled(rolling.max_unavailable, replicas, up=False), replicas)
    if not surge and not unavailable:
        unavailable = 1
    return surge, unavailable


def most(deployment: apps.Deployment) -> int:
    """How many pods there may be at once."""
    return (deployment.spec.replicas or 0) + bounds(deployment)[0]


def is_resized(world: World) -> bool:
    """Whether the Deployment was scaled since its sets were: then all of them grow or shrink in proportion."""
    wanted = str(world.replicas)
    return any(one.metadata.annotations.get(versions.DESIRED, wanted) != wanted for one in world.all if size(one) > 0)


def plan(world: World) -> Plan:
    """The next step."""
    if world.deployment.spec.paused or is_resized(world):
        return Plan(_scaled(world))
    if world.deployment.spec.strategy.type == "Recreate":
        return _recreate(world)
    return _rolling(world)


def _recreate(world: World) -> Plan:
    down = [(one, 0) for one in world.old if size(one)]
    if down or world.old_pods:
        return Plan(down)
    if world.new is None:
        return Plan(create=world.replicas)
    return Plan([(world.new, world.replicas)] if size(world.new) != world.replicas else [])


def _rolling(world: World) -> Plan:
    grown = _new_size(world)
    if world.new is None:
        return Plan(create=grown)
    if grown != size(world.new):
        return Plan([(world.new, grown)])
    return Plan(_shrunk(world, world.new))


def _new_size(world: World) -> int:
    """The new set grows as far as the surge allows."""
    now = size(world.new) if world.new is not None else 0
    if now >= world.replicas:
        return world.replicas
    room = most(world.deployment) - total(world.all)
    return now if room <= 0 else now + min(room, world.replicas - now)


def _shrunk(world: World, new: apps.ReplicaSet) -> list[tuple[apps.ReplicaSet, int]]:
    """Old sets shrink: first pods that are not available anyway, then as many as maxUnavailable allows."""
    if not total(world.old):
        return []
    least = world.replicas - bounds(world.deployment)[1]
    new_missing = size(new) - new.status.available_replicas
    spare = total(world.all) - least - new_missing
    if spare <= 0:
        return []
    sizes = {one.metadata.name: size(one) for one in world.old}
    for one in versions.by_age(world.old):
        unhealthy = min(spare, sizes[one.metadata.name] - one.status.available_replicas)
        if unhealthy > 0:
            sizes[one.metadata.name] -= unhealthy
            spare -= unhealthy
    down = available(world.all) - least
    for one in versions.by_age(world.old):
        step = min(sizes[one.metadata.name], down)
        if step > 0:
            sizes[one.metadata.name] -= step
            down -= step
    return [(one, sizes[one.metadata.name]) for one in world.old if sizes[one.metadata.name] != size(one)]


def _scaled(world: World) -> list[tuple[apps.ReplicaSet, int]]:
    """All sets in proportion, when the Deployment is scaled or paused in the middle of a rollout."""
    active = [one for one in world.all if size(one)]
    if len(active) <= 1:
        only = active[0] if active else (world.new or _latest(world.old))
        return [(only, world.replicas)] if only is not None and _needs_note(world, only, world.replicas) else []
    new = world.new
    if new is not None and size(new) == world.replicas and new.status.available_replicas == world.replicas:
        return [(one, 0) for one in world.old if size(one)]
    if world.deployment.spec.strategy.type == "Recreate":
        return []
    allowed = most(world.deployment) if world.replicas else 0
    change = allowed - total(active)
    active = versions.by_age(active)
    if change > 0:
        active.reverse()
    active.sort(key=size, reverse=True)  # keeps the order of age among equals: the newest grow, the oldest shrink
    sizes: list[int] = []
    done = 0
    for one in active:
        share = _share(world, one, change, done)
        sizes.append(size(one) + share)
        done += share
    sizes[0] = max(0, sizes[0] + change - done)
    return [(one, wanted) for one, wanted in zip(active, sizes, strict=True) if _needs_note(world, one, wanted)]


def _needs_note(world: World, one: apps.ReplicaSet, wanted: int) -> bool:
    return wanted != size(one) or one.metadata.annotations.get(versions.DESIRED) != str(world.replicas)


def _share(world: World, one: apps.ReplicaSet, change: int, done: int) -> int:
    if not change or not size(one):
        return 0
    left = change - done
    noted = whole(one.metadata.annotations.get(versions.MAXIMUM, ""))
    before = noted or world.deployment.status.replicas or 1
    share = math.floor(size(one) * most(world.deployment) / before + 0.5) - size(one)
    if not world.replicas:
        share = -size(one)
    return min(share, left) if change > 0 else max(share, left)


def _latest(sets: Sequence[apps.ReplicaSet]) -> apps.ReplicaSet | None:
    return versions.by_age(sets)[-1] if sets else None
