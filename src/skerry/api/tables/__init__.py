"""What `kubectl get` prints: columns and cells of every kind (T1-T17). Called by the API server for Table requests.

A subject's file has, per kind, a tuple of columns and a function from an object and the time to its cells.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from skerry.api import codec
from skerry.api.custom import CustomResource
from skerry.api.resources import Resource
from skerry.api.tables import custom
from skerry.api.tables.column import Column, column
from skerry.api.tables.duration import since
from skerry.api.types import autoscaling
from skerry.api.unstructured import Unstructured

Cells = Callable[[Any, float], list[Any]]


class Printed(NamedTuple):
    """How a kind is printed."""

    columns: tuple[Column, ...]
    cells: Cells


_SUBJECTS = {
    "Pod": "pod",
    "Service": "service",
    "Endpoints": "service",
    "EndpointSlice": "service",
    "Deployment": "workloads",
    "ReplicaSet": "workloads",
    "StatefulSet": "sets",
    "DaemonSet": "sets",
    "ControllerRevision": "sets",
    "Job": "jobs",
    "CronJob": "jobs",
    "Scale": "workloads",
    "Node": "cluster",
    "Namespace": "cluster",
    "Event": "cluster",
    "Lease": "cluster",
    "Acknowledgement": "cluster",
    "ConfigMap": "config",
    "Secret": "config",
    "PodDisruptionBudget": "policy",
    "PriorityClass": "policy",
    "Ingress": "ingress",
    "IngressClass": "ingress",
    "CustomResourceDefinition": "apiextensions",
    "MutatingWebhookConfiguration": "webhooks",
    "ValidatingWebhookConfiguration": "webhooks",
    "LimitRange": "limits",
    "ResourceQuota": "limits",
    "PersistentVolume": "storage",
    "PersistentVolumeClaim": "storage",
    "StorageClass": "storage",
    "NetworkPolicy": "stored",
    "HorizontalPodAutoscaler": "stored",
    "RuntimeClass": "stored",
    "ServiceCIDR": "stored",
    "IPAddress": "stored",
    "Role": "rbac",
    "ClusterRole": "rbac",
    "RoleBinding": "rbac",
    "ClusterRoleBinding": "rbac",
}

_GENERIC = (
    column("Name", "The object's name, unique in its namespace.", format="name"),
    column("Age", "Time since the object was created."),
)


@functools.cache
def _printed(kind: str) -> Printed:
    subject = _SUBJECTS.get(kind)
    if subject is None:
        return Printed(_GENERIC, lambda obj, now: [obj.metadata.name, since(obj.metadata.creation_timestamp, now)])
    module = importlib.import_module(f"skerry.api.tables.{subject}")
    return Printed(getattr(module, f"{kind.upper()}_COLUMNS"), getattr(module, f"{kind.lower()}_cells"))


def columns(resource: Resource) -> list[dict[str, Any]]:
    """The columnDefinitions of a kind."""
    if isinstance(resource, CustomResource):
        return [one._asdict() for one in custom.printed(resource)[0]]
    return _columns(resource.kind)


def _columns(kind: str) -> list[dict[str, Any]]:
    return [one._asdict() for one in _printed(kind).columns]


def cells(obj: Any, now: float) -> list[Any]:
    """The cells of one object's row; `now` in seconds since 1970 makes ages."""
    if isinstance(obj, Unstructured):
        return custom.cells(obj, now)
    return _printed(type(obj).__name__).cells(obj, now)


def row(obj: Any, now: float, include: str = "Metadata") -> dict[str, Any]:
    """One row. `include` says what goes with the cells: `Metadata` (or ""), `Object` or `None` (T1)."""
    out: dict[str, Any] = {"cells": cells(obj, now)}
    if type(obj).__name__ == "Pod":
        conditions = importlib.import_module("skerry.api.tables.pod").conditions(obj)
        if conditions:
            out["conditions"] = conditions
    match include:
        case "None":
            out["object"] = None
        case "Object":
            out["object"] = codec.plain(obj)
        case _:
            out["object"] = {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": codec.plain(obj.metadata),
            }
    return out


def table(
    resource: Resource,
    items: Iterable[Any],
    now: float,
    include: str = "Metadata",
    *,
    metadata: dict[str, Any] | None = None,
    with_columns: bool = True,
) -> dict[str, Any]:
    """A Table of typed objects as plain values. `metadata` is the list's (resourceVersion, continue); later events of
    a watch leave the columns out.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata or {},
        "columnDefinitions": columns(resource) if with_columns else None,
        "rows": [row(one, now, include) for one in items],
    }


def scale(obj: autoscaling.Scale, now: float) -> dict[str, Any]:
    """A Table of the Scale of one workload."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": obj.metadata.resource_version},
        "columnDefinitions": _columns("Scale"),
        "rows": [row(obj, now)],
    }
