"""Checks of containers: names, images, ports, variables, probes, resources, mounts. Called by the checks of pods."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from skerry.api.types import core
from skerry.api.validation import names
from skerry.api.validation.amounts import resources
from skerry.api.validation.environment import environment
from skerry.api.validation.errors import checked, not_found, not_negative
from skerry.api.validation.service import port_or_name, protocol

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
_USER_LIMIT = 2**31 - 1
_INIT = "may not be set for init containers without restartPolicy=Always"

Container = core.Container | core.EphemeralContainer


def containers(spec: core.PodSpec, path: str) -> list[FieldError]:
    """All containers of a pod spec; volumes of the spec must have been named already."""
    volumes = {one.name for one in spec.volumes}
    grace = spec.termination_grace_period_seconds
    out: list[FieldError] = []
    if not spec.containers:
        out.append(field_required(f"{path}.containers"))
    seen: set[str] = set()
    for i, one in enumerate(spec.containers):
        at = f"{path}.containers[{i}]"
        out += _common(one, at, volumes, seen)
        out += _lifecycle(one, at, grace)
        if one.restart_policy is not None and one.restart_policy not in RESTART_POLICIES:
            out.append(field_not_supported(f"{at}.restartPolicy", one.restart_policy, RESTART_POLICIES))
    for i, one in enumerate(spec.init_containers):
        at = f"{path}.initContainers[{i}]"
        out += _common(one, at, volumes, seen)
        out += _init(one, at, grace)
    out += _host_ports(spec.containers, f"{path}.containers")
    return out


def ephemeral_containers(spec: core.PodSpec, path: str) -> list[FieldError]:
    """Those that were added to a pod that runs: they have no ports, probes, hooks or resources of their own."""
    seen = {one.name for one in (*spec.containers, *spec.init_containers)}
    others, volumes = set(seen), {one.name for one in spec.volumes}
    out: list[FieldError] = []
    for i, one in enumerate(spec.ephemeral_containers):
        at = f"{path}[{i}]"
        out += _common(one, at, volumes, seen)
        target = one.target_container_name
        if target and target not in others:
            out.append(not_found(f"{at}.targetContainerName", target))
        for name, value in (
            ("ports", one.ports),
            ("livenessProbe", one.liveness_probe),
            ("readinessProbe", one.readiness_probe),
            ("startupProbe", one.startup_probe),
            ("lifecycle", one.lifecycle),
            ("resources", one.resources.limits or one.resources.requests or one.resources.claims),
            ("restartPolicy", one.restart_policy),
        ):
            if value:
                out.append(field_forbidden(f"{at}.{name}", "cannot be set for an Ephemeral Container"))
        for j, mount in enumerate(one.volume_mounts):
            if mount.sub_path or mount.sub_path_expr:
                name = "subPath" if mount.sub_path else "subPathExpr"
                why = "cannot be set for an Ephemeral Container"
                out.append(field_forbidden(f"{at}.volumeMounts[{j}].{name}", why))
    return out


def _common(one: Container, path: str, volumes: Collection[str], seen: set[str]) -> list[FieldError]:
    out: list[FieldError] = []
    if not one.name:
        out.append(field_required(f"{path}.name"))
    else:
        out += checked(f"{path}.name", one.name, names.dns1123_label)
        if one.name in seen:
            out.append(field_duplicate(f"{path}.name", one.name))
        seen.add(one.name)
    out += image(f"{path}.image", one.image)
    out += _choice(f"{path}.terminationMessagePolicy", one.termination_message_policy, MESSAGE_POLICIES)
    out += _ports(one.ports, f"{path}.ports")
    out += environment(one, path)
    out += _mounts(one, path, volumes)
    out += _choice(f"{path}.imagePullPolicy", one.image_pull_policy, PULL_POLICIES)
    out += resources(one.resources, f"{path}.resources")
    if one.security_context is not None:
        out += _security(one.security_context, f"{path}.securityContext")
    return out


def image(path: str, value: str) -> list[FieldError]:
    """An image is named, without blanks around it."""
    if not value:
        return [field_required(path)]
    if value.strip() != value:
        return [field_invalid(path, value, "must not have leading or trailing whitespace")]
    return []


def _choice(path: str, value: str, allowed: Collection[str]) -> list[FieldError]:
    if not value:
        return [field_required(path)]
    return [] if value in allowed else [field_not_supported(path, value, allowed)]


def _ports(ports: Sequence[core.ContainerPort], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    seen: set[str] = set()
    for i, one in enumerate(ports):
        at = f"{path}[{i}]"
        if one.name:
            complaints = names.port_name(one.name)
            out += [field_invalid(f"{at}.name", one.name, why) for why in complaints]
            if not complaints:
                if one.name in seen:
                    out.append(field_duplicate(f"{at}.name", one.name))
                seen.add(one.name)
        if not one.container_port:
            out.append(field_required(f"{at}.containerPort"))
        else:
            number = one.container_port
            out += [field_invalid(f"{at}.containerPort", number, why) for why in names.port_number(number)]
        if one.host_port:
            out += [field_invalid(f"{at}.hostPort", one.host_port, why) for why in names.port_number(one.host_port)]
        out += protocol(f"{at}.protocol", one.protocol)
    return out


def _host_ports(all_containers: Sequence[core.Container], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    seen: set[str] = set()
    for i, container in enumerate(all_containers):
        for j, one in enumerate(container.ports):
            key = f"{one.protocol}/{one.host_ip}/{one.host_port}"
            if one.host_port and key in seen:
                out.append(field_duplicate(f"{path}[{i}].ports[{j}].hostPort", key))
            seen.add(key)
    return out


def _mounts(one: Container, path: str, volumes: Collection[str]) -> list[FieldError]:
    out: list[FieldError] = []
    seen: set[str] = set()
    for i, mount in enumerate(one.volume_mounts):
        at = f"{path}.volumeMounts[{i}]"
        if not mount.name:
            out.append(field_required(f"{at}.name"))
        elif mount.name not in volumes:
            out.append(not_found(f"{at}.name", mount.name))
        if not mount.mount_path:
            out.append(field_required(f"{at}.mountPath"))
        elif mount.mount_path in seen:
            out.append(field_invalid(f"{at}.mountPath", mount.mount_path, "must be unique"))
        seen.add(mount.mount_path)
        if mount.sub_path:
            out += descending_path(f"{at}.subPath", mount.sub_path)
        if mount.sub_path_expr:
            if mount.sub_path:
                why = "subPathExpr and subPath are mutually exclusive"
                out.append(field_invalid(f"{at}.subPathExpr", mount.sub_path_expr, why))
            out += descending_path(f"{at}.subPathExpr", mount.sub_path_expr)
    for i, device in enumerate(one.volume_devices):
        at = f"{path}.volumeDevices[{i}]"
        if not device.name:
            out.append(field_required(f"{at}.name"))
        elif device.name not in volumes:
            out.append(not_found(f"{at}.name", device.name))
        if not device.device_path:
            out.append(field_required(f"{at}.devicePath"))
    return out


def descending_path(path: str, value: str) -> list[FieldError]:
    """A relative path that never climbs."""
    out: list[FieldError] = []
    if value.startswith("/"):
        out.append(field_invalid(path, value, "must be a relative path"))
    if ".." in value.split("/"):
        out.append(field_invalid(path, value, "must not contain '..'"))
    return out


def _init(one: core.Container, path: str, grace: int | None) -> list[FieldError]:
    if one.restart_policy == "Always":
        return _lifecycle(one, path, grace)
    out: list[FieldError] = []
    if one.restart_policy is not None and one.restart_policy not in RESTART_POLICIES:
        out.append(field_not_supported(f"{path}.restartPolicy", one.restart_policy, RESTART_POLICIES))
    for name, value in (
        ("lifecycle", one.lifecycle),
        ("livenessProbe", one.liveness_probe),
        ("readinessProbe", one.readiness_probe),
        ("startupProbe", one.startup_probe),
    ):
        if value is not None:
            out.append(field_forbidden(f"{path}.{name}", _INIT))
    return out


def _lifecycle(one: core.Container, path: str, grace: int | None) -> list[FieldError]:
    """Life-cycle handlers and probes (R1)."""
    out: list[FieldError] = []
    if one.lifecycle is not None:
        for name, handler in (("postStart", one.lifecycle.post_start), ("preStop", one.lifecycle.pre_stop)):
            if handler is not None:
                out += _handler(handler, f"{path}.lifecycle.{name}", grace)
    for name, probe in (
        ("livenessProbe", one.liveness_probe),
        ("readinessProbe", one.readiness_probe),
        ("startupProbe", one.startup_probe),
    ):
        if probe is None:
            continue
        out += _probe(probe, f"{path}.{name}")
        if name != "readinessProbe" and probe.success_threshold != 1:
            out.append(field_invalid(f"{path}.{name}.successThreshold", probe.success_threshold, "must be 1"))
        seconds = probe.termination_grace_period_seconds
        if name == "readinessProbe" and seconds is not None:
            at = f"{path}.{name}.terminationGracePeriodSeconds"
            out.append(field_invalid(at, seconds, "must not be set for readinessProbes"))
    return out


def _probe(one: core.Probe, path: str) -> list[FieldError]:
    out = _handler(one, path, None)
    for name, number in (
        ("initialDelaySeconds", one.initial_delay_seconds),
        ("timeoutSeconds", one.timeout_seconds),
        ("periodSeconds", one.period_seconds),
        ("successThreshold", one.success_threshold),
        ("failureThreshold", one.failure_threshold),
    ):
        out += not_negative(f"{path}.{name}", number)
    seconds = one.termination_grace_period_seconds
    if seconds is not None and seconds <= 0:
        out.append(field_invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))
    return out


def _handler(one: core.Probe | core.LifecycleHandler, path: str, grace: int | None) -> list[FieldError]:
    """Exactly one handler, and a good one."""
    out: list[FieldError] = []
    given = 0
    for name, attribute in (
        ("exec", "exec"),
        ("httpGet", "http_get"),
        ("tcpSocket", "tcp_socket"),
        ("grpc", "grpc"),
        ("sleep", "sleep"),
    ):
        action = getattr(one, attribute, None)
        if action is None:
            continue
        given += 1
        if given > 1:
            out.append(field_forbidden(f"{path}.{name}", "may not specify more than 1 handler type"))
        else:
            out += _action(name, action, f"{path}.{name}", grace)
    if not given:
        out.append(field_required(path, "must specify a handler type"))
    return out


def _action(name: str, action: object, path: str, grace: int | None) -> list[FieldError]:
    if isinstance(action, core.ExecAction):
        return [] if action.command else [field_required(f"{path}.command")]
    if isinstance(action, core.HTTPGetAction):
        out = [] if action.path else [field_required(f"{path}.path")]
        out += port_or_name(f"{path}.port", action.port)
        out += _choice(f"{path}.scheme", action.scheme, ("HTTP", "HTTPS"))
        for header in action.http_headers:
            out += checked(f"{path}.httpHeaders", header.name, names.http_header)
        return out
    if isinstance(action, core.TCPSocketAction):
        return port_or_name(f"{path}.port", action.port)
    if isinstance(action, core.GRPCAction):
        return port_or_name(f"{path}.port", action.port)
    if isinstance(action, core.SleepAction):
        limit = 30 if grace is None else grace
        if not 0 <= action.seconds <= limit:
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({limit})"
            return [field_invalid(path, action.seconds, why)]
        return []
    raise AssertionError(name)


def user(path: str, value: int | None) -> list[FieldError]:
    """A user's or group's number."""
    if value is None or 0 <= value <= _USER_LIMIT:
        return []
    return [field_invalid(path, value, names.range_text(0, _USER_LIMIT))]


def _security(one: core.SecurityContext, path: str) -> list[FieldError]:
    out = user(f"{path}.runAsUser", one.run_as_user) + user(f"{path}.runAsGroup", one.run_as_group)
    if one.proc_mount is not None:
        out += _choice(f"{path}.procMount", one.proc_mount, ("Default", "Unmasked"))
    if one.allow_privilege_escalation is False:
        what = "cannot set `allowPrivilegeEscalation` to false and "
        if one.privileged:
            out.append(field_invalid(path, False, f"{what}`privileged` to true"))
        if one.capabilities is not None and "CAP_SYS_ADMIN" in one.capabilities.add:
            out.append(field_invalid(path, False, f"{what}`capabilities.Add` CAP_SYS_ADMIN"))
    return out
