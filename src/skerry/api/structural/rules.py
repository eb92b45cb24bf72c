"""What makes a schema one that can be served: structural, complete, with defaults that fit. Called by validation.

A schema's own fields were checked before (schemaprops.py). Paths are those of the CustomResourceDefinition.
"""

from __future__ import annotations

import re
from typing import Any

from skerry.api.patch.base import copied, same
from skerry.api.status import (
    FieldError,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from skerry.api.structural import values
from skerry.api.structural.node import MISSING, parse
from skerry.api.structural.prune import META, prune
from skerry.api.structural.regexps import regexp

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_NESTED = ("allOf", "anyOf", "oneOf")
_WHERE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def check(source: dict[str, Any], at: str, *, status: bool = False) -> list[FieldError]:
    """What is wrong with the schema of a version; `status`: it has the subresource."""
    out: list[FieldError] = []
    if status and source.get("type") not in (None, "object"):
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        out.append(field_invalid(f"{at}.type", source["type"], why))
    if source.get("nullable"):
        out.append(field_forbidden(f"{at}.nullable", "nullable cannot be true at the root"))
    structure = sorted(
        [*_structure(source, "root", at), *_complete(source, source, at, at)], key=lambda one: (one.field, one.message)
    )
    out += structure or _defaults({**source, "x-kubernetes-embedded-resource": True}, at, top=True)
    return out + _standard(source, at, root=True)


# Structure.


def _structure(one: dict[str, Any], level: str, at: str) -> list[FieldError]:
    out: list[FieldError] = []
    kind, items, extra = one.get("type", ""), one.get("items"), one.get("additionalProperties")
    embedded, either = one.get("x-kubernetes-embedded-resource"), one.get("x-kubernetes-int-or-string")
    free = one.get("x-kubernetes-preserve-unknown-fields")
    properties = one.get("properties", {})
    if kind == "array" and items is None:
        out.append(field_required(f"{at}.items", "must be specified"))
    if isinstance(items, dict):
        out += _structure(items, "item", f"{at}.items")
    for name, inner in properties.items():
        out += _structure(inner, "field", f"{at}.properties[{name}]")
    if extra is not None:
        if level == "root":
            out.append(field_forbidden(f"{at}.additionalProperties", "must not be used at the root"))
        if isinstance(extra, dict):
            out += _structure(extra, "field", f"{at}.additionalProperties")
        if embedded:
            why = "must not be used if x-kubernetes-embedded-resource is set"
            out.append(field_forbidden(f"{at}.additionalProperties", why))
    for word, value in (("preserve-unknown-fields", free), ("embedded-resource", embedded)):
        if either and value:
            why = "must be false if x-kubernetes-int-or-string is true"
            out.append(field_invalid(f"{at}.x-kubernetes-{word}", True, why))
    out += _values(one, at, exempt=bool(either))
    if embedded and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        out.append(field_invalid(f"{at}.type", kind, why) if kind else field_required(f"{at}.type", why))
    elif not kind and not either and not free:
        out.append(field_required(f"{at}.type", _WHERE[level]))
    if level == "root" and kind and kind != "object":
        out.append(field_invalid(f"{at}.type", kind, "must be object at the root"))
    if embedded and not free and not properties:
        why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        out.append(field_required(f"{at}.properties", why))
    if level == "root" or embedded:
        out += _meta(properties, level, at)
    return out


def _meta(properties: dict[str, Any], level: str, at: str) -> list[FieldError]:
    out = [
        field_invalid(f"{at}.properties[{name}].type", properties[name].get("type", ""), "must be string")
        for name in ("kind", "apiVersion")
        if name in properties and properties[name].get("type") != "string"
    ]
    if "metadata" in properties:
        found, path = properties["metadata"], f"{at}.properties[metadata]"
        if found.get("type") != "object":
            out.append(field_invalid(f"{path}.type", found.get("type", ""), "must be object"))
        allowed = set(found.get("properties", {})) <= {"name", "generateName"}
        if level == "root" and not (allowed and set(found) <= {"type", "properties", "description", "default"}):
            why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            out.append(field_forbidden(path, why))
    return out


def _values(one: dict[str, Any], at: str, *, exempt: bool = False) -> list[FieldError]:
    """Value validations: what is inside allOf and the like may only restrict. `exempt`: an int-or-string."""
    out: list[FieldError] = []
    for word in _NESTED:
        inner = one.get(word, [])
        if word == "anyOf" and inner == _INT_OR_STRING and (exempt or one.get("x-kubernetes-int-or-string")):
            continue
        for index, each in enumerate(inner):
            first = word == "allOf" and index == 0 and each.get("anyOf") == _INT_OR_STRING
            rest = {key: value for key, value in each.items() if key != "anyOf"} if first else each
            out += _restriction(rest, f"{at}.{word}[{index}]")
    if "not" in one:
        out += _restriction(one["not"], f"{at}.not")
    if pattern := one.get("pattern"):
        try:
            regexp(pattern)
        except re.error as error:
            why = f"must be a valid regular expression, but isn't: {error}"
            out.append(field_invalid(f"{at}.pattern", pattern, why))
    return out


_FORBIDDEN = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}


def _restriction(one: dict[str, Any], at: str) -> list[FieldError]:
    out = _values(one, at)
    if isinstance(one.get("items"), dict):
        out += _restriction(one["items"], f"{at}.items")
    for name, inner in one.get("properties", {}).items():
        out += _restriction(inner, f"{at}.properties[{name}]")
        if name == "metadata":
            why = "must not be specified in a nested context"
            out.append(field_forbidden(f"{at}.properties[metadata]", why))
    return out + [field_forbidden(f"{at}.{key}", why) for key, why in _FORBIDDEN.items() if key in one]


def _complete(one: dict[str, Any], structure: Any, at: str, where: str) -> list[FieldError]:
    """Every field that a restriction speaks of is a field of the schema."""
    out: list[FieldError] = []
    nested = [(f"{where}.not", one["not"])] if "not" in one else []
    nested += [(f"{where}.{word}[{index}]", inner) for word in _NESTED for index, inner in enumerate(one.get(word, []))]
    for path, inner in nested:
        out += _covered(inner, structure, at, path)
    if one is structure:
        for name, inner in one.get("properties", {}).items():
            out += _complete(inner, inner, f"{at}.properties[{name}]", f"{where}.properties[{name}]")
        for name in ("items", "additionalProperties"):
            if isinstance(one.get(name), dict):
                out += _complete(one[name], one[name], f"{at}.{name}", f"{where}.{name}")
    return out


def _covered(one: dict[str, Any], structure: dict[str, Any], at: str, where: str) -> list[FieldError]:
    out = _complete(one, structure, at, where) if one is not structure else []
    items = one.get("items")
    if isinstance(items, dict):
        found = structure.get("items")
        if isinstance(found, dict):
            out += _covered(items, found, f"{at}.items", f"{where}.items")
        else:
            out.append(field_required(f"{at}.items", f"because it is defined in {where}.items"))
    for name, inner in one.get("properties", {}).items():
        known, path = structure.get("properties", {}).get(name), f"{at}.properties[{name}]"
        if known is None:
            out.append(field_required(path, f"because it is defined in {where}.properties[{name}]"))
        else:
            out += _covered(inner, known, path, f"{where}.properties[{name}]")
    return out


# Defaults.


def _defaults(one: dict[str, Any], at: str, *, top: bool = False) -> list[FieldError]:
    out: list[FieldError] = []
    if "default" in one:
        given = one["default"]
        clean = copied(given)
        prune(clean, parse(one), "", [])
        if not same(clean, given):
            out.append(field_invalid(f"{at}.default", given, "must not have unknown fields"))
        found: list[FieldError] = []
        values.compile_check(one)(given, f"{at}.default", found, MISSING)
        out += found
    if isinstance(one.get("items"), dict):
        out += _defaults(one["items"], f"{at}.items")
    for name, inner in one.get("properties", {}).items():
        if not (top and name in META):
            out += _defaults(inner, f"{at}.properties[{name}]")
    return out


# What any schema of a definition may hold.

_UNSUPPORTED = ("additionalItems", "patternProperties", "definitions", "dependencies", "$ref", "id")


def _standard(one: dict[str, Any], at: str, *, root: bool = False, why: str = "") -> list[FieldError]:
    """`why` defaults are not allowed here, if they are not."""
    out: list[FieldError] = []
    kind, items, extra = one.get("type", ""), one.get("items"), one.get("additionalProperties")
    if kind == "null":
        out.append(field_forbidden(f"{at}.type", "type cannot be set to null, use nullable as an alternative"))
    if kind and kind not in _TYPES:
        out.append(field_not_supported(f"{at}.type", kind, _TYPES))
    if "default" in one and why:
        out.append(field_forbidden(f"{at}.default", f"must not be set {why}"))
    out += [field_forbidden(f"{at}.{word}", f"{word} is not supported") for word in _UNSUPPORTED if word in one]
    if isinstance(items, list):
        out.append(field_forbidden(f"{at}.items", "items must be a schema object and not an array"))
    if one.get("uniqueItems"):
        says = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        out.append(field_forbidden(f"{at}.uniqueItems", says))
    if extra is not None and one.get("properties") and extra is not True:
        says = "additionalProperties and properties are mutual exclusive"
        out.append(field_forbidden(f"{at}.additionalProperties", says))
    if one.get("x-kubernetes-preserve-unknown-fields") is False:
        path = f"{at}.x-kubernetes-preserve-unknown-fields"
        out.append(field_invalid(path, False, "must be true or undefined"))
    out += [*_map_type(one, at), *_list_type(one, at), *_rules(one, at)]
    if isinstance(extra, dict):
        out += _standard(extra, f"{at}.additionalProperties", why=why)
    for name, inner in one.get("properties", {}).items():
        inside = f"in top-level {name}" if root and name in META else why
        out += _standard(inner, f"{at}.properties[{name}]", why=inside)
    if isinstance(items, dict):
        out += _standard(items, f"{at}.items", why=why)
    for word in _NESTED:
        for index, inner in enumerate(one.get(word, [])):
            out += _standard(inner, f"{at}.{word}[{index}]", why=why)
    return out + (_standard(one["not"], f"{at}.not", why=why) if "not" in one else [])


def _map_type(one: dict[str, Any], at: str) -> list[FieldError]:
    word, kind = one.get("x-kubernetes-map-type"), one.get("type", "")
    out: list[FieldError] = []
    if word is not None and kind != "object":
        why = "must be object if x-kubernetes-map-type is specified"
        out.append(field_invalid(f"{at}.type", kind, why) if kind else field_required(f"{at}.type", why))
    if word not in (None, "atomic", "granular"):
        out.append(field_not_supported(f"{at}.x-kubernetes-map-type", word, ["atomic", "granular"]))
    return out


def _list_type(one: dict[str, Any], at: str) -> list[FieldError]:
    word, keys, kind = one.get("x-kubernetes-list-type"), one.get("x-kubernetes-list-map-keys"), one.get("type", "")
    at_type, at_keys = f"{at}.x-kubernetes-list-type", f"{at}.x-kubernetes-list-map-keys"
    items = one["items"] if isinstance(one.get("items"), dict) else None
    out: list[FieldError] = []
    if word is not None and kind != "array":
        why = "must be array if x-kubernetes-list-type is specified"
        out.append(field_invalid(f"{at}.type", kind, why) if kind else field_required(f"{at}.type", why))
    elif word == "set" and items is not None:
        out += _atomic(items, f"{at}.items")
    if word not in (None, "atomic", "set", "map"):
        out.append(field_not_supported(at_type, word, ["atomic", "set", "map"]))
    if keys and word != "map":
        why = "must be map if x-kubernetes-list-map-keys is non-empty"
        out.append(field_required(at_type, why) if word is None else field_invalid(at_type, word, why))
    if word in ("set", "map") and items is not None and items.get("nullable"):
        why = f"cannot be nullable when x-kubernetes-list-type is {word}"
        out.append(field_forbidden(f"{at}.items.nullable", why))
    if word != "map":
        return out
    if not keys:
        out.append(field_required(at_keys, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        return [*out, field_required(f"{at}.items", "must have a schema if x-kubernetes-list-type is map")]
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        return [*out, field_invalid(f"{at}.items.type", items.get("type", ""), why)]
    return out + _keys(keys or [], items, at)


def _atomic(items: dict[str, Any], at: str) -> list[FieldError]:
    """Whether the items of a set are compared as a whole."""
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    inner = items.get("x-kubernetes-list-type")
    if items.get("type") == "array" and inner not in (None, "atomic"):
        return [field_invalid(f"{at}.x-kubernetes-list-type", inner, why)]
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        return [field_invalid(f"{at}.x-kubernetes-map-type", inner, why)]
    return []


def _keys(keys: list[str], items: dict[str, Any], at: str) -> list[FieldError]:
    out: list[FieldError] = []
    at_keys, required = f"{at}.x-kubernetes-list-map-keys", items.get("required", ())
    for index, key in enumerate(keys):
        found = items.get("properties", {}).get(key)
        if key in keys[:index]:
            out.append(field_invalid(at_keys, keys, "must not contain duplicate entries"))
        if found is None:
            out.append(field_invalid(at_keys, keys, "entries must all be names of item properties"))
            continue
        path = f"{at}.items.properties[{key}]"
        if found.get("type") in ("array", "object"):
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            out.append(field_invalid(f"{path}.type", items["type"], why))
        if key not in required and "default" not in found:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            out.append(field_required(f"{path}.default", why))
        if found.get("nullable"):
            why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            out.append(field_forbidden(f"{path}.nullable", why))
    return out


_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def _rules(one: dict[str, Any], at: str) -> list[FieldError]:
    """The form of x-kubernetes-validations; what they say is not read."""
    out: list[FieldError] = []
    for index, rule in enumerate(one.get("x-kubernetes-validations", [])):
        path = f"{at}.x-kubernetes-validations[{index}]"
        text, message = rule.get("rule", "").strip(), rule.get("message", "")
        if not text:
            out.append(field_required(f"{path}.rule", "rule is not specified"))
        elif message and not message.strip():
            out.append(field_invalid(f"{path}.message", message, "must be non-empty if specified"))
        elif _lines(message.strip()):
            out.append(field_invalid(f"{path}.message", message, "must not contain line breaks"))
        elif _lines(text) and not message.strip():
            out.append(field_required(f"{path}.message", "message must be specified if rule contains line breaks"))
        if rule.get("reason") not in (None, *_REASONS):
            out.append(field_not_supported(f"{path}.reason", rule["reason"], _REASONS))
    return out


def _lines(text: str) -> bool:
    return "\n" in text or "\r" in text
