"""Unknown fields go, defaults come: what is left of an object when its schema has been over it."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.structural import Schema

TEXT = {"type": "string"}
FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def cleaned(spec: dict[str, Any], value: Any) -> tuple[Any, list[str]]:
    content = {"spec": value}
    unknown = Schema({"type": "object", "properties": {"spec": spec}}).clean(content)
    return content.get("spec"), unknown


def obj(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


CASES: list[tuple[dict[str, Any], Any, Any, list[str]]] = [
    (obj(a=TEXT), {"a": "1", "b": {"c": 1}}, {"a": "1"}, ["spec.b"]),
    (obj(a=obj(b=TEXT)), {"a": {"b": "1", "c": 2}}, {"a": {"b": "1"}}, ["spec.a.c"]),
    (obj(a={"type": "array", "items": obj(b=TEXT)}), {"a": [{"c": 1}]}, {"a": [{}]}, ["spec.a[0].c"]),
    (FREE, {"a": {"b": 1}}, {"a": {"b": 1}}, []),
    ({**FREE, "properties": {"a": obj(b=TEXT)}}, {"a": {"c": 1}, "z": 1}, {"a": {}, "z": 1}, ["spec.a.c"]),
    ({"type": "object", "additionalProperties": obj(b=TEXT)}, {"k": {"c": 1}}, {"k": {}}, ["spec.k.c"]),
    (
        {**FREE, "x-kubernetes-embedded-resource": True},
        {"kind": "P", "metadata": {"name": "x", "nonsense": 1}, "spec": {"free": 1}},
        {"kind": "P", "metadata": {"name": "x"}, "spec": {"free": 1}},
        ["spec.metadata.nonsense"],
    ),
    (obj(a={"type": "integer", "default": 3}), {}, {"a": 3}, []),
    (obj(a={"type": "integer", "default": 3}), {"a": 0}, {"a": 0}, []),
    (obj(a={"type": "integer", "default": 3}), {"a": None}, {"a": 3}, []),
    (obj(a={"type": "integer", "default": 3, "nullable": True}), {"a": None}, {"a": None}, []),
    (obj(a=TEXT), {"a": None}, {}, []),
    (obj(a={**obj(b={"type": "boolean", "default": True}), "default": {}}), {}, {"a": {"b": True}}, []),
    (obj(a=obj(b={**TEXT, "default": "x"})), {}, {}, []),
    (obj(l={"type": "array", "items": obj(b={**TEXT, "default": "x"})}), {"l": [{}]}, {"l": [{"b": "x"}]}, []),
    ({"type": "object", "additionalProperties": obj(b={**TEXT, "default": "x"})}, {"k": {}}, {"k": {"b": "x"}}, []),
]


@pytest.mark.parametrize(("spec", "value", "want", "unknown"), CASES)
def test_pruning_and_defaulting(spec: dict[str, Any], value: Any, want: Any, unknown: list[str]) -> None:
    assert cleaned(spec, value) == (want, unknown)


def test_a_default_is_nobody_elses() -> None:
    schema = Schema(obj(spec={**FREE, "default": {"list": []}}))
    first: dict[str, Any] = {}
    schema.clean(first)
    first["spec"]["list"].append(1)
    second: dict[str, Any] = {}
    schema.clean(second)
    assert second == {"spec": {"list": []}}
