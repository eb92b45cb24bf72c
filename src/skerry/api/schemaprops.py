"""What a CustomResourceDefinition's schema may hold: JSONSchemaProps, checked as bodies are. Called by api/schema.py.

The type refers to itself, so it has no Struct: what is checked here stays plain values, without what says nothing
(nulls, empty texts and lists, false where false is what is meant anyway).
"""

from __future__ import annotations

from typing import Any

from skerry.api import schema

LEAVES: dict[str, str] = {
    **dict.fromkeys(("id", "$schema", "description", "type", "format", "title", "pattern"), "str"),
    **dict.fromkeys(("maximum", "minimum", "multipleOf"), "float"),
    **dict.fromkeys(("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"), "int64"),
    **dict.fromkeys(("exclusiveMaximum", "exclusiveMinimum", "uniqueItems", "nullable"), "bool"),
    **dict.fromkeys(("$ref", "x-kubernetes-list-type", "x-kubernetes-map-type"), "str"),
    **dict.fromkeys(("required", "x-kubernetes-list-map-keys"), "[]str"),
    "x-kubernetes-preserve-unknown-fields": "bool",
    "x-kubernetes-embedded-resource": "bool",
    "x-kubernetes-int-or-string": "bool",
    "x-kubernetes-validations": "[]apiextensions.ValidationRule",
    "externalDocs": "apiextensions.ExternalDocumentation",
}
SCHEMAS = ("allOf", "anyOf", "oneOf")
MAPS = ("properties", "patternProperties", "definitions")
_POINTERS = {"$ref", "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields"}
_LEFT_OUT = {*LEAVES, *SCHEMAS, *MAPS, "enum", "dependencies"} - _POINTERS
"""Where an empty value is the same as none."""


def check(value: Any, at: str, unknown: list[str]) -> dict[str, Any]:
    """A schema, clean; unknown fields are added to `unknown`. schema.Wrong."""
    if type(value) is not dict:
        raise schema.Wrong(schema.found_kind(value), "v1.JSONSchemaProps")
    out: dict[str, Any] = {}
    key = ""
    try:
        for key, one in value.items():
            if one is None:
                continue
            clean = _field(key, one, f"{at}.{key}", unknown)
            if clean is not _UNKNOWN and not (key in _LEFT_OUT and _says_nothing(clean)):
                out[key] = clean
    except schema.Wrong as error:
        error.struct = error.struct or "JSONSchemaProps"
        error.path = f"{key}.{error.path}" if error.path else key
        raise
    return out


_UNKNOWN = object()


def _says_nothing(value: Any) -> bool:
    return value is False or (not isinstance(value, int | float) and not value)


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise schema.Wrong(schema.found_kind(value), "[]v1.JSONSchemaProps")
    return value


def _map(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise schema.Wrong(schema.found_kind(value), "map[string]v1.JSONSchemaProps")
    return value


def _field(key: str, value: Any, at: str, unknown: list[str]) -> Any:
    if key in LEAVES:
        return schema.entry_of(LEAVES[key])(value, at, unknown)
    if key in ("default", "example"):
        return value
    if key == "enum":
        return _list(value)
    if key in SCHEMAS or (key == "items" and isinstance(value, list)):
        return [check(one, f"{at}[{index}]", unknown) for index, one in enumerate(_list(value))]
    if key in MAPS:
        return {name: check(one or {}, f"{at}.{name}", unknown) for name, one in _map(value).items()}
    if key in ("additionalProperties", "additionalItems"):
        return value if isinstance(value, bool) else check(value, at, unknown)
    if key == "dependencies":
        return {
            name: one if isinstance(one, list) else check(one, f"{at}.{name}", unknown)
            for name, one in _map(value).items()
        }
    if key in ("not", "items"):
        return check(value, at, unknown)
    unknown.append(at)
    return _UNKNOWN
