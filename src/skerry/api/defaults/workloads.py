"""Defaults of Deployment (A1), ReplicaSet, StatefulSet and DaemonSet."""

from __future__ import annotations

from skerry.api.defaults import pod
from skerry.api.types import apps, core


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


def statefulset(obj: apps.StatefulSet) -> None:
    spec = obj.spec
    if spec.replicas is None:
        spec.replicas = 1
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    spec.pod_management_policy = spec.pod_management_policy or "OrderedReady"
    strategy = spec.update_strategy
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update = strategy.rolling_update or apps.RollingUpdateStatefulSetStrategy()
        if rolling.partition is None:
            rolling.partition = 0
        if rolling.max_unavailable is None:
            rolling.max_unavailable = 1
    kept = spec.persistent_volume_claim_retention_policy
    if kept is None:
        kept = spec.persistent_volume_claim_retention_policy = apps.StatefulSetPersistentVolumeClaimRetentionPolicy()
    kept.when_deleted = kept.when_deleted or "Retain"
    kept.when_scaled = kept.when_scaled or "Retain"
    for claim in spec.volume_claim_templates:
        _claim(claim)
    pod.spec(spec.template.spec)


def _claim(one: core.PersistentVolumeClaim) -> None:
    one.status.phase = one.status.phase or "Pending"
    if one.spec.volume_mode is None:
        one.spec.volume_mode = "Filesystem"


def daemonset(obj: apps.DaemonSet) -> None:
    spec = obj.spec
    if spec.revision_history_limit is None:
        spec.revision_history_limit = 10
    strategy = spec.update_strategy
    strategy.type = strategy.type or "RollingUpdate"
    if strategy.type == "RollingUpdate":
        rolling = strategy.rolling_update = strategy.rolling_update or apps.RollingUpdateDaemonSet()
        if rolling.max_unavailable is None:
            rolling.max_unavailable = 1
        if rolling.max_surge is None:
            rolling.max_surge = 0
    pod.spec(spec.template.spec)
