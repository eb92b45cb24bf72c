"""Checks of resource requests and limits."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.api import quantity
from skerry.api.status import FieldError, field_invalid, field_required
from skerry.api.types import core
from skerry.api.validation import names
from skerry.api.validation.errors import NEGATIVE, checked

_STANDARD = ("cpu", "memory", "ephemeral-storage")


def resources(one: core.ResourceRequirements, path: str) -> list[FieldError]:
    """Names and amounts; no request above its limit, and no overcommitting of what cannot be."""
    out = limits(one.limits, f"{path}.limits")
    for name in sorted(one.requests):
        out += _amount(name, one.requests[name], f"{path}.requests[{name}]")
        limit = one.limits.get(name)
        if limit is None:
            if _whole(name):
                out.append(field_required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        elif quantity.valid(limit) and quantity.valid(one.requests[name]):
            asked, most = quantity.parse(one.requests[name]), quantity.parse(limit)
            if _whole(name) and asked != most:
                why = f"must be equal to {name} limit of {limit}"
                out.append(field_invalid(f"{path}.requests", one.requests[name], why))
            elif asked > most:
                why = f"must be less than or equal to {name} limit of {limit}"
                out.append(field_invalid(f"{path}.requests", one.requests[name], why))
    return out


def limits(values: Mapping[str, str], path: str) -> list[FieldError]:
    """Names and amounts by themselves."""
    return [error for name in sorted(values) for error in _amount(name, values[name], f"{path}[{name}]")]


def _whole(name: str) -> bool:
    """Whether a resource is extended (devices) or huge pages: whole, and never overcommitted."""
    return name.startswith("hugepages-") or ("/" in name and not name.startswith("kubernetes.io/"))


def _amount(name: str, text: str, path: str) -> list[FieldError]:
    out = checked(path, name, names.qualified_name)
    if not out and "/" not in name and name not in _STANDARD and not name.startswith("hugepages-"):
        out += [
            field_invalid(path, name, "must be a standard resource type or fully qualified"),
            field_invalid(path, name, "must be a standard resource for containers"),
        ]
    try:
        value = quantity.parse(text)
    except ValueError as error:
        return [*out, field_invalid(path, text, str(error))]
    if value < 0:
        out.append(field_invalid(path, text, NEGATIVE))
    if _whole(name) and value.denominator != 1:
        out.append(field_invalid(path, text, "must be an integer"))
    return out
