"""The files of configMap, secret, downwardAPI and projected volumes. Pure. Called by setup.py."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from skerry.api.types import core
from skerry.node.pods.downward import DownwardError, field_value, resource_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_MODE = 0o644
_TOKEN_MODE = 0o600
TOKEN_SECONDS = 3600


class VolumeError(Exception):
    """A volume cannot be made (yet): what a FailedMount event tells."""


class File(NamedTuple):
    """A file to be: permission bits, content, and the user whose it is (None: root)."""

    mode: int
    content: bytes
    owner: int | None = None


class TokenKey(NamedTuple):
    """Which of the tokens of its ServiceAccount a volume wants; `seconds`: for how long."""

    audience: str
    seconds: int


@dataclass
class Sources:
    """What volumes and variables are made of, fetched before: None for an object that does not exist."""

    config_maps: dict[str, core.ConfigMap | None] = field(default_factory=dict)
    secrets: dict[str, core.Secret | None] = field(default_factory=dict)
    tokens: dict[TokenKey, str] = field(default_factory=dict)


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


def tokens(volumes: Iterable[core.Volume]) -> set[TokenKey]:
    """The tokens that projected volumes want."""
    return {
        _token_key(part.service_account_token)
        for volume in volumes
        if volume.projected is not None
        for part in volume.projected.sources
        if part.service_account_token is not None
    }


def _token_key(one: core.ServiceAccountTokenProjection) -> TokenKey:
    return TokenKey(one.audience, one.expiration_seconds or TOKEN_SECONDS)


def downward_paths(pod: core.Pod) -> Iterator[str]:
    """The fields of the pod that its volumes tell."""
    for volume in pod.spec.volumes:
        items = list(volume.downward_api.items) if volume.downward_api is not None else []
        for part in volume.projected.sources if volume.projected is not None else ():
            items += part.downward_api.items if part.downward_api is not None else []
        yield from (item.field_ref.field_path for item in items if item.field_ref is not None)


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
            out |= _part(pod, part, mode, sources, facts)
        return out
    return None


def _part(
    pod: core.Pod, part: core.VolumeProjection, mode: int, sources: Sources, facts: Mapping[str, str]
) -> dict[str, File]:
    if part.config_map is not None:
        maps = part.config_map
        return _config_map(pod, maps.name, maps.items, maps.optional, mode, sources)
    if part.secret is not None:
        secret = part.secret
        return _secret(pod, secret.name, secret.items, secret.optional, mode, sources)
    if part.downward_api is not None:
        return _downward(pod, part.downward_api.items, mode, facts)
    if part.service_account_token is not None:
        user, context = common_user(pod.spec), pod.spec.security_context
        private = user is not None or (context is not None and context.fs_group is not None)
        text = sources.tokens[_token_key(part.service_account_token)]
        return {part.service_account_token.path: File(_TOKEN_MODE if private else mode, text.encode(), user)}
    kind = "clusterTrustBundle" if part.cluster_trust_bundle is not None else "podCertificate"
    raise VolumeError(f"{kind} is no source that is served here")


def common_user(spec: core.PodSpec) -> int | None:
    """The user that every container of the pod is to run as, if all name the same one."""
    outer = spec.security_context.run_as_user if spec.security_context is not None else None
    inner = (one.security_context for one in (*spec.init_containers, *spec.containers))
    users = {outer if one is None or one.run_as_user is None else one.run_as_user for one in inner}
    return users.pop() if len(users) == 1 else None


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
