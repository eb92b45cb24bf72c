"""Schemas of custom kinds as the OpenAPI documents show them. Called by openapi.py.

Version 3 shows what the definition says. Version 2 has no alternatives and no null, and kubectl refuses what does not
fit it, so whatever it could not say is left open there.
"""

from __future__ import annotations

from typing import Any

from skerry.api import schemaprops
from skerry.api.custom import CustomResource

_KEPT_2 = ("type", "format", "required")
_RULES = "x-kubernetes-validations"


def name(row: CustomResource, kind: str) -> str:
    """The full name of a schema: com.example.v1.Widget."""
    return f"{'.'.join(reversed(row.group.split('.')))}.{row.version}.{kind}"


def schema(row: CustomResource, metadata: dict[str, Any], *, v3: bool) -> dict[str, Any]:
    """The schema of a kind; `metadata` is the reference to that of ObjectMeta."""
    source = row.schema.source
    out = _v3(source) if v3 else _v2(source)
    text = {"type": "string"}
    properties = {**out.get("properties", {}), "apiVersion": text, "kind": text, "metadata": metadata}
    out["type"] = "object"
    out["properties"] = dict(sorted(properties.items()))
    return out


def _v3(source: dict[str, Any]) -> dict[str, Any]:
    out = dict(source)
    if "properties" in out:
        out["properties"] = {key: _v3(one) for key, one in out["properties"].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(out.get(word), dict):
            out[word] = _v3(out[word])
    return out


def _v2(source: dict[str, Any]) -> dict[str, Any]:
    out = {key: one for key, one in source.items() if key in _KEPT_2 or (key.startswith("x-") and key != _RULES)}
    if source.get("x-kubernetes-int-or-string") or source.get("nullable"):
        return {key: one for key, one in out.items() if key not in _KEPT_2}
    if source.get("x-kubernetes-preserve-unknown-fields"):
        out.pop("required", None)
        return out
    if "properties" in source:
        out["properties"] = {key: _v2(one) for key, one in source["properties"].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(source.get(word), dict):
            out[word] = _v2(source[word])
    return out


PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


def props(prefix: str) -> dict[str, Any]:
    """The schema of JSONSchemaProps; with the `prefix` of version 3 it refers to itself, without one it is open."""
    if not prefix:
        return {"type": "object"}
    inner: dict[str, Any] = {"allOf": [{"$ref": prefix + PROPS}]}
    each, many = {"type": "array", "items": inner}, {"type": "object", "additionalProperties": inner}
    of_type: dict[str, dict[str, Any]] = {
        "str": {"type": "string"},
        "bool": {"type": "boolean"},
        "float": {"type": "number", "format": "double"},
    }
    of_type |= {"int64": {"type": "integer", "format": "int64"}, "[]str": {"type": "array", "items": of_type["str"]}}
    properties: dict[str, Any] = {key: of_type.get(entry, {}) for key, entry in schemaprops.LEAVES.items()}
    properties |= dict.fromkeys(schemaprops.SCHEMAS, each) | dict.fromkeys(schemaprops.MAPS, many) | {"not": inner}
    properties |= {key: {} for key in ("default", "example", "items", "additionalProperties", "additionalItems")}
    properties |= {"enum": {"type": "array", "items": {}}, "dependencies": {"type": "object"}}
    return {"type": "object", "properties": dict(sorted(properties.items()))}
