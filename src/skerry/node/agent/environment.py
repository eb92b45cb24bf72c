"""A container's environment, out of its pod, Services, ConfigMaps and Secrets. Pure. Called by containers.py; N1-N3."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from skerry.node.pods.downward import DownwardError, field_value, resource_value
from skerry.node.pods.text import expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from skerry.api.types import core
    from skerry.node.volumes.payload import Sources


class ConfigError(Exception):
    """A container cannot be configured: what CreateContainerConfigError tells."""


def needs(container: core.Container) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and Secrets that the environment refers to."""
    maps, secrets = set(), set()
    for one in container.env_from:
        if one.config_map_ref is not None:
            maps.add(one.config_map_ref.name)
        if one.secret_ref is not None:
            secrets.add(one.secret_ref.name)
    for variable in container.env:
        source = variable.value_from
        if source is not None and source.config_map_key_ref is not None:
            maps.add(source.config_map_key_ref.name)
        if source is not None and source.secret_key_ref is not None:
            secrets.add(source.secret_key_ref.name)
    return maps, secrets


def service_variables(services: Iterable[core.Service], namespace: str, links: bool) -> dict[str, str]:
    """N1, N2: the variables of the Services of `namespace` (if `links`) and of default/kubernetes."""
    chosen: dict[str, core.Service] = {}
    for one in services:
        if one.spec.cluster_ip in ("", "None") or one.spec.type == "ExternalName":
            continue
        name, where = one.metadata.name, one.metadata.namespace
        if where == namespace and (links or (where == "default" and name == "kubernetes")):
            chosen[name] = one
        elif where == "default" and name == "kubernetes":
            chosen.setdefault(name, one)
    out: dict[str, str] = {}
    for name in sorted(chosen):
        out |= _variables(chosen[name])
    return out


def _variables(service: core.Service) -> dict[str, str]:
    if not service.spec.ports:
        return {}
    prefix = service.metadata.name.upper().replace("-", "_")
    ip = service.spec.cluster_ip
    host = f"[{ip}]" if ":" in ip else ip
    first = service.spec.ports[0]
    out = {f"{prefix}_SERVICE_HOST": ip, f"{prefix}_SERVICE_PORT": str(first.port)}
    for one in service.spec.ports:
        if one.name:
            out[f"{prefix}_SERVICE_PORT_{one.name.upper().replace('-', '_')}"] = str(one.port)
    out[f"{prefix}_PORT"] = f"{(first.protocol or 'TCP').lower()}://{host}:{first.port}"
    for one in service.spec.ports:
        protocol = one.protocol or "TCP"
        start = f"{prefix}_PORT_{one.port}_{protocol}"
        out[start] = f"{protocol.lower()}://{host}:{one.port}"
        out[f"{start}_PROTO"] = protocol.lower()
        out[f"{start}_PORT"] = str(one.port)
        out[f"{start}_ADDR"] = ip
    return out


def variables(
    pod: core.Pod, container: core.Container, services: dict[str, str], sources: Sources, facts: Mapping[str, str]
) -> dict[str, str]:
    """What the container's spec and the Services say; ConfigError. `facts`: see downward.py."""
    out: dict[str, str] = dict(services)
    for one in container.env_from:
        out |= {one.prefix + key: value for key, value in _all(one, sources).items()}
    for variable in container.env:
        if variable.value_from is None:
            out[variable.name] = expand(variable.value, out)
            continue
        value = _value(pod, container, variable.value_from, sources, facts)
        if value is not None:
            out[variable.name] = value
    return out


def _all(source: core.EnvFromSource, sources: Sources) -> dict[str, str]:
    if source.config_map_ref is not None:
        ref = source.config_map_ref
        found = sources.config_maps.get(ref.name)
        if found is None:
            return _missing("configmap", ref.name, ref.optional)
        return dict(found.data)
    if source.secret_ref is not None:
        secret = sources.secrets.get(source.secret_ref.name)
        if secret is None:
            return _missing("secret", source.secret_ref.name, source.secret_ref.optional)
        return {key: decoded(value).decode(errors="replace") for key, value in secret.data.items()}
    return {}


def _missing(kind: str, name: str, optional: bool | None) -> dict[str, str]:
    if optional:
        return {}
    raise ConfigError(f'{kind} "{name}" not found')


def _value(
    pod: core.Pod, container: core.Container, source: core.EnvVarSource, sources: Sources, facts: Mapping[str, str]
) -> str | None:
    try:
        if source.field_ref is not None:
            return field_value(pod, source.field_ref.field_path, facts)
        if source.resource_field_ref is not None:
            return resource_value(pod, container, source.resource_field_ref, facts)
        if source.file_key_ref is not None:
            raise ConfigError("fileKeyRef is not served: variables come from fields, ConfigMaps and Secrets")
    except DownwardError as error:
        raise ConfigError(str(error)) from None
    where = pod.metadata.namespace
    if source.config_map_key_ref is not None:
        key = source.config_map_key_ref
        found = sources.config_maps.get(key.name)
        if found is None:
            return _missing("configmap", key.name, key.optional).get(key.key)
        if key.key in found.data:
            return found.data[key.key]
        return _unless_optional(key.key, "ConfigMap", f"{where}/{key.name}", key.optional)
    if source.secret_key_ref is not None:
        ref = source.secret_key_ref
        secret = sources.secrets.get(ref.name)
        if secret is None:
            return _missing("secret", ref.name, ref.optional).get(ref.key)
        if ref.key in secret.data:
            return decoded(secret.data[ref.key]).decode(errors="replace")
        return _unless_optional(ref.key, "Secret", f"{where}/{ref.name}", ref.optional)
    return ""


def _unless_optional(key: str, kind: str, name: str, optional: bool | None) -> str | None:
    if optional:
        return None
    raise ConfigError(f"couldn't find key {key} in {kind} {name}")


def decoded(text: str) -> bytes:
    """The bytes of a base64 field."""
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""
