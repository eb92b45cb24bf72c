"""Checks of custom objects: metadata as everywhere, the rest as their schema says. Called by validation."""

from __future__ import annotations

from typing import Any

from skerry.api.custom import CustomResource
from skerry.api.status import FieldError, field_invalid
from skerry.api.structural import paths
from skerry.api.structural.values import kind_of
from skerry.api.unstructured import Unstructured
from skerry.api.validation import meta, names

_MOST = 2**31 - 1


def create(obj: Unstructured) -> list[FieldError]:
    row = _row(obj)
    out = meta.create(obj.metadata, row.namespaced, names.dns1123_subdomain)
    return out + row.schema.validate(obj.content) + _scale(row, obj.content)


def update(new: Unstructured, old: Unstructured, subresource: str) -> list[FieldError]:
    row = _row(new)
    out = meta.update(new.metadata, old.metadata)
    if subresource == "status":
        return out + row.schema.validate_status(new.content, old.content) + _scale(row, new.content, only="status")
    return out + row.schema.validate(new.content, old.content) + _scale(row, new.content)


def _row(obj: Unstructured) -> CustomResource:
    row = obj.row
    assert isinstance(row, CustomResource)
    return row


def _scale(row: CustomResource, content: dict[str, Any], only: str = "") -> list[FieldError]:
    """What the scale subresource speaks of has to be what it takes it for."""
    found = row.scale
    if found is None:
        return []
    out: list[FieldError] = []
    for path in (found.status_replicas_path,) if only else (found.spec_replicas_path, found.status_replicas_path):
        value = paths.dotted(content, path)
        if value is None:
            continue
        if kind_of(value) != "integer":
            why = f"{path} accessor error: {value} is of the type {_go(value)}, expected int64"
            out.append(field_invalid(path, 0, why))
        elif value < 0:
            out.append(field_invalid(path, value, "should be a non-negative integer"))
        elif value > _MOST:
            out.append(field_invalid(path, value, f"should be less than or equal to {_MOST}"))
    if selector := found.label_selector_path:
        value = paths.dotted(content, selector)
        if value is not None and not isinstance(value, str):
            why = f"{selector} accessor error: {value} is of the type {_go(value)}, expected string"
            out.append(field_invalid(selector, "", why))
    return out


def _go(value: Any) -> str:
    names = {"number": "float64", "integer": "int64", "boolean": "bool", "array": "[]interface {}"}
    return names.get(kind_of(value), "string" if isinstance(value, str) else "map[string]interface {}")
