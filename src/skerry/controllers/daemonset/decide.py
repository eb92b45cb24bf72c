"""On which nodes a DaemonSet's pods are made and deleted next, and what its status says. Pure.

Making what is missing and renewing what is old are two steps: only what the first leaves alone is looked at by the
second, so that an update never takes more than maxUnavailable pods away, nor has more than maxSurge twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from skerry.api.percent import scaled
from skerry.api.types import apps, core
from skerry.controllers import owners
from skerry.controllers.daemonset import pods as placing
from skerry.controllers.revisions import HASH_LABEL


@dataclass
class Decision:
    """`create` are names of nodes. `failed` and `ended` are among `delete`."""

    create: list[str] = field(default_factory=list)
    delete: list[core.Pod] = field(default_factory=list)
    failed: list[core.Pod] = field(default_factory=list)
    ended: list[core.Pod] = field(default_factory=list)


@dataclass(frozen=True)
class World:
    """What is decided on. `pods` are the set's own, `digest` is the version of the present template."""

    daemonset: apps.DaemonSet
    pods: Sequence[core.Pod]
    nodes: Sequence[core.Node]
    digest: str
    now: float

    @cached_property
    def on(self) -> Mapping[str, list[core.Pod]]:
        return placing.by_node(self.pods)

    @cached_property
    def verdicts(self) -> Mapping[str, tuple[bool, bool]]:
        return {one.metadata.name: placing.belongs(self.daemonset, one) for one in self.nodes}

    @property
    def wanted(self) -> list[str]:
        """The nodes that should have a pod."""
        return [name for name, (should, _) in self.verdicts.items() if should]

    def is_new(self, pod: core.Pod) -> bool:
        return pod.metadata.labels.get(HASH_LABEL) == self.digest

    def available_in(self, pod: core.Pod) -> float | None:
        return owners.available_in(pod, self.daemonset.spec.min_ready_seconds, self.now)

    def is_available(self, pod: core.Pod) -> bool:
        return self.available_in(pod) == 0

    def pair(self, node: str) -> tuple[core.Pod | None, core.Pod | None]:
        """(the newest pod of a former version, the newest of this one), of those that are not going."""
        old = new = None
        for one in self.on.get(node, ()):
            if one.metadata.deletion_timestamp is None:
                if self.is_new(one):
                    new = one
                else:
                    old = one
        return old, new


def decide(world: World) -> Decision:
    """The next step. Nothing while the set is being deleted."""
    if world.daemonset.metadata.deletion_timestamp is not None:
        return Decision()
    out = manage(world)
    is_busy = bool(out.create) or len(out.delete) > len(out.failed)
    if is_busy or world.daemonset.spec.update_strategy.type != "RollingUpdate":
        return out
    more = renew(world)
    out.create = more.create
    out.delete += [one for one in more.delete if not any(one is other for other in out.failed)]
    return out


def manage(world: World) -> Decision:
    """A pod where one is missing; away with those that have ended, are too many or are where they should not be."""
    out = Decision()
    surge = _surge(world)[0] > 0
    for node in {*world.verdicts, *world.on}:
        found = world.on.get(node, [])
        if node not in world.verdicts:
            continue  # the node is gone: its pods go with it (controllers/podgc)
        should, may_stay = world.verdicts[node]
        if not may_stay:
            out.delete += [one for one in found if one.metadata.deletion_timestamp is None]
            continue
        if not found and should:
            out.create.append(node)
            continue
        running: list[core.Pod] = []
        for one in found:
            if one.metadata.deletion_timestamp is not None:
                continue
            if one.status.phase in ("Failed", "Succeeded"):
                (out.failed if one.status.phase == "Failed" else out.ended).append(one)
                out.delete.append(one)
            else:
                running.append(one)
        if should:
            out.delete += _surplus(world, running, surge)
    out.create.sort()
    return out


def _surplus(world: World, running: list[core.Pod], surge: bool) -> list[core.Pod]:
    """Of several pods on a node the oldest stays; of an update with surge an old and a new one."""
    if not surge:
        return running[1:]
    new = [one for one in running if world.is_new(one)]
    old = [one for one in running if not world.is_new(one)]
    return new[1:] + old[1:]


def _surge(world: World) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods."""
    rolling = world.daemonset.spec.update_strategy.rolling_update
    if world.daemonset.spec.update_strategy.type != "RollingUpdate" or rolling is None:
        return 0, 0
    count = len(world.wanted)
    surge = scaled(rolling.max_surge, count, up=True)
    unavailable = scaled(rolling.max_unavailable, count, up=True)
    return surge, 1 if not surge and not unavailable else unavailable


def renew(world: World) -> Decision:
    """The next step of a rolling update."""
    surge, unavailable = _surge(world)
    return _by_surge(world, surge) if surge else _by_gap(world, unavailable)


def _by_gap(world: World, most: int) -> Decision:
    """Old pods go, at most `most` pods are missing; those that are not available anyhow go at once."""
    missing, useless, candidates = 0, list[core.Pod](), list[core.Pod]()
    for node in world.wanted:
        old, new = world.pair(node)
        if (old is None) == (new is None):
            missing += 1
        elif new is not None:
            missing += not world.is_available(new)
        elif old is not None and not world.is_available(old):
            useless.append(old)
            missing += 1
        elif old is not None:
            candidates.append(old)
    return Decision(delete=[*useless, *candidates[: max(0, most - missing)]])


def _by_surge(world: World, most: int) -> Decision:
    """New pods come beside old ones, at most `most` of them; an old one goes when its new one is available."""
    out, doubled = Decision(), 0
    useless, candidates = list[str](), list[str]()
    for node in world.wanted:
        old, new = world.pair(node)
        if old is None:
            continue
        if new is None:
            (candidates if world.is_available(old) else useless).append(node)
        elif world.is_available(new) or not world.is_available(old):
            out.delete.append(old)
        else:
            doubled += 1
    out.create = [*useless, *candidates[: max(0, most - doubled)]]
    return out


def status(world: World) -> tuple[apps.DaemonSetStatus, float | None]:
    """(the status that the pods make, seconds until it changes by itself or None)."""
    desired = scheduled = misscheduled = ready = available = updated = 0
    waits: list[float] = []
    for node, (should, _) in world.verdicts.items():
        here = world.on.get(node, [])
        if not should:
            misscheduled += bool(here)
            continue
        desired += 1
        if not here:
            continue
        scheduled += 1
        # The newest that is ready speaks for the node: during an update with surge there are two.
        best = max(here, key=lambda one: (world.is_available(one), owners.is_ready(one), world.is_new(one)))
        if owners.is_ready(best):
            ready += 1
            left = world.available_in(best)
            available += left == 0
            waits += [left] if left else []
        updated += any(world.is_new(one) for one in here)
    known = world.daemonset.status
    made = msgspec.structs.replace(
        known,
        observed_generation=world.daemonset.metadata.generation,
        desired_number_scheduled=desired,
        current_number_scheduled=scheduled,
        number_misscheduled=misscheduled,
        number_ready=ready,
        number_available=available,
        number_unavailable=desired - available,
        updated_number_scheduled=updated,
    )
    return made, min(waits, default=None)
