"""Checks of PodDisruptionBudget and PriorityClass: which pods make way for others."""

from __future__ import annotations

from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported
from skerry.api.types import policy, scheduling
from skerry.api.validation import meta as checks
from skerry.api.validation.errors import NEGATIVE, not_negative, shown, unchanged
from skerry.api.validation.names import percent

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_PREEMPTION = ("Never", "PreemptLowerPriority")
_HIGHEST = 1_000_000_000
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The classes that every cluster has, and their values."""


def create_poddisruptionbudget(obj: policy.PodDisruptionBudget) -> list[FieldError]:
    """A new PodDisruptionBudget."""
    spec, out = obj.spec, list[FieldError]()
    if spec.min_available is not None and spec.max_unavailable is not None:
        out.append(field_invalid("spec", shown(spec), "minAvailable and maxUnavailable cannot be both set"))
    if spec.min_available is not None:
        out += _number_or_percent("spec.minAvailable", spec.min_available)
    if spec.max_unavailable is not None:
        out += _number_or_percent("spec.maxUnavailable", spec.max_unavailable)
    out += checks.label_selector("spec.selector", spec.selector)
    chosen = spec.unhealthy_pod_eviction_policy
    if chosen is not None and chosen not in _POLICIES:
        out.append(field_not_supported("spec.unhealthyPodEvictionPolicy", chosen, _POLICIES))
    return out


def update_poddisruptionbudget(
    new: policy.PodDisruptionBudget,
    old: policy.PodDisruptionBudget,  # noqa: ARG001
) -> list[FieldError]:
    """A PodDisruptionBudget that exists: all of it may change."""
    return create_poddisruptionbudget(new)


def status_poddisruptionbudget(
    new: policy.PodDisruptionBudget,
    old: policy.PodDisruptionBudget,  # noqa: ARG001
) -> list[FieldError]:
    """A write of its status."""
    counts = {
        "disruptionsAllowed": new.status.disruptions_allowed,
        "currentHealthy": new.status.current_healthy,
        "desiredHealthy": new.status.desired_healthy,
        "expectedPods": new.status.expected_pods,
    }
    return [error for name, count in counts.items() for error in not_negative(f"status.{name}", count)]


def create_priorityclass(obj: scheduling.PriorityClass) -> list[FieldError]:
    """A new PriorityClass. Names that begin with `system-` are those of SYSTEM_PRIORITIES only."""
    name, out = obj.metadata.name, list[FieldError]()
    if name.startswith("system-"):
        wrong = _no_system_class(obj)
        if wrong:
            why = "priority class names with 'system-' prefix are reserved for system use only. error: "
            out.append(field_forbidden("metadata.name", why + wrong))
    elif obj.value > _HIGHEST:
        out.append(field_forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}"))
    if obj.preemption_policy is not None and obj.preemption_policy not in _PREEMPTION:
        out.append(field_not_supported("preemptionPolicy", obj.preemption_policy, _PREEMPTION))
    return out


def update_priorityclass(new: scheduling.PriorityClass, old: scheduling.PriorityClass) -> list[FieldError]:
    """A PriorityClass that exists: pods have its value already, so that stays."""
    out: list[FieldError] = []
    if new.value != old.value:
        out.append(field_forbidden("value", "may not be changed in an update."))
    return out + unchanged("preemptionPolicy", new.preemption_policy, old.preemption_policy)


def _no_system_class(obj: scheduling.PriorityClass) -> str:
    name = obj.metadata.name
    if name not in SYSTEM_PRIORITIES:
        return f"{name} is not a known system priority class"
    if obj.value != SYSTEM_PRIORITIES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if obj.global_default else ""


def _number_or_percent(path: str, value: int | str) -> list[FieldError]:
    if isinstance(value, int):
        return [field_invalid(path, value, NEGATIVE)] if value < 0 else []
    complaints = percent(value)
    if not complaints and int(value[:-1]) > 100:
        complaints = ["must not be greater than 100%"]
    return [field_invalid(path, value, one) for one in complaints]
