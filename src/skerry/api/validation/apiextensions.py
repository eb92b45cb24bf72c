"""Checks of CustomResourceDefinitions. Called through validation.create and validation.update."""

from __future__ import annotations

from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_many,
)
from skerry.api.structural import rules
from skerry.api.structural.node import Node, parse
from skerry.api.structural.paths import Path
from skerry.api.types import apiextensions
from skerry.api.validation import names
from skerry.api.validation.errors import unchanged

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MOST_SELECTABLE = 8
APPROVAL = "api-approved.kubernetes.io"
_WHY = "https://github.com/kubernetes/enhancements/pull/1111"


def create_customresourcedefinition(obj: apiextensions.CustomResourceDefinition) -> list[FieldError]:
    out: list[FieldError] = []
    if obj.metadata.name != f"{obj.spec.names.plural}.{obj.spec.group}":
        out.append(field_invalid("metadata.name", obj.metadata.name, 'must be spec.names.plural+"."+spec.group'))
    return out + _spec(obj.spec, None) + _approved(obj, None) + _preserving(obj)


def update_customresourcedefinition(
    new: apiextensions.CustomResourceDefinition, old: apiextensions.CustomResourceDefinition
) -> list[FieldError]:
    out = _spec(new.spec, old.spec)
    if any(one.type == "Established" and one.status == "True" for one in old.status.conditions):
        out += unchanged("spec.scope", new.spec.scope, old.spec.scope)
        out += unchanged("spec.names.kind", new.spec.names.kind, old.spec.names.kind)
    out += unchanged("spec.group", new.spec.group, old.spec.group)
    out += unchanged("spec.names.plural", new.spec.names.plural, old.spec.names.plural)
    return out + _stored(new) + _approved(new, old) + _preserving(new)


def _stored(obj: apiextensions.CustomResourceDefinition) -> list[FieldError]:
    """A version in which objects may still be stored has to stay."""
    path, stored = "status.storedVersions", obj.status.stored_versions
    if not stored:
        return [field_invalid(path, stored, "must have at least one stored version")]
    known = {one.name for one in obj.spec.versions}
    out = [
        field_invalid(path, stored, f"must have the storage version {one.name}")
        for one in obj.spec.versions
        if one.storage and one.name not in stored
    ]
    for index, one in enumerate(stored):
        if one not in known:
            why = (
                f"missing from spec.versions; {one} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {one} and removes {one} from "
                "status.storedVersions"
            )
            out.append(field_invalid(f"{path}[{index}]", one, why))
    return out


def _approved(
    new: apiextensions.CustomResourceDefinition, old: apiextensions.CustomResourceDefinition | None
) -> list[FieldError]:
    """Groups of the Kubernetes community carry the address of their review, or say that they have none."""
    group = new.spec.group
    if not (group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))):
        return []
    said = new.metadata.annotations.get(APPROVAL)
    if old is not None and (old.metadata.annotations.get(APPROVAL) or "") == (said or ""):
        return []
    path = f"metadata.annotations[{APPROVAL}]"
    must = f'protected groups must have approval annotation "{APPROVAL}"'
    if not said:
        return [field_required(path, f"{must}, see {_WHY}")]
    if said.startswith("unapproved") or ("://" in said and said.split("://", 1)[1]):
        return []
    return [field_invalid(path, said, f'{must} with either a URL or a reason starting with "unapproved", see {_WHY}')]


def _preserving(obj: apiextensions.CustomResourceDefinition) -> list[FieldError]:
    if not obj.spec.preserve_unknown_fields:
        return []
    why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [field_invalid("spec.preserveUnknownFields", True, why)]


def _spec(
    spec: apiextensions.CustomResourceDefinitionSpec, old: apiextensions.CustomResourceDefinitionSpec | None
) -> list[FieldError]:
    out: list[FieldError] = []
    if not spec.group:
        out.append(field_required("spec.group"))
    elif wrong := names.dns1123_subdomain(spec.group):
        out.append(field_invalid("spec.group", spec.group, ",".join(wrong)))
    elif "." not in spec.group:
        out.append(field_invalid("spec.group", spec.group, "should be a domain with at least one dot"))
    if not spec.scope:
        out.append(field_required("spec.scope"))
    elif spec.scope not in ("Cluster", "Namespaced"):
        out.append(field_not_supported("spec.scope", spec.scope, ["Cluster", "Namespaced"]))
    known = {one.name: one for one in old.versions} if old is not None else {}
    seen: set[str] = set()
    for index, version in enumerate(spec.versions):
        path = f"spec.versions[{index}]"
        if version.schema is None or version.schema.open_apiv3_schema is None:
            out.append(field_required(f"{path}.schema.openAPIV3Schema"))
        if wrong := names.dns1035_label(version.name):
            out.append(field_invalid(f"{path}.name", version.name, ",".join(wrong)))
        if known.get(version.name) != version:  # what has not changed was good when it came
            out += _version(version, path)
    shown = [one.name for one in spec.versions]
    for name in shown:
        if name in seen:
            out.append(field_invalid("spec.versions", shown, "must contain unique version names"))
            break
        seen.add(name)
    if sum(one.storage for one in spec.versions) != 1:
        out.append(field_invalid("spec.versions", shown, "must have exactly one version marked as storage version"))
    for field, value in (
        ("plural", spec.names.plural),
        ("singular", spec.names.singular),
        ("kind", spec.names.kind),
        ("listKind", spec.names.list_kind),
    ):
        if not value:
            out.append(field_required(f"spec.names.{field}"))
    return out + _names(spec.names, "spec.names") + _conversion(spec.conversion)


def _names(found: apiextensions.CustomResourceDefinitionNames, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for field, value in (("plural", found.plural), ("singular", found.singular)):
        if value and (wrong := names.dns1035_label(value)):
            out.append(field_invalid(f"{path}.{field}", value, ",".join(wrong)))
    for field, value in (("kind", found.kind), ("listKind", found.list_kind)):
        if value and (wrong := names.dns1035_label(value.lower())):
            why = "may have mixed case, but should otherwise match: " + ",".join(wrong)
            out.append(field_invalid(f"{path}.{field}", value, why))
    for field, values in (("shortNames", found.short_names), ("categories", found.categories)):
        for index, value in enumerate(values):
            if wrong := names.dns1035_label(value):
                out.append(field_invalid(f"{path}.{field}[{index}]", value, ",".join(wrong)))
    if found.kind and found.kind == found.list_kind:
        out.append(field_invalid(f"{path}.listKind", found.list_kind, "kind and listKind may not be the same"))
    return out


def _conversion(found: apiextensions.CustomResourceConversion | None) -> list[FieldError]:
    """Objects are carried over as they are; a webhook that would change them is refused here, not at the first read."""
    if found is None or found.strategy == "None":
        if found is not None and found.webhook is not None:
            why = "should not be set when strategy is not set to Webhook"
            return [field_forbidden("spec.conversion.webhookClientConfig", why)]
        return []
    path = "spec.conversion.strategy"
    if not found.strategy:
        return [field_required(path)]
    if found.strategy == "Webhook":
        why = "Skerry does not call conversion webhooks; objects of all versions must have the same fields (None)"
        return [field_forbidden(path, why)]
    return [field_not_supported(path, found.strategy, ["None", "Webhook"])]


def _version(version: apiextensions.CustomResourceDefinitionVersion, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    warning = version.deprecation_warning
    if warning is not None:
        at = f"{path}.deprecationWarning"
        if not version.deprecated:
            out.append(field_invalid(at, warning, "can only be set for deprecated versions"))
        elif len(warning) > 256:
            out.append(field_invalid(at, warning, "must be <= 256 characters long"))
        elif not warning:
            out.append(field_invalid(at, warning, "must not be an empty string"))
    parts = version.subresources
    schema = version.schema.open_apiv3_schema if version.schema is not None else None
    if schema is not None:
        has_status = parts is not None and parts.status is not None
        out += rules.check(schema, f"{path}.schema.openAPIV3Schema", status=has_status)
    if parts is not None and parts.scale is not None:
        out += _scale(parts.scale, f"{path}.subresources.scale")
    for index, one in enumerate(version.additional_printer_columns):
        out += _column(one, f"{path}.additionalPrinterColumns[{index}]")
    if version.selectable_fields and schema is not None:
        out += _selectable(version.selectable_fields, parse(schema), f"{path}.selectableFields")
    return out


def _scale(scale: apiextensions.CustomResourceSubresourceScale, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    for field, value, below in (
        ("specReplicasPath", scale.spec_replicas_path, ".spec"),
        ("statusReplicasPath", scale.status_replicas_path, ".status"),
    ):
        at = f"{path}.{field}"
        if not value:
            out.append(field_required(at))
        elif wrong := _simple(value, at):
            out += wrong
        elif not value.startswith(f"{below}."):
            out.append(field_invalid(at, value, f"should be a json path under {below}"))
    if selector := scale.label_selector_path:
        at = f"{path}.labelSelectorPath"
        wrong = _simple(selector, at)
        if not wrong and not selector.startswith((".spec.", ".status.")):
            wrong = [field_invalid(at, selector, "should be a json path under either .spec or .status")]
        out += wrong
    return out


def _simple(value: str, at: str) -> list[FieldError]:
    if not value.startswith("."):
        return [field_invalid(at, value, "must be a simple json path starting with .")]
    return []


def _column(one: apiextensions.CustomResourceColumnDefinition, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if not one.name:
        out.append(field_required(f"{path}.name"))
    why = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not one.type:
        out.append(field_required(f"{path}.type", why))
    elif one.type not in _COLUMN_TYPES:
        out.append(field_invalid(f"{path}.type", one.type, why))
    if one.format and one.format not in _COLUMN_FORMATS:
        out.append(field_invalid(f"{path}.format", one.format, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    at = f"{path}.JSONPath"
    if not one.json_path:
        return [*out, field_required(at)]
    if wrong := _simple(one.json_path, at):
        return out + wrong
    try:
        Path(one.json_path)
    except ValueError as error:
        out.append(field_invalid(at, one.json_path, str(error)))
    return out


def _selectable(fields: list[apiextensions.SelectableField], root: Node, path: str) -> list[FieldError]:
    out: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(fields):
        at, text = f"{path}[{index}].jsonPath", one.json_path
        if not text:
            out.append(field_required(at))
            continue
        node: Node | None = root
        for name in text.removeprefix(".").split("."):
            node = node.properties.get(name) if node is not None else None
        if not text.startswith(".") or node is None:
            why = "does not refer to a valid field" if text.startswith(".") else "must start with ."
            out.append(field_invalid(at, text, f"is an invalid path: {why}"))
            continue
        if text.startswith(".metadata"):
            out.append(field_invalid(at, text, "must not point to fields in metadata"))
        if node.type not in ("string", "boolean", "integer"):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            out.append(field_invalid(at, text, why))
        if text in seen:
            out.append(field_duplicate(at, text))
        seen.add(text)
    if len(seen) > _MOST_SELECTABLE:
        out.append(field_too_many(path, len(seen), _MOST_SELECTABLE))
    return out
