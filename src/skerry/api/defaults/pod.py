"""Defaults of Pod and of the pod specs inside workloads. Called through defaults.apply, and `admit` on creation."""

from __future__ import annotations

from skerry.api import quantity
from skerry.api.types import core

_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATED_SECONDS = 300
_MODE = 0o644


def pod(obj: core.Pod) -> None:
    spec(obj.spec)
    one = obj.spec
    if one.enable_service_links is None:
        one.enable_service_links = True
    if one.host_network:
        for container in [*one.containers, *one.init_containers]:
            for port in container.ports:
                port.host_port = port.host_port or port.container_port
    for container in [*one.containers, *one.init_containers]:
        _requests_from_limits(container.resources)
    if one.resources is not None:
        _requests_from_limits(one.resources)


def admit(obj: core.Pod) -> None:
    """What upstream's admission adds to a pod when it is created: service account, tolerations."""
    spec = obj.spec
    spec.service_account_name = spec.service_account_name or spec.service_account or "default"
    spec.service_account = spec.service_account_name
    for key in _UNREACHABLE:
        if not any(_tolerates(one, key) for one in spec.tolerations):
            spec.tolerations.append(
                core.Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=_TOLERATED_SECONDS)
            )


def _tolerates(one: core.Toleration, key: str) -> bool:
    return one.key in ("", key) and one.effect in ("", "NoExecute")


def _requests_from_limits(resources: core.ResourceRequirements) -> None:
    for name, limit in resources.limits.items():
        resources.requests.setdefault(name, limit)


def spec(one: core.PodSpec) -> None:
    """A pod's spec, in a Pod or in a template."""
    one.dns_policy = one.dns_policy or "ClusterFirst"
    one.restart_policy = one.restart_policy or "Always"
    if one.termination_grace_period_seconds is None:
        one.termination_grace_period_seconds = 30
    one.scheduler_name = one.scheduler_name or "default-scheduler"
    if one.security_context is None:
        one.security_context = core.PodSecurityContext()
    one.service_account_name = one.service_account_name or one.service_account
    one.service_account = one.service_account_name
    for volume in one.volumes:
        _volume(volume)
    for container in [*one.init_containers, *one.containers]:
        _container(container)
    for ephemeral in one.ephemeral_containers:
        _container(ephemeral)
    if one.resources is not None:
        _canonical(one.resources)


def _canonical(resources: core.ResourceRequirements) -> None:
    for values in (resources.limits, resources.requests):
        for name, text in values.items():
            if quantity.valid(text):
                values[name] = quantity.canonical(text)


def pull_policy(image: str) -> str:
    """`Always` for an image without a tag or with `latest`, unless a digest names it exactly."""
    name, at, _ = image.partition("@")
    if at:
        return "IfNotPresent"
    tag = name.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _container(one: core.Container | core.EphemeralContainer) -> None:
    if not one.image_pull_policy:
        one.image_pull_policy = pull_policy(one.image)
    one.termination_message_path = one.termination_message_path or "/dev/termination-log"
    one.termination_message_policy = one.termination_message_policy or "File"
    for port in one.ports:
        port.protocol = port.protocol or "TCP"
    _canonical(one.resources)
    for variable in one.env:
        source = variable.value_from
        if source is not None and source.field_ref is not None:
            source.field_ref.api_version = source.field_ref.api_version or "v1"
        if source is not None and source.resource_field_ref is not None:
            source.resource_field_ref.divisor = source.resource_field_ref.divisor or "0"
    for probe in (one.liveness_probe, one.readiness_probe, one.startup_probe):
        if probe is not None:
            _probe(probe)
    if one.lifecycle is not None:
        for handler in (one.lifecycle.post_start, one.lifecycle.pre_stop):
            if handler is not None:
                _http_get(handler.http_get)


def _probe(one: core.Probe) -> None:
    """R1."""
    one.timeout_seconds = one.timeout_seconds or 1
    one.period_seconds = one.period_seconds or 10
    one.success_threshold = one.success_threshold or 1
    one.failure_threshold = one.failure_threshold or 3
    _http_get(one.http_get)
    if one.grpc is not None and one.grpc.service is None:
        one.grpc.service = ""


def _http_get(action: core.HTTPGetAction | None) -> None:
    if action is not None:
        action.path = action.path or "/"
        action.scheme = action.scheme or "HTTP"


def _volume(one: core.Volume) -> None:
    sources = [name for name in one.__struct_fields__ if name != "name" and getattr(one, name) is not None]
    if not sources:
        one.empty_dir = core.EmptyDirVolumeSource()
    if one.host_path is not None and one.host_path.type is None:
        one.host_path.type = ""
    if one.secret is not None and one.secret.default_mode is None:
        one.secret.default_mode = _MODE
    if one.config_map is not None and one.config_map.default_mode is None:
        one.config_map.default_mode = _MODE
    if one.downward_api is not None:
        if one.downward_api.default_mode is None:
            one.downward_api.default_mode = _MODE
        _files(one.downward_api.items)
    if one.projected is not None:
        if one.projected.default_mode is None:
            one.projected.default_mode = _MODE
        for source in one.projected.sources:
            if source.downward_api is not None:
                _files(source.downward_api.items)
            token = source.service_account_token
            if token is not None and token.expiration_seconds is None:
                token.expiration_seconds = 3600
    if one.empty_dir is not None and one.empty_dir.size_limit and quantity.valid(one.empty_dir.size_limit):
        one.empty_dir.size_limit = quantity.canonical(one.empty_dir.size_limit)


def _files(items: list[core.DownwardAPIVolumeFile]) -> None:
    for item in items:
        if item.field_ref is not None:
            item.field_ref.api_version = item.field_ref.api_version or "v1"
