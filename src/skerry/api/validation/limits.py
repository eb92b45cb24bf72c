"""Checks of LimitRange and ResourceQuota."""

from __future__ import annotations

from skerry.api import quantity
from skerry.api.quotas import CLASS, SCOPES
from skerry.api.status import FieldError, field_duplicate, field_forbidden, field_invalid, field_not_supported
from skerry.api.status import field_required as required
from skerry.api.types import core
from skerry.api.validation import names
from skerry.api.validation.errors import IMMUTABLE, NEGATIVE, checked, shown

_STANDARD = frozenset(
    {
        "cpu", "memory", "ephemeral-storage", "storage", "pods", "services", "replicationcontrollers", "resourcequotas",
        "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
        "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage", "limits.cpu",
        "limits.memory", "limits.ephemeral-storage",
    }
)  # fmt: skip
_COMPUTE = frozenset(
    one for one in _STANDARD if one == "pods" or one.rpartition(".")[2] in ("cpu", "memory", "ephemeral-storage")
)
_OPPOSITES = (("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort"))
_OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")


def create_resourcequota(obj: core.ResourceQuota) -> list[FieldError]:
    """A new ResourceQuota."""
    out: list[FieldError] = []
    for name in sorted(obj.spec.hard):
        out += _hard(name, obj.spec.hard[name], f"spec.hard[{name}]")
    return out + _scopes(obj.spec)


def update_resourcequota(new: core.ResourceQuota, old: core.ResourceQuota) -> list[FieldError]:
    """A ResourceQuota that exists: its scopes stay."""
    out = create_resourcequota(new)
    if sorted(new.spec.scopes) != sorted(old.spec.scopes):
        out.append(field_invalid("spec.scopes", new.spec.scopes, IMMUTABLE))
    return out


def status_resourcequota(new: core.ResourceQuota, old: core.ResourceQuota) -> list[FieldError]:  # noqa: ARG001
    """A write of its status."""
    out: list[FieldError] = []
    for part in ("hard", "used"):
        for name, text in sorted(getattr(new.status, part).items()):
            out += _hard(name, text, f"status.{part}[{name}]")
    return out


def _hard(name: str, text: str, path: str) -> list[FieldError]:
    out = checked(path, name, names.qualified_name)
    if not out and "/" not in name and name not in _STANDARD and "hugepages-" not in name:
        out += [
            field_invalid(path, name, "must be a standard resource type or fully qualified"),
            field_invalid(path, name, "must be a standard resource for quota"),
        ]
    try:
        value = quantity.parse(text)
    except ValueError as error:
        return [*out, field_invalid(path, text, str(error))]
    if value < 0:
        out.append(field_invalid(path, text, NEGATIVE))
    if value.denominator != 1 and (_counted(name)):
        out.append(field_invalid(path, text, "must be an integer"))
    return out


def _counted(name: str) -> bool:
    kind = name.rpartition(".")[2]
    if name.startswith("count/") or CLASS in name:
        return name.startswith("count/") or name.endswith("persistentvolumeclaims")
    return kind not in ("cpu", "memory", "storage", "ephemeral-storage")


def _scopes(spec: core.ResourceQuotaSpec) -> list[FieldError]:
    out: list[FieldError] = []
    for scope in spec.scopes:
        out += _scope(scope, spec, "spec.scopes", shown(spec.scopes))
    for first, second in _OPPOSITES:
        if first in spec.scopes and second in spec.scopes:
            out.append(field_invalid("spec.scopes", shown(spec.scopes), "conflicting scopes"))
    for i, one in enumerate(spec.scope_selector.match_expressions if spec.scope_selector is not None else ()):
        path = f"spec.scopeSelector.matchExpressions[{i}]"
        out += _scope(one.scope_name, spec, f"{path}.scopeName", one.scope_name)
        if one.operator not in _OPERATORS:
            out.append(field_not_supported(f"{path}.operator", one.operator, _OPERATORS))
        elif one.operator in ("In", "NotIn") and not one.values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            out.append(required(f"{path}.values", why))
        elif one.operator in ("Exists", "DoesNotExist") and one.values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            out.append(field_invalid(f"{path}.values", shown(one.values), why))
        if one.operator != "Exists" and one.scope_name in SCOPES[:4]:
            why = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
            why += "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort and ResourceQuotaScopeNotBestEffort"
            out.append(field_invalid(f"{path}.operator", one.operator, why))
    return out


def _scope(scope: str, spec: core.ResourceQuotaSpec, path: str, value: object) -> list[FieldError]:
    if scope not in SCOPES:
        return [field_invalid(path, value, "unsupported scope")]
    fits = {"pods"} if scope == "BestEffort" else _COMPUTE
    for name in sorted(spec.hard):
        if scope != "VolumeAttributesClass" and name in _STANDARD and name not in fits:
            return [field_invalid(path, value, "unsupported scope applied to resource")]
    return []


def create_limitrange(obj: core.LimitRange) -> list[FieldError]:
    """A new LimitRange."""
    out: list[FieldError] = []
    seen: set[str] = set()
    for i, item in enumerate(obj.spec.limits):
        path = f"spec.limits[{i}]"
        if not item.type:
            out.append(required(f"{path}.type"))
        elif item.type not in ("Container", "Pod", "PersistentVolumeClaim"):
            out += checked(f"{path}.type", item.type, names.qualified_name)
            if "/" not in item.type:
                out.append(field_invalid(f"{path}.type", item.type, "must be a standard limit type or fully qualified"))
        if item.type in seen:
            out.append(field_duplicate(f"{path}.type", item.type))
        seen.add(item.type)
        out += _item(item, path)
    return out


def update_limitrange(new: core.LimitRange, old: core.LimitRange) -> list[FieldError]:  # noqa: ARG001
    """A LimitRange that exists: all of it may change."""
    return create_limitrange(new)


def _item(item: core.LimitRangeItem, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    parts = {
        "max": item.max,
        "min": item.min,
        "default": item.default,
        "defaultRequest": item.default_request,
        "maxLimitRequestRatio": item.max_limit_request_ratio,
    }
    for part, values in parts.items():
        for name in sorted(values):
            at = f"{path}.{part}[{name}]"
            out += checked(at, name, names.qualified_name)
            if not quantity.valid(values[name]):
                out.append(field_invalid(at, values[name], quantity.SAYS))
    if item.type == "Pod":
        for part in ("default", "defaultRequest"):
            if parts[part]:
                why = "may not be specified when `type` is 'Pod'"
                out.append(field_forbidden(f"{path}.{part}", why))
    if item.type == "PersistentVolumeClaim" and "storage" not in item.min and "storage" not in item.max:
        why = "either minimum or maximum storage value is required, but neither was provided"
        out.append(required(f"{path}.limits", why))
    return out or _order(item, path)


def _order(item: core.LimitRangeItem, path: str) -> list[FieldError]:
    """Each of these is at most the next: min, default request, default, max."""
    steps = [("min", item.min), ("defaultRequest", item.default_request), ("default", item.default), ("max", item.max)]
    said = {
        "min": "min value",
        "defaultRequest": "default request value",
        "default": "default value",
        "max": "max value",
    }
    out: list[FieldError] = []
    for name in sorted({name for _, values in steps for name in values}):
        there = [(part, values[name]) for part, values in steps if name in values]
        for i, (part, text) in enumerate(there):
            for other, bound in there[i + 1 :]:
                if quantity.parse(text) > quantity.parse(bound):
                    why = f"{said[part]} {text} is greater than {said[other]} {bound}"
                    out.append(field_invalid(f"{path}.{part}[{name}]", text, why))
    for name, text in sorted(item.max_limit_request_ratio.items()):
        if quantity.parse(text) < 1:
            out.append(field_invalid(f"{path}.maxLimitRequestRatio[{name}]", text, f"ratio {text} is less than 1"))
    return out
