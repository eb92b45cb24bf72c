"""Checks of ObjectMeta, labels and label selectors. Called by every kind's checks and once per object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skerry.api.status import (
    FieldError,
    field_forbidden,
    field_invalid,
    field_required,
    field_too_long,
)
from skerry.api.types import meta
from skerry.api.validation import names
from skerry.api.validation.errors import all_good, checked, invalids, not_negative, remembered, shown, unchanged

ANNOTATIONS_LIMIT = 256 * 1024
_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


def labels(path: str, values: Mapping[str, str]) -> list[FieldError]:
    """Keys and values of labels."""
    out: list[FieldError] = []
    if all_good(names.qualified_name, values) and all_good(names.label_value, values.values()):
        return out
    for key in sorted(values):
        out += checked(path, key, names.qualified_name)
        out += checked(path, values[key], names.label_value)
    return out


def annotation_map(path: str, values: Mapping[str, str]) -> list[FieldError]:
    """Keys of annotations, whatever their case, and the size of all together in bytes."""
    out: list[FieldError] = []
    if not all_good(names.qualified_name, map(str.lower, values)):
        for key in sorted(values):
            out += invalids(path, key, remembered(names.qualified_name, key.lower()))
    if len("".join([*values, *values.values()]).encode()) > ANNOTATIONS_LIMIT:
        out.append(field_too_long(path, ANNOTATIONS_LIMIT))
    return out


def label_selector(path: str, selector: meta.LabelSelector | None) -> list[FieldError]:
    """A structured selector; None is good."""
    if selector is None:
        return []
    out = labels(f"{path}.matchLabels", selector.match_labels)
    for i, one in enumerate(selector.match_expressions):
        at = f"{path}.matchExpressions[{i}]"
        match one.operator:
            case "In" | "NotIn":
                if not one.values:
                    out.append(field_required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
            case "Exists" | "DoesNotExist":
                if one.values:
                    why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    out.append(field_forbidden(f"{at}.values", why))
            case _:
                out.append(field_invalid(f"{at}.operator", one.operator, "not a valid selector operator"))
        out += checked(f"{at}.key", one.key, names.qualified_name)
        for j, value in enumerate(one.values):
            out += checked(f"{at}.values[{j}]", value, names.label_value)
    return out


def create(value: meta.ObjectMeta, namespaced: bool, name: names.Check, path: str = "metadata") -> list[FieldError]:
    """ObjectMeta of an object that is about to be created, its name already generated."""
    out: list[FieldError] = []
    if value.generate_name:
        out += checked(f"{path}.generateName", value.generate_name, names.as_prefix(name))
    if not value.name:
        out.append(field_required(f"{path}.name", "name or generateName is required"))
    else:  # none comes again
        out += invalids(f"{path}.name", value.name, name(value.name))
    if namespaced:
        if not value.namespace:
            out.append(field_required(f"{path}.namespace"))
        else:
            out += checked(f"{path}.namespace", value.namespace, names.dns1123_label)
    elif value.namespace:
        out.append(field_forbidden(f"{path}.namespace", "not allowed on this type"))
    out += not_negative(f"{path}.generation", value.generation)
    out += labels(f"{path}.labels", value.labels)
    out += annotation_map(f"{path}.annotations", value.annotations)
    out += owner_references(f"{path}.ownerReferences", value.owner_references)
    out += finalizers(f"{path}.finalizers", value.finalizers)
    return out


def update(new: meta.ObjectMeta, old: meta.ObjectMeta, path: str = "metadata") -> list[FieldError]:
    """ObjectMeta of an object that exists."""
    out: list[FieldError] = []
    if old.deletion_timestamp is not None:
        extra = sorted(set(new.finalizers) - set(old.finalizers))
        if extra:
            listed = ", ".join(f'"{one}"' for one in extra)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers "
            out.append(field_forbidden(f"{path}.finalizers", f"{why}[]string{{{listed}}}"))
    out += not_negative(f"{path}.generation", new.generation)
    if new.generation < old.generation:
        out.append(field_invalid(f"{path}.generation", new.generation, "must not be decremented"))
    out += unchanged(f"{path}.name", new.name, old.name)
    out += unchanged(f"{path}.namespace", new.namespace, old.namespace)
    out += unchanged(f"{path}.uid", new.uid, old.uid)
    out += unchanged(f"{path}.creationTimestamp", new.creation_timestamp, old.creation_timestamp)
    out += unchanged(f"{path}.deletionTimestamp", new.deletion_timestamp, old.deletion_timestamp)
    out += unchanged(
        f"{path}.deletionGracePeriodSeconds", new.deletion_grace_period_seconds, old.deletion_grace_period_seconds
    )
    # What has not changed was good when it came.
    if new.labels != old.labels:
        out += labels(f"{path}.labels", new.labels)
    if new.annotations != old.annotations:
        out += annotation_map(f"{path}.annotations", new.annotations)
    if new.owner_references != old.owner_references:
        out += owner_references(f"{path}.ownerReferences", new.owner_references)
    if new.finalizers != old.finalizers:
        out += finalizers(f"{path}.finalizers", new.finalizers)
    return out


def owner_references(path: str, references: Sequence[meta.OwnerReference]) -> list[FieldError]:
    """Complete references, at most one of them the controller's."""
    out: list[FieldError] = []
    controller = ""
    for i, one in enumerate(references):
        at = f"{path}[{i}]"
        group, _, version = one.api_version.rpartition("/")
        if not one.api_version:
            out.append(field_required(f"{at}.apiVersion", "must not be empty"))
        elif not version or "/" in group:
            why = "must be <group>/<version> or <version>"
            out.append(field_invalid(f"{at}.apiVersion", one.api_version, why))
        for field, value in (("kind", one.kind), ("name", one.name), ("uid", one.uid)):
            if not value:
                out.append(field_required(f"{at}.{field}", "must not be empty"))
        if one.api_version == "v1" and one.kind == "Event":
            out.append(field_invalid(at, shown(one), "/v1, Kind=Event is disallowed from being an owner"))
        if one.controller:
            named = f"{one.kind}/{one.name}"
            if controller:
                why = 'Only one reference can have Controller set to true. Found "true" in references for '
                out.append(field_invalid(path, shown(list(references)), f"{why}{controller} and {named}"))
            else:
                controller = named
    return out


def prefixed(path: str, finalizer: str) -> list[FieldError]:
    """A finalizer of a built-in kind has a prefix, or is one of the few words that stand alone."""
    if "/" in finalizer or finalizer in ("kubernetes", _FOREGROUND, _ORPHAN):
        return []
    return [field_invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]


def finalizers(path: str, values: Sequence[str]) -> list[FieldError]:
    """Qualified names (or one of the two old words) that do not contradict each other."""
    out: list[FieldError] = []
    for one in values:
        out += checked(path, one, names.qualified_name)
    if _FOREGROUND in values and _ORPHAN in values:
        why = f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set"
        out.append(field_invalid(path, list(values), why))
    return out
