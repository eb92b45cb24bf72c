"""Values that fields have when a client leaves them out. Called by the API server on every object that it is sent.

`apply` is idempotent: it fills what is empty and never changes what was said. One file a subject.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

_SUBJECTS = {
    "Service": "service",
    "Endpoints": "service",
    "EndpointSlice": "service",
    "Pod": "pod",
    "Deployment": "workloads",
    "ReplicaSet": "workloads",
    "StatefulSet": "workloads",
    "DaemonSet": "workloads",
    "Job": "batch",
    "CronJob": "batch",
    "Secret": "others",
    "Namespace": "others",
    "Node": "others",
    "IngressClass": "others",
    "PriorityClass": "others",
    "CustomResourceDefinition": "apiextensions",
    "MutatingWebhookConfiguration": "webhooks",
    "ValidatingWebhookConfiguration": "webhooks",
    "LimitRange": "limits",
    "PersistentVolume": "storage",
    "PersistentVolumeClaim": "storage",
    "StorageClass": "storage",
    "NetworkPolicy": "stored",
    "HorizontalPodAutoscaler": "stored",
    "RoleBinding": "rbac",
    "ClusterRoleBinding": "rbac",
}


@functools.cache
def _function(kind: str) -> Callable[[Any], None] | None:
    subject = _SUBJECTS.get(kind)
    if subject is None:
        return None
    found: Callable[[Any], None] = getattr(importlib.import_module(f"skerry.api.defaults.{subject}"), kind.lower())
    return found


def apply(obj: Any) -> None:
    """Fills in a typed object's defaults, in place."""
    own = _function(type(obj).__name__)
    if own is not None:
        own(obj)
