"""Defaults of PersistentVolume, PersistentVolumeClaim and StorageClass."""

from __future__ import annotations

from skerry.api.types import core, storage


def persistentvolume(obj: core.PersistentVolume) -> None:
    obj.status.phase = obj.status.phase or "Pending"
    spec = obj.spec
    spec.persistent_volume_reclaim_policy = spec.persistent_volume_reclaim_policy or "Retain"
    if spec.volume_mode is None:
        spec.volume_mode = "Filesystem"
    if spec.host_path is not None and spec.host_path.type is None:
        spec.host_path.type = ""


def persistentvolumeclaim(obj: core.PersistentVolumeClaim) -> None:
    obj.status.phase = obj.status.phase or "Pending"
    if obj.spec.volume_mode is None:
        obj.spec.volume_mode = "Filesystem"


def storageclass(obj: storage.StorageClass) -> None:
    if obj.reclaim_policy is None:
        obj.reclaim_policy = "Delete"
    if obj.volume_binding_mode is None:
        obj.volume_binding_mode = "Immediate"
