"""Defaults of Deployment (A1) and ReplicaSet."""

from __future__ import annotations

from skerry.api.defaults import pod
from skerry.api.types import apps


def deployment(obj: apps.Deployment) -> None:
    spec = obj.spec
    if spec.replicas is None:
        spec.replicas = 1
    strategy = spec.strategy
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update = strategy.rolling_update or apps.RollingUpdateDeployment()
        if rolling.max_unavailable is None:
            rolling.max_unavailable = "25%"
        if rolling.max_surge is None:
            rolling.max_surge = "25%"
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    if spec.progress_deadline_seconds is None:
        spec.progress_deadline_seconds = 600
    pod.spec(spec.template.spec)


def replicaset(obj: apps.ReplicaSet) -> None:
    if obj.spec.replicas is None:
        obj.spec.replicas = 1
    pod.spec(obj.spec.template.spec)
