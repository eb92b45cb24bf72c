"""Checks of Pod and of pod templates."""

from __future__ import annotations

from skerry.api.status import FieldError, field_required
from skerry.api.types import core
from skerry.api.validation import meta


def create_pod(obj: core.Pod) -> list[FieldError]:
    """A new Pod."""
    return spec(obj.spec, "spec")


def template(one: core.PodTemplateSpec, path: str) -> list[FieldError]:
    """The template of a workload."""
    out = meta.labels(f"{path}.labels", one.metadata.labels)
    out += meta.annotation_map(f"{path}.annotations", one.metadata.annotations)
    return out + spec(one.spec, f"{path}.spec")


def spec(one: core.PodSpec, path: str) -> list[FieldError]:
    """A pod's spec."""
    return [] if one.containers else [field_required(f"{path}.containers")]
