"""Objects inside objects (x-kubernetes-embedded-resource): they have to be objects. Called by schema.py."""

from __future__ import annotations

from typing import Any

from skerry.api import codec
from skerry.api import schema as bodies
from skerry.api.status import FieldError, field_invalid, field_required
from skerry.api.structural.node import Node
from skerry.api.types import meta
from skerry.api.validation import meta as metadata
from skerry.api.validation import names


def check(value: Any, node: Node | None, at: str) -> list[FieldError]:
    """What is wrong with apiVersion, kind and metadata of every embedded object."""
    if node is None or not node.has_embedded:
        return []
    out: list[FieldError] = []
    if isinstance(value, dict):
        if node.embedded:
            out += _object(value, at)
        prefix = f"{at}." if at else ""
        for key, one in value.items():
            known = node.properties.get(key)
            if known is not None:
                out += check(one, known, prefix + key)
            elif node.map_values is not None:
                out += check(one, node.map_values, f"{at}[{key}]")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            out += check(one, node.items, f"{at}[{index}]")
    return out


def _object(value: dict[str, Any], at: str) -> list[FieldError]:
    out = [field_required(f"{at}.{one}") for one in ("apiVersion", "kind") if one not in value]
    for key in ("apiVersion", "kind"):
        if key not in value:
            continue
        text, path = value[key], f"{at}.{key}"
        if not isinstance(text, str):
            out.append(field_invalid(path, text, "must be a string"))
        elif not text:
            out.append(field_invalid(path, text, "must not be empty"))
        elif key == "kind" and (wrong := names.dns1035_label(text.lower())):
            why = "may have mixed case, but should otherwise match: " + ",".join(wrong)
            out.append(field_invalid(path, text, why))
        elif key == "apiVersion" and text.count("/") > 1:
            out.append(field_invalid(path, text, f"unexpected GroupVersion string: {text}"))
    if value.get("metadata") is not None:
        path = f"{at}.metadata"
        try:
            found = codec.convert(meta.ObjectMeta, bodies.check("meta", "ObjectMeta", value["metadata"]).value)
        except ValueError as error:
            return [*out, field_invalid(path, value["metadata"], str(error))]
        found.name = found.name or "fakename"
        out += metadata.create(found, bool(found.namespace), names.path_segment, path)
    return out
