"""PersistentVolume, PersistentVolumeClaim and StorageClass."""

from __future__ import annotations

from typing import Any

from skerry.api.claims import IS_DEFAULT, class_of
from skerry.api.tables.column import AGE, NAME, UNSET, column
from skerry.api.tables.duration import since
from skerry.api.types import core, storage

_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_ATTRIBUTES = column("VolumeAttributesClass", "Always unset here.")
_MODE = column("VolumeMode", "A file system or a block device.", wide=True)

PERSISTENTVOLUME_COLUMNS = (
    NAME,
    column("Capacity", "How much there is."),
    column("Access Modes", "How it may be mounted."),
    column("Reclaim Policy", "What becomes of it when its claim is gone."),
    column("Status", "Available, Bound, Released or Failed."),
    column("Claim", "Whose it is."),
    column("StorageClass", "Its class."),
    _ATTRIBUTES,
    column("Reason", "Why it is in this state."),
    AGE,
    _MODE,
)
PERSISTENTVOLUMECLAIM_COLUMNS = (
    NAME,
    column("Status", "Pending, Bound or Lost; Terminating while something uses it."),
    column("Volume", "The volume that it has."),
    column("Capacity", "How much that is."),
    column("Access Modes", "How it may be mounted."),
    column("StorageClass", "Its class."),
    _ATTRIBUTES,
    AGE,
    _MODE,
)
STORAGECLASS_COLUMNS = (
    NAME,
    column("Provisioner", "Who makes its volumes."),
    column("ReclaimPolicy", "What becomes of them when their claims are gone."),
    column("VolumeBindingMode", "When claims get theirs."),
    column("AllowVolumeExpansion", "Whether they may grow.", type="boolean"),
    AGE,
)


def _modes(modes: list[str]) -> str:
    return ",".join(dict.fromkeys(_SHORT[one] for one in _SHORT if one in modes))


def persistentvolume_cells(obj: core.PersistentVolume, now: float) -> list[Any]:
    spec, ref = obj.spec, obj.spec.claim_ref
    return [
        obj.metadata.name,
        spec.capacity.get("storage", ""),
        _modes(spec.access_modes),
        spec.persistent_volume_reclaim_policy,
        "Terminating" if obj.metadata.deletion_timestamp else obj.status.phase,
        f"{ref.namespace}/{ref.name}" if ref is not None else "",
        spec.storage_class_name,
        spec.volume_attributes_class_name or UNSET,
        obj.status.reason,
        since(obj.metadata.creation_timestamp, now),
        spec.volume_mode or UNSET,
    ]


def persistentvolumeclaim_cells(obj: core.PersistentVolumeClaim, now: float) -> list[Any]:
    bound = bool(obj.spec.volume_name)
    return [
        obj.metadata.name,
        "Terminating" if obj.metadata.deletion_timestamp else obj.status.phase,
        obj.spec.volume_name,
        obj.status.capacity.get("storage", "") if bound else "",
        _modes(obj.status.access_modes) if bound else "",
        class_of(obj),
        obj.spec.volume_attributes_class_name or UNSET,
        since(obj.metadata.creation_timestamp, now),
        obj.spec.volume_mode or UNSET,
    ]


def storageclass_cells(obj: storage.StorageClass, now: float) -> list[Any]:
    name = obj.metadata.name
    return [
        f"{name} (default)" if obj.metadata.annotations.get(IS_DEFAULT) == "true" else name,
        obj.provisioner,
        obj.reclaim_policy or "Delete",
        obj.volume_binding_mode or "Immediate",
        bool(obj.allow_volume_expansion),
        since(obj.metadata.creation_timestamp, now),
    ]
