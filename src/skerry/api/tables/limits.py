"""LimitRange and ResourceQuota."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, column
from skerry.api.tables.duration import since
from skerry.api.types import core

LIMITRANGE_COLUMNS = (NAME, column("Created At", "When it was created.", type="date"))
RESOURCEQUOTA_COLUMNS = (
    NAME,
    column("Request", "What is used of what may be requested or counted."),
    column("Limit", "What is used of what limits may add up to."),
    AGE,
)


def limitrange_cells(obj: core.LimitRange, now: float) -> list[Any]:  # noqa: ARG001
    return [obj.metadata.name, obj.metadata.creation_timestamp]


def resourcequota_cells(obj: core.ResourceQuota, now: float) -> list[Any]:
    said: dict[bool, list[str]] = {True: [], False: []}
    for name in sorted(obj.status.hard):
        said[name.startswith("limits")].append(f"{name}: {obj.status.used.get(name, '0')}/{obj.status.hard[name]}")
    return [
        obj.metadata.name,
        ", ".join(said[False]),
        ", ".join(said[True]),
        since(obj.metadata.creation_timestamp, now),
    ]
