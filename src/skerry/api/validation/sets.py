"""Checks of StatefulSet, DaemonSet and ControllerRevision."""

from __future__ import annotations

from skerry.api import codec
from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported, field_required
from skerry.api.types import apps, core
from skerry.api.validation import names
from skerry.api.validation.errors import checked, not_negative, shown, unchanged
from skerry.api.validation.workloads import at_most, is_zero, lasting_template, number_or_percent, selector

_RETENTION = ("Delete", "Retain")
_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "update_strategy",
    "revision_history_limit",
    "persistent_volume_claim_retention_policy",
    "min_ready_seconds",
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def create_statefulset(obj: apps.StatefulSet) -> list[FieldError]:
    """A new StatefulSet."""
    out = checked("spec.serviceName", obj.spec.service_name, names.dns1123_label) if obj.spec.service_name else []
    return out + _statefulset(obj.spec)


def _statefulset(spec: apps.StatefulSetSpec) -> list[FieldError]:
    out: list[FieldError] = []
    policy = spec.pod_management_policy
    if not policy:
        out.append(field_required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        out.append(field_invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    out += _strategy(spec.update_strategy)
    kept = spec.persistent_volume_claim_retention_policy
    if kept is not None:
        path = "spec.persistentVolumeClaimRetentionPolicy"
        for name, value in (("whenDeleted", kept.when_deleted), ("whenScaled", kept.when_scaled)):
            if value not in _RETENTION:
                out.append(field_not_supported(f"{path}.{name}", value, _RETENTION))
    out += not_negative("spec.replicas", spec.replicas)
    out += not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    out += not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    if spec.ordinals is not None:
        out += not_negative("spec.ordinals.start", spec.ordinals.start)
    out += selector(spec.selector, "statefulset")
    return out + lasting_template(_with_claims(spec), spec.selector, "StatefulSet")


def _with_claims(spec: apps.StatefulSetSpec) -> core.PodTemplateSpec:
    """The template with the volumes that its pods will have beside its own."""
    names = {one.metadata.name for one in spec.volume_claim_templates}
    if not names:
        return spec.template
    volumes = [one for one in spec.template.spec.volumes if one.name not in names]
    for name in sorted(names):
        claim = core.PersistentVolumeClaimVolumeSource(claim_name=name)
        volumes.append(core.Volume(name=name, persistent_volume_claim=claim))
    return codec.replace(spec.template, spec=codec.replace(spec.template.spec, volumes=volumes))


def _strategy(one: apps.StatefulSetUpdateStrategy) -> list[FieldError]:
    path, rolling = "spec.updateStrategy", one.rolling_update
    if not one.type:
        return [field_required(path)]
    if one.type == "OnDelete":
        why = "only allowed for updateStrategy 'RollingUpdate'"
        return [field_invalid(f"{path}.rollingUpdate", shown(rolling), why)] if rolling is not None else []
    if one.type != "RollingUpdate":
        return [field_invalid(path, shown(one), "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    out = not_negative(f"{path}.rollingUpdate.partition", rolling.partition)
    if rolling.max_unavailable is not None:
        at = f"{path}.rollingUpdate.maxUnavailable"
        out += number_or_percent(at, rolling.max_unavailable)
        if is_zero(rolling.max_unavailable):
            out.append(field_invalid(at, rolling.max_unavailable, "cannot be 0"))
        out += _at_most_all(at, rolling.max_unavailable)
    return out


def _at_most_all(path: str, value: int | str | None) -> list[FieldError]:
    if isinstance(value, str) and not names.percent(value) and int(value[:-1]) > 100:
        return [field_invalid(path, value, "must not be greater than 100%")]
    return []


def update_statefulset(new: apps.StatefulSet, old: apps.StatefulSet) -> list[FieldError]:
    """A StatefulSet that exists: what its pods are named after and what they keep stays."""
    out = _statefulset(new.spec)
    allowed = codec.copy(old.spec)
    for name in _CHANGEABLE:
        setattr(allowed, name, getattr(new.spec, name))
    if allowed != new.spec:
        out.append(field_forbidden("spec", _FORBIDDEN))
    return out


def status_statefulset(new: apps.StatefulSet, old: apps.StatefulSet) -> list[FieldError]:
    """A write of a StatefulSet's status."""
    status, out = new.status, list[FieldError]()
    counts = {
        "replicas": status.replicas,
        "readyReplicas": status.ready_replicas,
        "currentReplicas": status.current_replicas,
        "updatedReplicas": status.updated_replicas,
        "availableReplicas": status.available_replicas,
        "observedGeneration": status.observed_generation,
    }
    for name, count in counts.items():
        out += not_negative(f"status.{name}", count)
    out += at_most(
        counts, "status.replicas", ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    )
    out += at_most(counts, "readyReplicas", ("availableReplicas",))
    return out + _collisions(status.collision_count, old.status.collision_count)


def _collisions(new: int | None, old: int | None) -> list[FieldError]:
    out = not_negative("status.collisionCount", new)
    if (new or 0) < (old or 0):
        out.append(field_invalid("status.collisionCount", new, "cannot be decremented"))
    return out


def create_daemonset(obj: apps.DaemonSet) -> list[FieldError]:
    """A new DaemonSet."""
    spec = obj.spec
    out = selector(spec.selector, "daemonset")
    out += lasting_template(spec.template, spec.selector, "DaemonSet")
    out += not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    out += _daemon_strategy(spec.update_strategy)
    return out + not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)


def _daemon_strategy(one: apps.DaemonSetUpdateStrategy) -> list[FieldError]:
    path, rolling = "spec.updateStrategy.rollingUpdate", one.rolling_update
    if one.type == "OnDelete":
        return []
    if one.type != "RollingUpdate":
        return [field_not_supported("spec.updateStrategy", shown(one), ("OnDelete", "RollingUpdate"))]
    if rolling is None:
        return [field_required(path)]
    out: list[FieldError] = []
    for name, value in (("maxUnavailable", rolling.max_unavailable), ("maxSurge", rolling.max_surge)):
        out += number_or_percent(f"{path}.{name}", value) + _at_most_all(f"{path}.{name}", value)
    unavailable, surge = not is_zero(rolling.max_unavailable), not is_zero(rolling.max_surge)
    if unavailable and surge:
        why = "may not be set when maxUnavailable is non-zero"
        out.append(field_invalid(f"{path}.maxSurge", rolling.max_surge, why))
    elif not unavailable and not surge:
        out.append(field_required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return out


def update_daemonset(new: apps.DaemonSet, old: apps.DaemonSet) -> list[FieldError]:
    """A DaemonSet that exists; its selector stays."""
    return create_daemonset(new) + unchanged("spec.selector", new.spec.selector, old.spec.selector)


def status_daemonset(new: apps.DaemonSet, old: apps.DaemonSet) -> list[FieldError]:
    """A write of a DaemonSet's status."""
    status, out = new.status, list[FieldError]()
    counts = {
        "currentNumberScheduled": status.current_number_scheduled,
        "numberMisscheduled": status.number_misscheduled,
        "desiredNumberScheduled": status.desired_number_scheduled,
        "numberReady": status.number_ready,
        "observedGeneration": status.observed_generation,
        "updatedNumberScheduled": status.updated_number_scheduled,
        "numberAvailable": status.number_available,
        "numberUnavailable": status.number_unavailable,
    }
    for name, count in counts.items():
        out += not_negative(f"status.{name}", count)
    return out + _collisions(status.collision_count, old.status.collision_count)


def create_controllerrevision(obj: apps.ControllerRevision) -> list[FieldError]:
    """A new ControllerRevision."""
    out = not_negative("revision", obj.revision)
    return out if obj.data is not None else [*out, field_required("data", "data is mandatory")]


def update_controllerrevision(new: apps.ControllerRevision, old: apps.ControllerRevision) -> list[FieldError]:
    """A ControllerRevision that exists; its number may change, what it holds may not."""
    return create_controllerrevision(new) + unchanged("data", new.data, old.data)
