"""Which schemas are accepted: structural ones, with upstream's reasons for the others."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.structural import rules

TEXT = {"type": "string"}


def says(**x: Any) -> list[str]:
    """What is said of spec.x being so."""
    found = rules.check({"type": "object", "properties": {"x": x}}, "S")
    return [str(one).replace("S.properties[x]", "X") for one in found]


CASES: list[tuple[dict[str, Any], list[str]]] = [
    (TEXT, []),
    ({}, ["X.type: Required value: must not be empty for specified object fields"]),
    ({"x-kubernetes-preserve-unknown-fields": True}, []),
    ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, []),
    ({"type": "array"}, ["X.items: Required value: must be specified"]),
    (
        {"type": "array", "items": {}},
        ["X.items.type: Required value: must not be empty for specified array items"],
    ),
    (
        {**TEXT, "allOf": [{"type": "string", "description": "d"}]},
        [
            "X.allOf[0].description: Forbidden: must be empty to be structural",
            "X.allOf[0].type: Forbidden: must be empty to be structural",
        ],
    ),
    (
        {"type": "object", "anyOf": [{"properties": {"q": {"minLength": 1}}}]},
        ["X.properties[q]: Required value: because it is defined in X.anyOf[0].properties[q]"],
    ),
    (
        {**TEXT, "default": 1},
        ['X.default: Invalid value: "integer": X.default in body must be of type string: "integer"'],
    ),
    (
        {"type": "object", "properties": {"a": TEXT}, "default": {"b": 1}},
        ['X.default: Invalid value: {"b":1}: must not have unknown fields'],
    ),
    (
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT},
        ["X.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    ({**TEXT, "$ref": "#/a"}, ["X.$ref: Forbidden: $ref is not supported"]),
    (
        {"type": "array", "items": TEXT, "uniqueItems": True},
        ["X.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"],
    ),
    (
        {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
        ["X.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
    ),
    (
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n"],
            "items": {"type": "object", "properties": {"n": TEXT}},
        },
        [
            (
                "X.items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, "
                "so it must have a default or be a required property"
            )
        ],
    ),
    (
        {"type": "rock"},
        [
            (
                'X.type: Unsupported value: "rock": supported values: '
                '"array", "boolean", "integer", "number", "object", "string"'
            )
        ],
    ),
    ({**TEXT, "x-kubernetes-validations": [{"rule": "self != ''"}]}, []),
    (
        {**TEXT, "x-kubernetes-validations": [{"rule": " "}]},
        ["X.x-kubernetes-validations[0].rule: Required value: rule is not specified"],
    ),
    (
        {**TEXT, "pattern": "("},
        [
            (
                """X.pattern: Invalid value: "(": must be a valid regular expression, but isn't: """
                "missing ), unterminated subpattern at position 0"
            )
        ],
    ),
]


@pytest.mark.parametrize(("x", "want"), CASES)
def test_schemas(x: dict[str, Any], want: list[str]) -> None:
    assert says(**x) == want


def test_the_root_is_an_object_whose_metadata_is_known() -> None:
    assert [str(one) for one in rules.check({"type": "array", "items": TEXT}, "S")] == [
        'S.type: Invalid value: "array": must be object at the root'
    ]
    found = rules.check(
        {"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": TEXT}}}}, "S"
    )
    assert [str(one) for one in found] == [
        (
            "S.properties[metadata]: Forbidden: must not specify anything other than name and generateName, "
            "but metadata is implicitly specified"
        )
    ]
