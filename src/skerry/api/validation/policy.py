"""Checks of PodDisruptionBudget."""

from __future__ import annotations

from skerry.api.status import FieldError, field_invalid, field_not_supported
from skerry.api.types import policy
from skerry.api.validation import meta as checks
from skerry.api.validation.errors import NEGATIVE, not_negative, shown
from skerry.api.validation.names import percent

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


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


def _number_or_percent(path: str, value: int | str) -> list[FieldError]:
    if isinstance(value, int):
        return [field_invalid(path, value, NEGATIVE)] if value < 0 else []
    complaints = percent(value)
    if not complaints and int(value[:-1]) > 100:
        complaints = ["must not be greater than 100%"]
    return [field_invalid(path, value, one) for one in complaints]
