"""StatefulSet, DaemonSet and ControllerRevision."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, column, containers, pairs, selector
from skerry.api.tables.duration import since
from skerry.api.tables.workloads import WIDE
from skerry.api.types import apps

STATEFULSET_COLUMNS = (
    NAME,
    column("Ready", "Pods that are ready, of those wanted."),
    AGE,
    *WIDE[:2],
)

DAEMONSET_COLUMNS = (
    NAME,
    column("Desired", "How many nodes should run a pod.", type="integer"),
    column("Current", "How many of them have one.", type="integer"),
    column("Ready", "How many of them have one that is ready.", type="integer"),
    column("Up-to-date", "How many of them have one made from the current template.", type="integer"),
    column("Available", "How many of them have one that has been ready for long enough.", type="integer"),
    column("Node Selector", "Labels of the nodes that should run a pod."),
    AGE,
    *WIDE,
)

CONTROLLERREVISION_COLUMNS = (
    NAME,
    column("Controller", "What it is a version of."),
    column("Revision", "The number of the version.", type="integer"),
    AGE,
)


def statefulset_cells(obj: apps.StatefulSet, now: float) -> list[Any]:
    wanted = 1 if obj.spec.replicas is None else obj.spec.replicas
    return [
        obj.metadata.name,
        f"{obj.status.ready_replicas}/{wanted}",
        since(obj.metadata.creation_timestamp, now),
        *containers(obj.spec.template.spec),
    ]


def daemonset_cells(obj: apps.DaemonSet, now: float) -> list[Any]:
    status = obj.status
    return [
        obj.metadata.name,
        status.desired_number_scheduled,
        status.current_number_scheduled,
        status.number_ready,
        status.updated_number_scheduled,
        status.number_available,
        pairs(obj.spec.template.spec.node_selector),
        since(obj.metadata.creation_timestamp, now),
        *containers(obj.spec.template.spec),
        selector(obj.spec.selector),
    ]


def controllerrevision_cells(obj: apps.ControllerRevision, now: float) -> list[Any]:
    owner = next((one for one in obj.metadata.owner_references if one.controller), None)
    name = NONE
    if owner is not None:
        group = owner.api_version.partition("/")[0] if "/" in owner.api_version else ""
        name = f"{owner.kind.lower()}.{group}/{owner.name}" if group else f"{owner.kind.lower()}/{owner.name}"
    return [obj.metadata.name, name, obj.revision, since(obj.metadata.creation_timestamp, now)]
