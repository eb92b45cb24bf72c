"""The files of configMap, secret, downwardAPI and projected volumes. Pure. Called by setup.py."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from skerry.node.pods.downward import DownwardError, field_value, resource_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from skerry.api.types import core

DEFAULT_MODE = 0o644


class VolumeError(Exception):
    """A volume cannot be made (yet): what a FailedMount event tells."""


class File(NamedTuple):
    """A file to be: permission bits and content."""

    mode: int
    content: bytes


@dataclass
class Sources:
    """The ConfigMaps and Secrets that volumes refer to, fetched before: None for what does not exist."""

    config_maps: dict[str, core.ConfigMap | None] = field(default_factory=dict)
    secrets: dict[str, core.Secret | None] = field(default_factory=dict)


def needs(volumes: Iterable[core.Volume]) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and Secrets that volumes refer to."""
    maps, secrets = set(), set()
    for volume in volumes:
        if volume.config_map is not None:
            maps.add(volume.config_map.name)
        if volume.secret is not None:
            secrets.add(volume.secret.secret_name)
        for part in volume.projected.sources if volume.projected is not None else ():
            if part.config_map is not None:
                maps.add(part.config_map.name)
            if part.secret is not None:
                secrets.add(part.secret.name)
    return maps, secrets


def files(pod: core.Pod, volume: core.Volume, sources: Sources, facts: Mapping[str, str]) -> dict[str, File] | None:
    """The files of a volume by path; None if it is of another kind. VolumeError. `facts`: see node/pods/downward.py."""
    if volume.config_map is not None:
        one = volume.config_map
        return _config_map(pod, one.name, one.items, one.optional, _mode(one.default_mode), sources)
    if volume.secret is not None:
        of = volume.secret
        return _secret(pod, of.secret_name, of.items, of.optional, _mode(of.default_mode), sources)
    if volume.downward_api is not None:
        api = volume.downward_api
        return _downward(pod, api.items, _mode(api.default_mode), facts)
    if volume.projected is not None:
        mode = _mode(volume.projected.default_mode)
        out: dict[str, File] = {}
        for part in volume.projected.sources:
            if part.config_map is not None:
                maps = part.config_map
                out |= _config_map(pod, maps.name, maps.items, maps.optional, mode, sources)
            elif part.secret is not None:
                secret = part.secret
                out |= _secret(pod, secret.name, secret.items, secret.optional, mode, sources)
            elif part.downward_api is not None:
                out |= _downward(pod, part.downward_api.items, mode, facts)
        return out
    return None


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


def _config_map(
    pod: core.Pod, name: str, items: list[core.KeyToPath], optional: bool | None, mode: int, sources: Sources
) -> dict[str, File]:
    found = sources.config_maps.get(name)
    if found is None:
        return _missing("configmap", name, optional)
    content = {key: value.encode() for key, value in found.data.items()}
    content |= {key: base64.b64decode(value) for key, value in found.binary_data.items()}
    return _chosen(content, items, optional, mode, "configmap", f"{pod.metadata.namespace}/{name}")


def _secret(
    pod: core.Pod, name: str, items: list[core.KeyToPath], optional: bool | None, mode: int, sources: Sources
) -> dict[str, File]:
    found = sources.secrets.get(name)
    if found is None:
        return _missing("secret", name, optional)
    content = {key: base64.b64decode(value) for key, value in found.data.items()}
    return _chosen(content, items, optional, mode, "secret", f"{pod.metadata.namespace}/{name}")


def _missing(kind: str, name: str, optional: bool | None) -> dict[str, File]:
    if optional:
        return {}
    raise VolumeError(f'{kind} "{name}" not found')


def _chosen(
    content: dict[str, bytes], items: list[core.KeyToPath], optional: bool | None, mode: int, kind: str, name: str
) -> dict[str, File]:
    if not items:
        return {key: File(mode, value) for key, value in content.items()}
    out = {}
    for item in items:
        if item.key in content:
            out[item.path] = File(mode if item.mode is None else item.mode, content[item.key])
        elif not optional:
            raise VolumeError(f"{kind} references non-existent config key: {item.key} ({name})")
    return out


def _downward(
    pod: core.Pod, items: list[core.DownwardAPIVolumeFile], mode: int, facts: Mapping[str, str]
) -> dict[str, File]:
    out = {}
    for item in items:
        text = ""
        try:
            if item.field_ref is not None:
                text = field_value(pod, item.field_ref.field_path, facts)
            elif item.resource_field_ref is not None:
                text = resource_value(pod, pod.spec.containers[0], item.resource_field_ref, facts)
        except DownwardError as error:
            raise VolumeError(str(error)) from None
        out[item.path] = File(mode if item.mode is None else item.mode, text.encode())
    return out
