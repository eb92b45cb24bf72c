"""The claims of a pod, as the scheduler sees them: which nodes can have their volumes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from skerry.api import claims
from skerry.api.types import core, storage
from skerry.controllers.scheduler.books import Place
from skerry.controllers.scheduler.nodes import Refusal

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
NOTHING_THERE = "node(s) didn't find available persistent volumes to bind"


@dataclass
class Storage:
    """What a pod's claims mean. `problem`: why no node will do; `waiting`: claims that get their volume with a node."""

    problem: str = ""
    bound: list[core.PersistentVolume] = field(default_factory=list)
    waiting: list[core.PersistentVolumeClaim] = field(default_factory=list)
    on_their_way: bool = False
    """Whether a node was chosen for one of them already: the pod waits for that volume."""
    free: dict[str, list[core.PersistentVolume]] = field(default_factory=dict)
    """Volumes that a waiting claim could have, by its name."""
    provisioned: frozenset[str] = frozenset()
    """The waiting claims that a volume can be made for."""

    def refusal(self, place: Place) -> Refusal | None:
        """Why a node cannot have the volumes, None if it can."""
        if any(not claims.reached(one, place.name, place.labels) for one in self.bound):
            return Refusal((AFFINITY,))
        for one in self.waiting:
            name = one.metadata.name
            if name in self.provisioned or any(claims.reached(v, place.name, place.labels) for v in self.free[name]):
                continue
            return Refusal((NOTHING_THERE,))
        return None


def look(
    pod: core.Pod,
    claim_of: Callable[[str], core.PersistentVolumeClaim | None],
    class_of: Callable[[str], storage.StorageClass | None],
    volumes: Callable[[], Iterable[core.PersistentVolume]],
    volume_of: Callable[[str], core.PersistentVolume | None],
) -> Storage | None:
    """None for a pod without claims."""
    names = claims.names_of(pod)
    if not names:
        return None
    out = Storage()
    provisioned: set[str] = set()
    for name in names:
        claim = claim_of(f"{pod.metadata.namespace}/{name}")
        if claim is None:
            return Storage(problem=f'persistentvolumeclaim "{name}" not found')
        if claim.status.phase == "Lost":
            gone = claim.spec.volume_name
            return Storage(problem=f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{gone}"')
        if claim.metadata.deletion_timestamp:
            return Storage(problem=f'persistentvolumeclaim "{name}" is being deleted')
        if claims.is_bound(claim):
            volume = volume_of(claim.spec.volume_name)
            if volume is not None:
                out.bound.append(volume)
            continue
        if claim.metadata.annotations.keys() & {claims.SELECTED_NODE, claims.BIND_COMPLETED}:
            out.on_their_way = True
            continue
        chosen = class_of(claims.class_of(claim))
        if chosen is None or not claims.waits(claim, chosen):
            return Storage(problem=UNBOUND)
        out.waiting.append(claim)
        out.free[name] = [one for one in volumes() if claims.suits(one, claim)]
        if chosen.provisioner != claims.NO_PROVISIONER:
            provisioned.add(name)
    out.provisioned = frozenset(provisioned)
    return out
