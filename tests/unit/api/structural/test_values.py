"""What a schema says of values, in the words that kube-apiserver's validators have for it."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.structural import Schema
from skerry.api.structural.regexps import regexp

TEXT = {"type": "string"}


def of(field: dict[str, Any], **more: Any) -> Schema:
    """A schema with spec.x being `field`."""
    return Schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": field}, **more}}})


def says(field: dict[str, Any], value: Any) -> list[str]:
    return [str(one) for one in of(field).validate({"spec": {"x": value}})]


def body(text: str) -> str:
    return f"spec.x in body {text}"


CASES: list[tuple[dict[str, Any], Any, list[str]]] = [
    (TEXT, "a", []),
    (TEXT, 1, [f'spec.x: Invalid value: "integer": {body("must be of type string")}: "integer"']),
    (TEXT, None, [f'spec.x: Invalid value: "null": {body("must be of type string")}: "null"']),
    ({**TEXT, "nullable": True}, None, []),
    ({"type": "integer"}, 1.0, []),
    ({"type": "integer"}, 1.5, [f'spec.x: Invalid value: "number": {body("must be of type integer")}: "number"']),
    ({"type": "integer"}, True, [f'spec.x: Invalid value: "boolean": {body("must be of type integer")}: "boolean"']),
    ({"type": "number"}, 3, []),
    (
        {"type": "integer", "minimum": 1},
        0,
        [f"spec.x: Invalid value: 0: {body('should be greater than or equal to 1')}"],
    ),
    ({"type": "integer", "maximum": 3}, 4, [f"spec.x: Invalid value: 4: {body('should be less than or equal to 3')}"]),
    (
        {"type": "number", "minimum": 0.5, "exclusiveMinimum": True},
        0.5,
        [f"spec.x: Invalid value: 0.5: {body('should be greater than 0.5')}"],
    ),
    ({"type": "integer", "multipleOf": 5}, 7, [f"spec.x: Invalid value: 7: {body('should be a multiple of 5')}"]),
    (
        {"type": "integer", "format": "int32"},
        2**31,
        [f"spec.x: Invalid value: {2**31}: {body('must be of type int32')}"],
    ),
    ({**TEXT, "maxLength": 2}, "abc", ["spec.x: Too long: may not be more than 2 bytes"]),
    ({**TEXT, "minLength": 2}, "a", [f'spec.x: Invalid value: "a": {body("should be at least 2 chars long")}']),
    ({**TEXT, "pattern": "^a+$"}, "b", [f"""spec.x: Invalid value: "b": {body("should match '^a+$'")}"""]),
    ({**TEXT, "enum": ["b", "a"]}, "c", ['spec.x: Unsupported value: "c": supported values: "b", "a"']),
    ({"type": "integer", "enum": [1, 2]}, 3, ['spec.x: Unsupported value: 3: supported values: "1", "2"']),
    ({**TEXT, "format": "ipv4"}, "::1", [f'spec.x: Invalid value: "::1": {body("must be of type ipv4")}: "::1"']),
    ({**TEXT, "format": "date-time"}, "2026-01-02T03:04:05Z", []),
    ({**TEXT, "format": "made-up"}, "anything", []),
    ({"x-kubernetes-int-or-string": True}, "80%", []),
    (
        {"x-kubernetes-int-or-string": True},
        [],
        [f'spec.x: Invalid value: "array": {body("must be of type integer,string")}: "array"'],
    ),
    ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"], ["spec.x: Too many: 2: must have at most 1 items"]),
    (
        {"type": "array", "items": TEXT, "minItems": 1},
        [],
        [f"spec.x: Invalid value: 0: {body('should have at least 1 items')}"],
    ),
    (
        {"type": "array", "items": {"type": "object", "properties": {"n": TEXT}, "required": ["n"]}},
        [{"n": "a"}, {}],
        ["spec.x[1].n: Required value"],
    ),
    (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"k": "v"},
        ['spec.x.k: Invalid value: "string": spec.x.k in body must be of type integer: "string"'],
    ),
    (
        {"type": "object", "additionalProperties": TEXT, "minProperties": 1},
        {},
        [f"spec.x: Invalid value: 1: {body('should have at least 1 properties')}"],
    ),
    (
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"a": "", "b": ""},
        [
            (
                '<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). '
                "Found 2 valid alternatives"
            )
        ],
    ),
    (
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {},
        [
            '<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found none valid',
            "spec.x.a: Required value",
        ],
    ),
    (
        {**TEXT, "anyOf": [{"maxLength": 1}, {"pattern": "^x"}]},
        "abc",
        [
            '<nil>: Invalid value: "": "spec.x" must validate at least one schema (anyOf)',
            "spec.x: Too long: may not be more than 1 bytes",
        ],
    ),
    (
        {**TEXT, "not": {"enum": ["bad"]}},
        "bad",
        ['<nil>: Invalid value: "": "spec.x" must not validate the schema (not)'],
    ),
    (
        {**TEXT, "allOf": [{"minLength": 2}, {"maxLength": 5}]},
        "a",
        [
            f'spec.x: Invalid value: "a": {body("should be at least 2 chars long")}',
            '<nil>: Invalid value: "": "spec.x" must validate all the schemas (allOf)',
        ],
    ),
    (
        {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT},
        ["a", "b", "a"],
        ['spec.x[2]: Duplicate value: "a"'],
    ),
    (
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n"],
            "items": {"type": "object", "properties": {"n": TEXT, "v": TEXT}},
        },
        [{"n": "a", "v": "1"}, {"n": "a", "v": "2"}],
        ['spec.x[1]: Duplicate value: {"n":"a"}'],
    ),
    (
        {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        {"kind": "Pod"},
        ["spec.x.apiVersion: Required value"],
    ),
]


@pytest.mark.parametrize(("field", "value", "want"), CASES)
def test_values_are_judged_in_upstreams_words(field: dict[str, Any], value: Any, want: list[str]) -> None:
    assert says(field, value) == want


def test_what_an_update_leaves_as_it_was_stays_good() -> None:
    schema = of({"type": "array", "items": {**TEXT, "maxLength": 1}}, required=["y"])
    old = {"spec": {"x": ["long"]}, "other": 1}
    assert schema.validate({"spec": {"x": ["long"]}}, old) == []
    changed = [str(one) for one in schema.validate({"spec": {"x": ["long"], "z": 1}}, old)]
    assert changed == ["spec.y: Required value"]


def test_elements_of_a_map_are_known_by_their_keys() -> None:
    items = {"type": "object", "properties": {"n": TEXT, "v": {**TEXT, "maxLength": 1}}}
    schema = of({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": items})
    old = {"spec": {"x": [{"n": "a", "v": "long"}]}}
    assert schema.validate({"spec": {"x": [{"n": "b", "v": "1"}, {"n": "a", "v": "long"}]}}, old) == []
    assert len(schema.validate({"spec": {"x": [{"n": "b", "v": "long"}]}}, old)) == 1


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^(?i)(abort|warn)?$", "ABORT", "stop"),
        ("x(?i)a|b", "B", "XA"),
        ("^((?i)jan|feb)-x$", "FEB-x", "feb-X"),
        ("^[[:alpha:]-]+$", "a-b", "a1"),
        ("^a$", "a", "a\n"),
        (r"^[$]a\$$", "$a$", "a"),
        (r"^\d+$", "12", "١"),
    ],
)
def test_patterns_are_gos(pattern: str, good: str, bad: str) -> None:
    assert regexp(pattern).search(good)
    assert not regexp(pattern).search(bad)
