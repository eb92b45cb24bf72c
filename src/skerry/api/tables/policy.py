"""PodDisruptionBudget."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, column
from skerry.api.tables.duration import since
from skerry.api.types import policy

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


def _shown(value: int | str | None) -> str:
    return "N/A" if value is None else str(value)
