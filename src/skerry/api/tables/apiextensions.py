"""Columns of CustomResourceDefinitions (T1)."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import NAME, column
from skerry.api.types import apiextensions

CUSTOMRESOURCEDEFINITION_COLUMNS = (NAME, column("Created At", "When the object was created.", type="date"))


def customresourcedefinition_cells(obj: apiextensions.CustomResourceDefinition, _now: float) -> list[Any]:
    return [obj.metadata.name, obj.metadata.creation_timestamp]
