"""Checks of a container's environment, and of what environment and volumes refer to."""

from __future__ import annotations

import re

from skerry.api import quantity
from skerry.api.status import FieldError, field_invalid, field_not_supported, field_required
from skerry.api.types import core
from skerry.api.validation import names
from skerry.api.validation.errors import checked, required

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_SUBSCRIPT = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]")


def environment(one: core.Container | core.EphemeralContainer, path: str) -> list[FieldError]:
    """`env` and `envFrom` of a container."""
    out: list[FieldError] = []
    for i, variable in enumerate(one.env):
        at = f"{path}.env[{i}]"
        out += required(f"{at}.name", variable.name, names.env_name)
        if variable.value_from is not None:
            out += _source(variable, f"{at}.valueFrom")
    for i, group in enumerate(one.env_from):
        at = f"{path}.envFrom[{i}]"
        if group.prefix:
            out += checked(f"{at}.prefix", group.prefix, names.env_name)
        given = [
            (name, reference.name)
            for name, reference in (("configMapRef", group.config_map_ref), ("secretRef", group.secret_ref))
            if reference is not None
        ]
        if not given:
            out.append(field_invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            out.append(field_invalid(at, "", "may not have more than one field specified at a time"))
        out += [field_required(f"{at}.{name}.name") for name, value in given if not value]
    return out


def _source(variable: core.EnvVar, path: str) -> list[FieldError]:
    source = variable.value_from
    assert source is not None
    out: list[FieldError] = []
    given = 0
    if source.field_ref is not None:
        given += 1
        out += field_ref(f"{path}.fieldRef", source.field_ref, ENV_FIELDS)
    if source.resource_field_ref is not None:
        given += 1
        out += resource_ref(f"{path}.resourceFieldRef", source.resource_field_ref, in_volume=False)
    for name, reference in (("configMapKeyRef", source.config_map_key_ref), ("secretKeyRef", source.secret_key_ref)):
        if reference is not None:
            given += 1
            if not reference.name:
                out.append(field_required(f"{path}.{name}.name"))
            out += required(f"{path}.{name}.key", reference.key, names.config_key)
    if source.file_key_ref is not None:
        given += 1
    if not given:
        what = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        out.append(field_invalid(path, "", f"must specify one of: {what}"))
    elif variable.value:
        out.append(field_invalid(path, "", "may not be specified when `value` is not empty"))
    elif given > 1:
        out.append(field_invalid(path, "", "may not have more than one field specified at a time"))
    return out


def field_ref(path: str, one: core.ObjectFieldSelector, allowed: tuple[str, ...]) -> list[FieldError]:
    """A reference to a field of the pod itself."""
    if not one.api_version:
        return [field_required(f"{path}.apiVersion")]
    if not one.field_path:
        return [field_required(f"{path}.fieldPath")]
    match = _SUBSCRIPT.fullmatch(one.field_path)
    if match:
        key = match.group(2).lower() if match.group(1).endswith("annotations") else match.group(2)
        return [field_invalid(f"{path}.fieldPath", one.field_path, why) for why in names.qualified_name(key)]
    if one.field_path in allowed:
        return []
    if one.field_path in (*ENV_FIELDS, *VOLUME_FIELDS):
        return [field_not_supported(f"{path}.fieldPath", one.field_path, allowed)]
    why = f"error converting fieldPath: field label not supported: {one.field_path}"
    return [field_invalid(f"{path}.fieldPath", one.field_path, why)]


def resource_ref(path: str, one: core.ResourceFieldSelector, *, in_volume: bool) -> list[FieldError]:
    """A reference to a container's resources."""
    if in_volume and not one.container_name:
        return [field_required(f"{path}.containerName")]
    if not one.resource:
        return [field_required(f"{path}.resource")]
    known = one.resource in _RESOURCES or one.resource.startswith(("limits.hugepages-", "requests.hugepages-"))
    if not known:
        return [field_not_supported(f"{path}.resource", one.resource, _RESOURCES)]
    if one.divisor and not quantity.valid(one.divisor):
        return [field_invalid(f"{path}.divisor", one.divisor, quantity.SAYS)]
    return []
