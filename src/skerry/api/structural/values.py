"""Value validations of a schema, made into functions once: types, limits, patterns, alternatives. Called by schema.py.

The messages are those that kube-apiserver's validators give. A value that an update leaves as it was is not looked at
(what was accepted once stays good, whatever the schema says now).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skerry.api.patch.base import same
from skerry.api.status import FieldError, field_invalid, field_required, field_too_long, field_too_many
from skerry.api.structural import formats
from skerry.api.structural.node import MISSING
from skerry.api.structural.regexps import regexp

Check = Callable[[Any, str, list[FieldError], Any], None]
"""(value, its path, where to put errors, the old value or MISSING)."""

_LIMITS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}


def kind_of(value: Any) -> str:
    """The word of JSON schemas for a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _number(value: float) -> str:
    """As Go's %v prints a float."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value)) if abs(value) < 1e6 or isinstance(value, int) else f"{value:g}"
    return f"{value:g}"


def compile_check(source: dict[str, Any]) -> Check:
    """The check of a schema, structure and all."""
    steps: list[Check] = []
    types = ["integer", "string"] if source.get("x-kubernetes-int-or-string") else [source.get("type", "")]
    nullable = bool(source.get("nullable"))
    if types != [""]:
        steps.append(_types(types, source.get("format", "")))
    if "enum" in source:
        steps.append(_enum(source["enum"]))
    if any(one in source for one in ("maxLength", "minLength", "pattern")):
        steps.append(_text(source))
    if "" in types or "string" in types:
        good = formats.find(source["format"]) if "format" in source else None
        if good is not None:
            steps.append(_format(source["format"], good))
    if any(one in source for one in ("maximum", "minimum", "multipleOf")):
        steps.append(_amount(source))
    if any(one in source for one in _GROUPS):
        steps.append(_groups(source))
    if any(one in source for one in ("maxItems", "minItems", "items")):
        steps.append(_list(source))
    if any(one in source for one in _OF_OBJECTS):
        steps.append(_object(source))

    def check(value: Any, at: str, errors: list[FieldError], old: Any) -> None:
        if value is None and nullable:
            return
        if old is not MISSING and same(value, old):
            return
        before = len(errors)
        for step in steps:
            step(value, at, errors, old)
            if step is first and types != [""] and len(errors) > before:
                return  # a value of another type has nothing else to be looked at

    first = steps[0] if steps else None
    return check


def _types(types: list[str], form: str) -> Check:
    words = ",".join(types)
    number_like = "integer" in types
    limits = _LIMITS.get(form) if types == ["integer"] else None

    def check(value: Any, at: str, errors: list[FieldError], _: Any) -> None:
        found = kind_of(value)
        if found not in types and not (
            (found == "integer" and "number" in types)
            or (number_like and found == "number" and float(value).is_integer())
        ):
            detail = f'{at} in body must be of type {words}: "{found}"'
            errors.append(FieldError("FieldValueTypeInvalid", _field(at), detail, found))
        elif limits is not None and not limits[0] <= value <= limits[1]:
            detail = f"{at} in body must be of type {form}"
            errors.append(FieldError("FieldValueTypeInvalid", _field(at), detail, value))

    return check


def _field(at: str) -> str:
    return at or "<nil>"


def _enum(allowed: list[Any]) -> Check:
    from skerry.api import codec

    shown = ", ".join(
        codec.encode(one if isinstance(one, str) else codec.encode(one).decode()).decode() for one in allowed
    )

    def check(value: Any, at: str, errors: list[FieldError], _: Any) -> None:
        if not any(same(value, one) for one in allowed):
            errors.append(FieldError("FieldValueNotSupported", _field(at), f"supported values: {shown}", value))

    return check


def _text(source: dict[str, Any]) -> Check:
    most, least, pattern = source.get("maxLength"), source.get("minLength"), source.get("pattern", "")
    compiled = regexp(pattern) if pattern else None

    def check(value: Any, at: str, errors: list[FieldError], _: Any) -> None:
        if not isinstance(value, str):
            return
        if most is not None and len(value) > most:
            errors.append(field_too_long(_field(at), most))
        if least is not None and len(value) < least:
            detail = f"{at} in body should be at least {least} chars long"
            errors.append(field_invalid(_field(at), value, detail))
        if compiled is not None and not compiled.search(value):
            errors.append(field_invalid(_field(at), value, f"{at} in body should match '{pattern}'"))

    return check


def _format(name: str, good: Callable[[str], bool]) -> Check:
    def check(value: Any, at: str, errors: list[FieldError], _: Any) -> None:
        if isinstance(value, str) and not good(value):
            from skerry.api import codec

            detail = f"{at} in body must be of type {name}: {codec.encode(value).decode()}"
            errors.append(FieldError("FieldValueTypeInvalid", _field(at), detail, value))

    return check


def _amount(source: dict[str, Any]) -> Check:
    most, least, step = source.get("maximum"), source.get("minimum"), source.get("multipleOf")
    below, above = bool(source.get("exclusiveMaximum")), bool(source.get("exclusiveMinimum"))

    def check(value: Any, at: str, errors: list[FieldError], _: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        if step is not None and (value / step) % 1:
            errors.append(field_invalid(_field(at), value, f"{at} in body should be a multiple of {_number(step)}"))
        if most is not None and (value >= most if below else value > most):
            words = "less than" if below else "less than or equal to"
            errors.append(field_invalid(_field(at), value, f"{at} in body should be {words} {_number(most)}"))
        if least is not None and (value <= least if above else value < least):
            words = "greater than" if above else "greater than or equal to"
            errors.append(field_invalid(_field(at), value, f"{at} in body should be {words} {_number(least)}"))

    return check


_GROUPS = ("allOf", "anyOf", "oneOf", "not")


def _groups(source: dict[str, Any]) -> Check:
    every, some, one_of = ([compile_check(one) for one in source.get(word, ())] for word in _GROUPS[:3])
    never = compile_check(source["not"]) if "not" in source else None

    def tried(checks: list[Check], value: Any, at: str) -> list[list[FieldError]]:
        out: list[list[FieldError]] = []
        for one in checks:
            found: list[FieldError] = []
            one(value, at, found, MISSING)
            out.append(found)
        return out

    def check(value: Any, at: str, errors: list[FieldError], _: Any) -> None:
        if some:
            results = tried(some, value, at)
            if all(results):
                errors.append(_whole(f'"{at}" must validate at least one schema (anyOf)'))
                errors.extend(_best(results))
        if one_of:
            results = tried(one_of, value, at)
            valid = sum(not one for one in results)
            if valid != 1:
                why = f"Found {valid} valid alternatives" if valid else "Found none valid"
                errors.append(_whole(f'"{at}" must validate one and only one schema (oneOf). {why}'))
                if not valid:
                    errors.extend(_best(results))
        if every:
            results = tried(every, value, at)
            for one in results:
                errors.extend(one)
            if any(results):
                why = ". None validated" if all(results) else ""
                errors.append(_whole(f'"{at}" must validate all the schemas (allOf){why}'))
        if never is not None and not tried([never], value, at)[0]:
            errors.append(_whole(f'"{at}" must not validate the schema (not)'))

    return check


def _best(results: list[list[FieldError]]) -> list[FieldError]:
    """What is wrong with the alternative that comes closest."""
    return min(results, key=len)


def _whole(text: str) -> FieldError:
    """An error that upstream gives no place."""
    return field_invalid("<nil>", "", text)


def _list(source: dict[str, Any]) -> Check:
    most, least, items = source.get("maxItems"), source.get("minItems"), source.get("items")
    inner = compile_check(items) if isinstance(items, dict) else None
    keys = source.get("x-kubernetes-list-map-keys") if source.get("x-kubernetes-list-type") == "map" else None

    def check(value: Any, at: str, errors: list[FieldError], old: Any) -> None:
        if not isinstance(value, list):
            return
        if most is not None and len(value) > most:
            errors.append(field_too_many(_field(at), len(value), most))
        if least is not None and len(value) < least:
            detail = f"{at} in body should have at least {least} items"
            errors.append(field_invalid(_field(at), len(value), detail))
        if inner is not None:
            before = _by_keys(old, keys) if keys and isinstance(old, list) else {}
            for index, one in enumerate(value):
                known = before.get(_key(one, keys), MISSING) if keys and before else MISSING
                inner(one, f"{at}[{index}]", errors, known)

    return check


def _key(one: Any, keys: list[str]) -> Any:
    from skerry.api import codec

    return codec.encode([one.get(key) for key in keys]) if isinstance(one, dict) else None


def _by_keys(values: list[Any], keys: list[str]) -> dict[Any, Any]:
    return {_key(one, keys): one for one in values if isinstance(one, dict)}


_OF_OBJECTS = ("properties", "additionalProperties", "required", "maxProperties", "minProperties")


def _object(source: dict[str, Any]) -> Check:
    required = source.get("required", ())
    most, least = source.get("maxProperties"), source.get("minProperties")
    properties = {name: compile_check(one) for name, one in source.get("properties", {}).items()}
    extra = source.get("additionalProperties")
    others = compile_check(extra) if isinstance(extra, dict) else None

    def check(value: Any, at: str, errors: list[FieldError], old: Any) -> None:
        if not isinstance(value, dict):
            return
        before = old if isinstance(old, dict) else {}
        prefix = f"{at}." if at else ""
        if most is not None and len(value) > most:
            errors.append(field_too_many(_field(at), len(value), most))
        if least is not None and len(value) < least:
            detail = f"{at} in body should have at least {least} properties"
            errors.append(field_invalid(_field(at), least, detail))
        errors.extend([field_required(prefix + key) for key in required if key not in value])
        for key, one in value.items():
            inner = properties.get(key, others)
            if inner is not None:
                inner(one, prefix + key, errors, before.get(key, MISSING))
            elif extra is False and key not in properties:
                detail = f"{at}.{key} in body is a forbidden property"
                errors.append(field_invalid(_field(at), key, detail))

    return check
