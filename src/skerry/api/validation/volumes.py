"""Checks of a pod's volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from skerry.api import quantity
from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from skerry.api.types import core
from skerry.api.types._build import fields
from skerry.api.validation import names
from skerry.api.validation.environment import VOLUME_FIELDS, field_ref, resource_ref
from skerry.api.validation.errors import checked

_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def volumes(values: Sequence[core.Volume], path: str) -> list[FieldError]:
    """Every volume, and that no two have one name."""
    out: list[FieldError] = []
    seen: set[str] = set()
    for i, one in enumerate(values):
        at = f"{path}[{i}]"
        out += _volume(one, at)
        if not one.name:
            out.append(field_required(f"{at}.name"))
            continue
        out += checked(f"{at}.name", one.name, names.dns1123_label)
        if one.name in seen:
            out.append(field_duplicate(f"{at}.name", one.name))
        seen.add(one.name)
    return out


def _volume(one: core.Volume, path: str) -> list[FieldError]:
    json_names = [row.json for row in fields("core", "Volume") if row.json != "name"]
    attributes = [name for name in one.__struct_fields__ if name != "name"]
    given = [
        (json, attribute)
        for json, attribute in zip(json_names, attributes, strict=True)
        if getattr(one, attribute) is not None
    ]
    if not given:
        return [field_required(path, "must specify a volume type")]
    out: list[FieldError] = []
    for json, _ in given[1:]:
        out.append(field_forbidden(f"{path}.{json}", "may not specify more than 1 volume type"))
    json, attribute = given[0]
    check = _CHECKS.get(attribute)
    return out + check(getattr(one, attribute), f"{path}.{json}") if check is not None else out


def _empty_dir(one: core.EmptyDirVolumeSource, path: str) -> list[FieldError]:
    limit = one.size_limit
    if limit is None or (quantity.valid(limit) and quantity.parse(limit) >= 0):
        return []
    return [field_forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]


def host_path(one: core.HostPathVolumeSource, path: str) -> list[FieldError]:
    """A path of the node."""
    if not one.path:
        return [field_required(f"{path}.path")]
    out: list[FieldError] = []
    if ".." in one.path.split("/"):
        out.append(field_invalid(f"{path}.path", one.path, "must not contain '..'"))
    if one.type is not None and one.type not in _HOST_PATH_TYPES:
        out.append(field_not_supported(f"{path}.type", one.type, _HOST_PATH_TYPES))
    return out


def mode(path: str, value: int | None) -> list[FieldError]:
    """Permission bits."""
    return [] if value is None or 0 <= value <= 0o777 else [field_invalid(path, value, _MODE)]


def local_path(path: str, value: str) -> list[FieldError]:
    """Where a file goes inside a volume: relative, never climbing, not beginning with two dots."""
    out: list[FieldError] = []
    if value.startswith("/"):
        out.append(field_invalid(path, value, "must be a relative path"))
    if ".." in value.split("/"):
        out.append(field_invalid(path, value, "must not contain '..'"))
    if value.startswith("..") and not value.startswith("../"):
        out.append(field_invalid(path, value, "must not start with '..'"))
    return out


def _items(items: Sequence[core.KeyToPath], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for i, one in enumerate(items):
        at = f"{path}.items[{i}]"
        if not one.key:
            out.append(field_required(f"{at}.key"))
        out += local_path(f"{at}.path", one.path) if one.path else [field_required(f"{at}.path")]
        out += mode(f"{at}.mode", one.mode)
    return out


def _secret(one: core.SecretVolumeSource, path: str) -> list[FieldError]:
    out = [] if one.secret_name else [field_required(f"{path}.secretName")]
    return out + mode(f"{path}.defaultMode", one.default_mode) + _items(one.items, path)


def _config_map(one: core.ConfigMapVolumeSource, path: str) -> list[FieldError]:
    out = [] if one.name else [field_required(f"{path}.name")]
    return out + mode(f"{path}.defaultMode", one.default_mode) + _items(one.items, path)


def _files(items: Sequence[core.DownwardAPIVolumeFile], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for i, one in enumerate(items):
        at = f"{path}.items[{i}]"
        out += local_path(f"{at}.path", one.path) if one.path else [field_required(f"{at}.path")]
        if one.field_ref is not None:
            out += field_ref(f"{at}.fieldRef", one.field_ref, VOLUME_FIELDS)
            if one.resource_field_ref is not None:
                why = "fieldRef and resourceFieldRef can not be specified simultaneously"
                out.append(field_invalid(at, "resource", why))
        elif one.resource_field_ref is not None:
            out += resource_ref(f"{at}.resourceFieldRef", one.resource_field_ref, in_volume=True)
        else:
            out.append(field_required(at, "one of fieldRef and resourceFieldRef is required"))
        out += mode(f"{at}.mode", one.mode)
    return out


def _downward(one: core.DownwardAPIVolumeSource, path: str) -> list[FieldError]:
    return mode(f"{path}.defaultMode", one.default_mode) + _files(one.items, path)


def _projected(one: core.ProjectedVolumeSource, path: str) -> list[FieldError]:
    out = mode(f"{path}.defaultMode", one.default_mode)
    for i, source in enumerate(one.sources):
        at = f"{path}.sources[{i}]"
        given = [name for name in source.__struct_fields__ if getattr(source, name) is not None]
        if len(given) > 1:
            out.append(field_forbidden(at, "may not specify more than 1 volume type"))
        for name, part in (("secret", source.secret), ("configMap", source.config_map)):
            if part is not None:
                if not part.name:
                    out.append(field_required(f"{at}.{name}.name"))
                out += _items(part.items, f"{at}.{name}")
        if source.downward_api is not None:
            out += _files(source.downward_api.items, f"{at}.downwardAPI")
        token = source.service_account_token
        if token is not None:
            out += _token(token, f"{at}.serviceAccountToken")
    return out


def _token(one: core.ServiceAccountTokenProjection, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if one.expiration_seconds is not None and one.expiration_seconds < 600:
        why = "may not specify a duration less than 10 minutes"
        out.append(field_invalid(f"{path}.expirationSeconds", one.expiration_seconds, why))
    return out + (local_path(f"{path}.path", one.path) if one.path else [field_required(f"{path}.path")])


def _claim(one: core.PersistentVolumeClaimVolumeSource, path: str) -> list[FieldError]:
    return [] if one.claim_name else [field_required(f"{path}.claimName")]


def _nfs(one: core.NFSVolumeSource, path: str) -> list[FieldError]:
    out = [] if one.server else [field_required(f"{path}.server")]
    if not one.path:
        out.append(field_required(f"{path}.path"))
    elif not one.path.startswith("/"):
        out.append(field_invalid(f"{path}.path", one.path, "must be an absolute path"))
    return out


_CHECKS: dict[str, Callable[[Any, str], list[FieldError]]] = {
    "empty_dir": _empty_dir,
    "host_path": host_path,
    "secret": _secret,
    "config_map": _config_map,
    "downward_api": _downward,
    "projected": _projected,
    "persistent_volume_claim": _claim,
    "nfs": _nfs,
}
