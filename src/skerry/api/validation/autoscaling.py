"""Checks of HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import quantity
from skerry.api.status import FieldError, field_forbidden, field_invalid, field_not_supported, field_required
from skerry.api.types import autoscalingv2
from skerry.api.validation import names
from skerry.api.validation.errors import not_negative, one_of, reference, required

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOURCES = {
    "ContainerResource": ("containerResource", "container_resource"),
    "External": ("external", "external"),
    "Object": ("object", "object"),
    "Pods": ("pods", "pods"),
    "Resource": ("resource", "resource"),
}
"""The types of metrics, and the fields that they fill."""
_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800


def create_horizontalpodautoscaler(obj: autoscalingv2.HorizontalPodAutoscaler) -> list[FieldError]:
    """A new HorizontalPodAutoscaler."""
    spec, out = obj.spec, list[FieldError]()
    least = spec.min_replicas if spec.min_replicas is not None else 1
    if least < 1:
        out.append(field_invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    if spec.max_replicas < 1:
        out.append(field_invalid("spec.maxReplicas", spec.max_replicas, "must be greater than 0"))
    if spec.max_replicas < least:
        why = "must be greater than or equal to `minReplicas`"
        out.append(field_invalid("spec.maxReplicas", spec.max_replicas, why))
    out += reference("spec.scaleTargetRef", spec.scale_target_ref.kind, spec.scale_target_ref.name)
    out += _metrics(spec.metrics)
    if spec.behavior is not None:
        out += _rules(spec.behavior.scale_up, "spec.behavior.scaleUp")
        out += _rules(spec.behavior.scale_down, "spec.behavior.scaleDown")
    return out


def update_horizontalpodautoscaler(
    new: autoscalingv2.HorizontalPodAutoscaler,
    old: autoscalingv2.HorizontalPodAutoscaler,  # noqa: ARG001
) -> list[FieldError]:
    """A HorizontalPodAutoscaler that exists: all of it may change."""
    return create_horizontalpodautoscaler(new)


def status_horizontalpodautoscaler(
    new: autoscalingv2.HorizontalPodAutoscaler,
    old: autoscalingv2.HorizontalPodAutoscaler,  # noqa: ARG001
) -> list[FieldError]:
    """A write of its status."""
    out = not_negative("status.currentReplicas", new.status.current_replicas)
    return out + not_negative("status.desiredReplicas", new.status.desired_replicas)


def _metrics(metrics: Sequence[autoscalingv2.MetricSpec]) -> list[FieldError]:
    out: list[FieldError] = []
    for i, one in enumerate(metrics):
        path = f"spec.metrics[{i}]"
        given = [field for field, attribute in _SOURCES.values() if getattr(one, attribute) is not None]
        if not one.type:
            out.append(field_required(f"{path}.type", "must specify a metric source type"))
        elif one.type not in _SOURCES:
            out.append(field_not_supported(f"{path}.type", one.type, sorted(_SOURCES)))
        if len(given) == 1:
            out += _source(one, path)
        wanted = _SOURCES.get(one.type, ("", ""))[0]
        if wanted and wanted not in given:
            out.append(field_required(f"{path}.{wanted}", "must populate information for the given metric source"))
        if len(given) != 1:
            why = "must populate the given metric source only"
            out += [field_forbidden(f"{path}.{field}", why) for field in given if field != wanted]
    return out


def _source(one: autoscalingv2.MetricSpec, path: str) -> list[FieldError]:
    """The one source that is given, whatever the type says."""
    if one.resource is not None:
        return _resource(one.resource, f"{path}.resource")
    if one.container_resource is not None:
        at = f"{path}.containerResource"
        out = _resource(one.container_resource, at)
        if not one.container_resource.container:
            out.append(field_required(f"{at}.container", "must specify a container"))
        return out
    if one.pods is not None:
        at, target = f"{path}.pods", one.pods.target
        out = _name(one.pods.metric, at) + _target(target, at)
        if target.average_value is None or not _positive(target.average_value):
            out.append(field_required(f"{at}.target.averageValue", "must specify a positive target averageValue"))
        return out
    if one.object is not None:
        at, target = f"{path}.object", one.object.target
        described = one.object.described_object
        out = reference(f"{at}.describedObject", described.kind, described.name)
        out += _name(one.object.metric, at) + _target(target, at)
        if target.value is None and target.average_value is None:
            out.append(field_required(f"{at}.target.averageValue", "must set either a target value or averageValue"))
        return out
    assert one.external is not None
    at, target = f"{path}.external", one.external.target
    out = _name(one.external.metric, at) + _target(target, at)
    if target.value is None and target.average_value is None:
        why = "must set either a target value for metric or a per-pod target"
        out.append(field_required(f"{at}.target.averageValue", why))
    elif target.value is not None and target.average_value is not None:
        why = "may not set both a target value for metric and a per-pod target"
        out.append(field_forbidden(f"{at}.target.value", why))
    return out


def _resource(
    one: autoscalingv2.ResourceMetricSource | autoscalingv2.ContainerResourceMetricSource, path: str
) -> list[FieldError]:
    out = [] if one.name else [field_required(f"{path}.name", "must specify a resource name")]
    out += _target(one.target, path)
    used, raw = one.target.average_utilization, one.target.average_value
    if used is None and raw is None:
        why = "must set either a target raw value or a target utilization"
        out.append(field_required(f"{path}.target.averageUtilization", why))
    elif used is not None and raw is not None:
        why = "may not set both a target raw value and a target utilization"
        out.append(field_forbidden(f"{path}.target.averageValue", why))
    return out


def _name(metric: autoscalingv2.MetricIdentifier, path: str) -> list[FieldError]:
    return required(f"{path}.metric.name", metric.name, names.path_segment, "must specify a metric name")


def _target(one: autoscalingv2.MetricTarget, path: str) -> list[FieldError]:
    path, out = f"{path}.target", list[FieldError]()
    if not one.type:
        out.append(field_required(f"{path}.type", "must specify a metric target type"))
    elif one.type not in ("Utilization", "Value", "AverageValue"):
        out.append(field_invalid(f"{path}.type", one.type, "must be either Utilization, Value, or AverageValue"))
    for field, text in (("value", one.value), ("averageValue", one.average_value)):
        if text is not None and not _positive(text):
            out.append(field_invalid(f"{path}.{field}", text, "must be positive"))
    if one.average_utilization is not None and one.average_utilization < 1:
        out.append(field_invalid(f"{path}.averageUtilization", one.average_utilization, "must be greater than 0"))
    return out


def _positive(text: str) -> bool:
    return quantity.valid(text) and quantity.parse(text) > 0


def _rules(rules: autoscalingv2.HPAScalingRules | None, path: str) -> list[FieldError]:
    if rules is None:
        return []
    out: list[FieldError] = []
    window = rules.stabilization_window_seconds
    if window is not None and window < 0:
        out.append(field_invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > _LONGEST_WINDOW:
        why = f"must be less than or equal to {_LONGEST_WINDOW}"
        out.append(field_invalid(f"{path}.stabilizationWindowSeconds", window, why))
    if rules.select_policy is not None:
        out += one_of(f"{path}.selectPolicy", rules.select_policy, ("Disabled", "Max", "Min"))
    if not rules.policies:
        out.append(field_required(f"{path}.policies", "must specify at least one Policy"))
    for i, one in enumerate(rules.policies):
        at = f"{path}.policies[{i}]"
        out += one_of(f"{at}.type", one.type, ("Percent", "Pods"))
        for field, number in (("value", one.value), ("periodSeconds", one.period_seconds)):
            if number <= 0:
                out.append(field_invalid(f"{at}.{field}", number, "must be greater than zero"))
        if one.period_seconds > _LONGEST_PERIOD:
            why = f"must be less than or equal to {_LONGEST_PERIOD}"
            out.append(field_invalid(f"{at}.periodSeconds", one.period_seconds, why))
    return out
