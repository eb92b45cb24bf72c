"""Which taints a pod tolerates, and for how long. Pure. Called by controllers that look at taints."""

from __future__ import annotations

from collections.abc import Iterable

from skerry.api.types import core


def tolerates(toleration: core.Toleration, taint: core.Taint) -> bool:
    """Whether one toleration covers one taint. An empty key with Exists covers all, an empty effect every effect."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return not toleration.key or toleration.key == taint.key
    return toleration.key == taint.key and toleration.value == taint.value


def seconds_to_stay(tolerations: Iterable[core.Toleration], taints: Iterable[core.Taint]) -> float | None:
    """How long a pod may stay on a node with these NoExecute taints: 0 not at all, None for ever.

    Of several tolerations for one taint the first counts; of several taints the one that is tolerated shortest.
    """
    known = list(tolerations)
    shortest: float | None = None
    for taint in taints:
        found = next((one for one in known if tolerates(one, taint)), None)
        if found is None:
            return 0.0
        if found.toleration_seconds is not None:
            seconds = max(0.0, float(found.toleration_seconds))
            shortest = seconds if shortest is None else min(shortest, seconds)
    return shortest
