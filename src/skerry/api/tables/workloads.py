"""Deployment (T9), ReplicaSet (T10) and the Scale of either."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, column, containers, selector
from skerry.api.tables.duration import since
from skerry.api.types import apps, autoscaling

WIDE = (
    column("Containers", "Names of the containers in the template.", wide=True),
    column("Images", "Images of the containers in the template.", wide=True),
    column("Selector", "Labels of the pods that belong to it.", wide=True),
)

DEPLOYMENT_COLUMNS = (
    NAME,
    column("Ready", "Pods that are ready, of those wanted."),
    column("Up-to-date", "Pods made from the current template."),
    column("Available", "Pods that have been ready for long enough."),
    AGE,
    *WIDE,
)

REPLICASET_COLUMNS = (
    NAME,
    column("Desired", "How many pods are wanted.", type="integer"),
    column("Current", "How many pods there are.", type="integer"),
    column("Ready", "How many of them are ready.", type="integer"),
    AGE,
    *WIDE,
)

SCALE_COLUMNS = (
    NAME,
    column("Desired", "How many pods are wanted.", type="integer"),
    column("Available", "How many pods there are.", type="integer"),
    AGE,
)


def _wanted(replicas: int | None) -> int:
    return 1 if replicas is None else replicas


def deployment_cells(obj: apps.Deployment, now: float) -> list[Any]:
    status = obj.status
    return [
        obj.metadata.name,
        f"{status.ready_replicas}/{_wanted(obj.spec.replicas)}",
        status.updated_replicas,
        status.available_replicas,
        since(obj.metadata.creation_timestamp, now),
        *containers(obj.spec.template.spec),
        selector(obj.spec.selector),
    ]


def replicaset_cells(obj: apps.ReplicaSet, now: float) -> list[Any]:
    return [
        obj.metadata.name,
        _wanted(obj.spec.replicas),
        obj.status.replicas,
        obj.status.ready_replicas,
        since(obj.metadata.creation_timestamp, now),
        *containers(obj.spec.template.spec),
        selector(obj.spec.selector),
    ]


def scale_cells(obj: autoscaling.Scale, now: float) -> list[Any]:
    age = since(obj.metadata.creation_timestamp, now)
    return [obj.metadata.name, obj.spec.replicas, obj.status.replicas, age]
