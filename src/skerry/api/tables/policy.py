"""PodDisruptionBudget, PriorityClass."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, column
from skerry.api.tables.duration import since
from skerry.api.types import policy, scheduling

PODDISRUPTIONBUDGET_COLUMNS = (
    NAME,
    column("Min Available", "How many pods must stay."),
    column("Max Unavailable", "How many pods may be away."),
    column("Allowed Disruptions", "How many pods may be evicted now.", type="integer"),
    AGE,
)


def poddisruptionbudget_cells(obj: policy.PodDisruptionBudget, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        _shown(obj.spec.min_available),
        _shown(obj.spec.max_unavailable),
        obj.status.disruptions_allowed,
        since(obj.metadata.creation_timestamp, now),
    ]


PRIORITYCLASS_COLUMNS = (
    NAME,
    column("Value", "How important pods of this class are: higher is more.", type="integer"),
    column("Global-Default", "Whether pods without a class get this one.", type="boolean"),
    AGE,
    column("PreemptionPolicy", "Whether pods of this class may send less important ones away."),
)


def priorityclass_cells(obj: scheduling.PriorityClass, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        obj.value,
        obj.global_default,
        since(obj.metadata.creation_timestamp, now),
        obj.preemption_policy or "",
    ]


def _shown(value: int | str | None) -> str:
    return "N/A" if value is None else str(value)
