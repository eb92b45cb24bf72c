"""What makes an object invalid, and what the server says of it. Called by the API server before it stores anything.

`create` and `update` take typed objects with their defaults applied and return FieldErrors, none if all is well.
One file a subject; names.py and meta.py are what all of them stand on.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from skerry.api import resources
from skerry.api.status import FieldError
from skerry.api.unstructured import Unstructured
from skerry.api.validation import ip, meta, names

_NAMES: dict[str, names.Check] = {
    "Namespace": names.dns1123_label,
    # S8: since 1.36 a Service may begin with a digit.
    "Service": names.dns1123_label,
    "Event": names.path_segment,
    "Role": names.path_segment,
    "ClusterRole": names.path_segment,
    "RoleBinding": names.path_segment,
    "ClusterRoleBinding": names.path_segment,
    "IPAddress": ip.as_name,
}

_LOOSE = ("apiextensions", "admissionregistration")
"""Modules of kinds whose finalizers need no prefix."""

_SUBJECTS = {
    "Service": "service",
    "Endpoints": "endpoints",
    "EndpointSlice": "endpoints",
    "Pod": "pod",
    "Deployment": "workloads",
    "ReplicaSet": "workloads",
    "StatefulSet": "sets",
    "DaemonSet": "sets",
    "ControllerRevision": "sets",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "ConfigMap": "config",
    "Secret": "config",
    "ServiceAccount": "config",
    "Namespace": "cluster",
    "Node": "cluster",
    "Lease": "cluster",
    "Acknowledgement": "cluster",
    "Event": "cluster",
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
    "HorizontalPodAutoscaler": "autoscaling",
    "RuntimeClass": "stored",
    "ServiceCIDR": "stored",
    "IPAddress": "stored",
    "Role": "rbac",
    "ClusterRole": "rbac",
    "RoleBinding": "rbac",
    "ClusterRoleBinding": "rbac",
}


@functools.cache
def _function(kind: str, verb: str) -> Callable[..., list[FieldError]] | None:
    subject = _SUBJECTS.get(kind)
    if subject is None:
        return None
    module = importlib.import_module(f"skerry.api.validation.{subject}")
    found: Callable[..., list[FieldError]] | None = getattr(module, f"{verb}_{kind.lower()}", None)
    return found


def create(obj: Any, *, known: bool = False) -> list[FieldError]:
    """What is wrong with a new object, its name already generated.

    `known`: it is a pod, and the same but for its metadata was found good before.
    """
    if isinstance(obj, Unstructured):
        found: list[FieldError] = importlib.import_module("skerry.api.validation.custom").create(obj)
        return found
    resource = resources.of(type(obj))
    name = _NAMES.get(resource.kind, names.dns1123_subdomain)
    out = meta.create(obj.metadata, resource.namespaced, name)
    if resource.module not in _LOOSE:
        for i, one in enumerate(obj.metadata.finalizers):
            out += meta.prefixed(f"metadata.finalizers[{i}]", one)
    own = _function(resource.kind, "known" if known else "create")
    return out + own(obj) if own is not None else out


def update(new: Any, old: Any, subresource: str = "") -> list[FieldError]:
    """What is wrong with changing `old` into `new`.

    A write of `status` has its status checked, one of `ephemeralcontainers` these; one of `binding` sets what nobody
    else may, and is not looked at.
    """
    if isinstance(new, Unstructured):
        made: list[FieldError] = importlib.import_module("skerry.api.validation.custom").update(new, old, subresource)
        return made
    out = meta.update(new.metadata, old.metadata)
    kind = type(new).__name__
    if subresource == "binding":
        return out
    own = _function(kind, {"status": "status", "ephemeralcontainers": "debug"}.get(subresource, "update"))
    return out + own(new, old) if own is not None else out
