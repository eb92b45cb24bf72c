"""Checks of PersistentVolume, PersistentVolumeClaim and StorageClass."""

from __future__ import annotations

from skerry.api import codec, quantity
from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported, field_required
from skerry.api.types import core, storage
from skerry.api.validation import meta as checks
from skerry.api.validation import names, volumes
from skerry.api.validation.errors import checked, shown, unchanged

_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_POLICIES = ("Delete", "Recycle", "Retain")
_VOLUME_MODES = ("Block", "Filesystem")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_NO_SOURCE = ("capacity", "access_modes", "claim_ref", "persistent_volume_reclaim_policy", "storage_class_name",
              "mount_options", "volume_mode", "node_affinity", "volume_attributes_class_name")  # fmt: skip
_SIZED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _access(path: str, modes: list[str]) -> list[FieldError]:
    if not modes:
        return [field_required(path, "at least 1 access mode is required")]
    out = [field_not_supported(path, one, _MODES) for one in modes if one not in _MODES]
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        out.append(field_forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return out


def _size(path: str, text: str) -> list[FieldError]:
    try:
        value = quantity.parse(text)
    except ValueError as error:
        return [field_invalid(path, text, str(error))]
    return [] if value > 0 else [field_invalid(path, text, "must be greater than zero")]


def create_persistentvolume(obj: core.PersistentVolume) -> list[FieldError]:
    """A new PersistentVolume."""
    spec = obj.spec
    out = _access("spec.accessModes", spec.access_modes)
    if not spec.capacity:
        out.append(field_required("spec.capacity"))
    elif list(spec.capacity) != ["storage"]:
        out.append(field_not_supported("spec.capacity", shown(spec.capacity), ["storage"]))
    for name, text in sorted(spec.capacity.items()):
        out += _size(f"spec.capacity[{name}]", text)
    if spec.persistent_volume_reclaim_policy not in _POLICIES:
        path = "spec.persistentVolumeReclaimPolicy"
        out.append(field_not_supported(path, spec.persistent_volume_reclaim_policy, _POLICIES))
    return out + _source(spec)


def _source(spec: core.PersistentVolumeSpec) -> list[FieldError]:
    out: list[FieldError] = []
    sources = [name for name in spec.__struct_fields__ if name not in _NO_SOURCE and getattr(spec, name) is not None]
    if not sources:
        out.append(field_required("spec", "must specify a volume type"))
    out += [field_forbidden(f"spec.{name}", "may not specify more than 1 volume type") for name in sources[1:]]
    if spec.host_path is not None:
        out += volumes.host_path(spec.host_path, "spec.hostPath")
    if spec.local is not None:
        if not spec.local.path:
            out.append(field_required("spec.local.path"))
        if spec.node_affinity is None:
            out.append(field_required("spec.nodeAffinity", "Local volume requires node affinity"))
    if spec.storage_class_name:
        out += checked("spec.storageClassName", spec.storage_class_name, names.dns1123_subdomain)
    if spec.volume_mode is not None and spec.volume_mode not in _VOLUME_MODES:
        out.append(field_not_supported("spec.volumeMode", spec.volume_mode, _VOLUME_MODES))
    if spec.node_affinity is not None and spec.node_affinity.required is None:
        out.append(field_required("spec.nodeAffinity.required", "must specify required node constraints"))
    return out


def update_persistentvolume(new: core.PersistentVolume, old: core.PersistentVolume) -> list[FieldError]:
    """A PersistentVolume that exists: where its data is stays."""
    out = create_persistentvolume(new)

    def source(one: core.PersistentVolume) -> dict[str, object]:
        return {n: getattr(one.spec, n) for n in one.spec.__struct_fields__ if n not in _NO_SOURCE}

    if source(new) != source(old):
        out.append(
            field_forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
        )
    out += unchanged("spec.volumeMode", new.spec.volume_mode, old.spec.volume_mode)
    if old.spec.node_affinity is not None:
        out += unchanged("spec.nodeAffinity", new.spec.node_affinity, old.spec.node_affinity)
    return out


def create_persistentvolumeclaim(obj: core.PersistentVolumeClaim) -> list[FieldError]:
    """A new PersistentVolumeClaim."""
    spec = obj.spec
    out = _access("spec.accessModes", spec.access_modes)
    if spec.selector is not None:
        out += checks.label_selector("spec.selector", spec.selector)
    text = spec.resources.requests.get("storage")
    out += [field_required("spec.resources[storage]")] if text is None else _size("spec.resources[storage]", text)
    if spec.storage_class_name:
        out += checked("spec.storageClassName", spec.storage_class_name, names.dns1123_subdomain)
    if spec.volume_mode is not None and spec.volume_mode not in _VOLUME_MODES:
        out.append(field_not_supported("spec.volumeMode", spec.volume_mode, _VOLUME_MODES))
    return out


def update_persistentvolumeclaim(new: core.PersistentVolumeClaim, old: core.PersistentVolumeClaim) -> list[FieldError]:
    """A PersistentVolumeClaim that exists: it may be given its volume, and grow when it has one."""
    out = create_persistentvolumeclaim(new)
    after, before = codec.copy(new.spec), codec.copy(old.spec)
    if not before.volume_name:
        before.volume_name = after.volume_name
    if before.storage_class_name is None:
        before.storage_class_name = after.storage_class_name
    asked, had = (one.resources.requests.get("storage", "0") for one in (after, before))
    if old.status.phase == "Bound" and quantity.valid(asked) and quantity.parse(asked) >= quantity.parse(had):
        before.resources.requests = dict(after.resources.requests)
    if after != before:
        out.append(field_forbidden("spec", _SIZED))
    return out


def create_storageclass(obj: storage.StorageClass) -> list[FieldError]:
    """A new StorageClass."""
    out: list[FieldError] = []
    if not obj.provisioner:
        out.append(field_required("provisioner"))
    else:
        out += checked("provisioner", obj.provisioner.lower(), names.qualified_name)
    if obj.reclaim_policy not in ("Delete", "Retain"):
        out.append(field_not_supported("reclaimPolicy", obj.reclaim_policy, ("Delete", "Retain")))
    if obj.volume_binding_mode not in _BINDING:
        out.append(field_not_supported("volumeBindingMode", obj.volume_binding_mode, _BINDING))
    return out


def update_storageclass(new: storage.StorageClass, old: storage.StorageClass) -> list[FieldError]:
    """A StorageClass that exists: how volumes are made stays."""
    out = create_storageclass(new)
    if new.parameters != old.parameters:
        out.append(field_forbidden("parameters", "updates to parameters are forbidden."))
    if new.provisioner != old.provisioner:
        out.append(field_forbidden("provisioner", "updates to provisioner are forbidden."))
    out += unchanged("reclaimPolicy", new.reclaim_policy, old.reclaim_policy)
    return out + unchanged("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)
