"""ConfigMap (T17) and Secret. A ServiceAccount is printed as any kind is: its secrets are not counted since 1.35."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, column
from skerry.api.tables.duration import since
from skerry.api.types import core

CONFIGMAP_COLUMNS = (NAME, column("Data", "How many keys it has."), AGE)
SECRET_COLUMNS = (NAME, column("Type", "What the data is for."), column("Data", "How many keys it has."), AGE)


def configmap_cells(obj: core.ConfigMap, now: float) -> list[Any]:
    keys = len(obj.data) + len(obj.binary_data)
    return [obj.metadata.name, keys, since(obj.metadata.creation_timestamp, now)]


def secret_cells(obj: core.Secret, now: float) -> list[Any]:
    return [obj.metadata.name, obj.type, len(obj.data), since(obj.metadata.creation_timestamp, now)]
