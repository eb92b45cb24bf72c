"""How much disk a pod may use, and what is said of one that uses more. Pure. Called by node/agent/storage.py.

The limits are those of emptyDir volumes (sizeLimit) and of containers (ephemeral-storage: what they write into their
own file system, and their logs). All of them together may use what its containers may, volumes counted in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from skerry.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry.api.types import core

_KIND = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class Limits:
    """Quantities, as the pod's spec has them: of volumes and of containers by name, and of the whole pod ("": none)."""

    volumes: dict[str, str] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)
    pod: str = ""

    def __bool__(self) -> bool:
        return bool(self.volumes or self.containers)


def limits(pod: core.Pod) -> Limits:
    """What is limited. Volumes in memory are not: their file system is no larger than they may be."""
    volumes = {
        one.name: one.empty_dir.size_limit
        for one in pod.spec.volumes
        if one.empty_dir is not None and one.empty_dir.size_limit and not one.empty_dir.medium
    }
    sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
    found = {one.name: one.resources.limits.get(_KIND, "") for one in [*pod.spec.containers, *sidecars]}
    containers = {name: text for name, text in found.items() if text and quantity.whole(text)}
    return Limits(volumes, containers, _total(list(containers.values())))


def excess(allowed: Limits, volumes: Mapping[str, int], containers: Mapping[str, int]) -> str:
    """Upstream's sentence about the first limit that is exceeded, "" if none is; by bytes used of `volumes` ..."""
    for name, limit in allowed.volumes.items():
        if volumes.get(name, 0) > quantity.whole(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    if allowed.pod and sum(volumes.values()) + sum(containers.values()) > quantity.whole(allowed.pod):
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {allowed.pod}. "
    for name, limit in allowed.containers.items():
        if containers.get(name, 0) > quantity.whole(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def _total(texts: list[str]) -> str:
    """The sum, written as its first summand is."""
    if len(texts) < 2:
        return "".join(texts)
    number = sum(map(quantity.whole, texts))
    binary = texts[0].endswith("i") and number % 1024 == 0
    return quantity.canonical(f"{number // 1024}Ki" if binary else str(number))
