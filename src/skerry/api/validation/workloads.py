"""Checks of Deployment and ReplicaSet (A1), and of what other workloads have in common with them."""

from __future__ import annotations

from skerry.api import labels
from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported, field_required
from skerry.api.types import apps, core, meta
from skerry.api.validation import meta as checks
from skerry.api.validation import names
from skerry.api.validation.errors import not_negative, shown, unchanged
from skerry.api.validation.pod import template


def create_deployment(obj: apps.Deployment) -> list[FieldError]:
    """A new Deployment."""
    spec = obj.spec
    out = not_negative("spec.replicas", spec.replicas)
    out += selector(spec.selector)
    out += lasting_template(spec.template, spec.selector)
    out += _strategy(spec.strategy)
    out += not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    out += not_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    deadline = spec.progress_deadline_seconds
    out += not_negative("spec.progressDeadlineSeconds", deadline)
    if deadline is not None and deadline <= spec.min_ready_seconds:
        why = "must be greater than minReadySeconds"
        out.append(field_invalid("spec.progressDeadlineSeconds", deadline, why))
    return out


def update_deployment(new: apps.Deployment, old: apps.Deployment) -> list[FieldError]:
    """A Deployment that exists; its selector stays."""
    return create_deployment(new) + unchanged("spec.selector", new.spec.selector, old.spec.selector)


def status_deployment(new: apps.Deployment, old: apps.Deployment) -> list[FieldError]:
    """A write of a Deployment's status."""
    status, out = new.status, list[FieldError]()
    counts = {
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "updatedReplicas": status.updated_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "unavailableReplicas": status.unavailable_replicas,
    }
    for name, count in counts.items():
        out += not_negative(f"status.{name}", count)
    out += not_negative("status.collisionCount", status.collision_count)
    out += at_most(counts, "status.replicas", ("updatedReplicas", "readyReplicas", "availableReplicas"))
    out += at_most(counts, "readyReplicas", ("availableReplicas",))
    if (status.collision_count or 0) < (old.status.collision_count or 0):
        out.append(field_invalid("status.collisionCount", status.collision_count, "cannot be decremented"))
    return out


def create_replicaset(obj: apps.ReplicaSet) -> list[FieldError]:
    """A new ReplicaSet."""
    spec = obj.spec
    out = not_negative("spec.replicas", spec.replicas)
    out += not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    return out + selector(spec.selector) + lasting_template(spec.template, spec.selector)


def update_replicaset(new: apps.ReplicaSet, old: apps.ReplicaSet) -> list[FieldError]:
    """A ReplicaSet that exists; its selector stays."""
    return create_replicaset(new) + unchanged("spec.selector", new.spec.selector, old.spec.selector)


def status_replicaset(new: apps.ReplicaSet, old: apps.ReplicaSet) -> list[FieldError]:  # noqa: ARG001
    """A write of a ReplicaSet's status."""
    status, out = new.status, list[FieldError]()
    counts = {
        "replicas": status.replicas,
        "fullyLabeledReplicas": status.fully_labeled_replicas,
        "readyReplicas": status.ready_replicas,
        "availableReplicas": status.available_replicas,
        "observedGeneration": status.observed_generation,
    }
    for name, count in counts.items():
        out += not_negative(f"status.{name}", count)
    out += at_most(counts, "status.replicas", ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"))
    return out + at_most(counts, "readyReplicas", ("availableReplicas",))


def at_most(counts: dict[str, int], limit: str, parts: tuple[str, ...]) -> list[FieldError]:
    """Complaints about those parts of a status that are more than the whole."""
    return [
        field_invalid(f"status.{name}", counts[name], f"cannot be greater than {limit}")
        for name in parts
        if counts[name] > counts[limit.removeprefix("status.")]
    ]


def selector(one: meta.LabelSelector | None, kind: str = "deployment") -> list[FieldError]:
    """A selector that must select something. (Upstream says "deployment" of ReplicaSets too.)"""
    if one is None:
        return [field_required("spec.selector")]
    out = checks.label_selector("spec.selector", one)
    if not one.match_labels and not one.match_expressions:
        out.append(field_invalid("spec.selector", shown(one), f"empty selector is invalid for {kind}"))
    return out


def lasting_template(
    one: core.PodTemplateSpec, selector: meta.LabelSelector | None, kind: str = "ReplicaSet"
) -> list[FieldError]:
    """The template of pods that run for ever, which the selector must match."""
    path, out = "spec.template", list[FieldError]()
    if selector is None or selector.match_labels or selector.match_expressions:  # none at all matches nothing
        try:
            matches = selector is not None and labels.from_selector(selector).matches(one.metadata.labels)
        except ValueError:
            out.append(field_invalid("spec.selector", shown(selector), "invalid label selector"))
            matches = True
        if not matches:
            why = "`selector` does not match template `labels`"
            out.append(field_invalid(f"{path}.metadata.labels", shown(one.metadata.labels) or None, why))
    out += template(one, path)
    if one.spec.restart_policy and one.spec.restart_policy != "Always":
        out.append(field_not_supported(f"{path}.spec.restartPolicy", one.spec.restart_policy, ("Always",)))
    if one.spec.active_deadline_seconds is not None:
        why = f"activeDeadlineSeconds in {kind} is not Supported"
        out.append(field_forbidden(f"{path}.spec.activeDeadlineSeconds", why))
    return out


def _strategy(one: apps.DeploymentStrategy) -> list[FieldError]:
    path, rolling = "spec.strategy.rollingUpdate", one.rolling_update
    if one.type == "Recreate":
        why = "may not be specified when strategy `type` is 'Recreate'"
        return [field_forbidden(path, why)] if rolling is not None else []
    if one.type != "RollingUpdate":
        return [field_not_supported("spec.strategy", shown(one), ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [field_required(path, "this should be defaulted and never be nil")]
    unavailable, surge = rolling.max_unavailable, rolling.max_surge
    out = number_or_percent(f"{path}.maxUnavailable", unavailable)
    out += number_or_percent(f"{path}.maxSurge", surge)
    if is_zero(unavailable) and is_zero(surge):
        out.append(field_invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    if isinstance(unavailable, str) and not names.percent(unavailable) and int(unavailable[:-1]) > 100:
        out.append(field_invalid(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%"))
    return out


def number_or_percent(path: str, value: int | str | None) -> list[FieldError]:
    """A number that is not negative, or a percentage."""
    if isinstance(value, str):
        return [field_invalid(path, value, one) for one in names.percent(value)]
    return not_negative(path, value)


def is_zero(value: int | str | None) -> bool:
    """Whether a number or percentage is nothing."""
    return value in (None, 0) or (isinstance(value, str) and value.rstrip("%").strip("0") == "")
