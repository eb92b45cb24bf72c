"""The QoS class of a pod, from its resources. Called by the API server when a pod is created, and by the node agent."""

from __future__ import annotations

from skerry.api import quantity
from skerry.api.types import core

_COUNTED = ("cpu", "memory")


def _positive(resources: dict[str, str]) -> set[str]:
    return {name for name in _COUNTED if name in resources and quantity.parse(resources[name]) > 0}


def qos_class(spec: core.PodSpec) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`; init containers count too. ValueError for a bad quantity."""
    if spec.resources is not None and (_positive(spec.resources.limits) or _positive(spec.resources.requests)):
        return _of([spec.resources])
    return _of([one.resources for one in [*spec.containers, *spec.init_containers]])


def _of(all_resources: list[core.ResourceRequirements]) -> str:
    requested = any(_positive(one.requests) for one in all_resources)
    limited = any(_positive(one.limits) for one in all_resources)
    if not requested and not limited:
        return "BestEffort"
    for one in all_resources:
        if _positive(one.limits) != set(_COUNTED):
            return "Burstable"
        for name in _COUNTED:
            asked = one.requests.get(name)
            if asked is not None and quantity.parse(asked) != quantity.parse(one.limits[name]):
                return "Burstable"
    return "Guaranteed"
