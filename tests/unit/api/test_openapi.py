"""OpenAPI documents: what kubectl looks for in them, and the schemas against the published definitions."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import pytest

from skerry.api import openapi, openapi_v2pb
from skerry.api.resources import RESOURCES, Resource

GROUPS = sorted({(row.group, row.version) for row in RESOURCES})
PREFIX = "#/components/schemas/"


def document(group: str, version: str = "v1") -> dict[str, Any]:
    body = openapi.v3_group(group, version)
    assert body is not None
    found: dict[str, Any] = json.loads(body)
    return found


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in found["paths"].items():
        for method, one in item.items():
            if method != "parameters":
                yield path, method, one


def gvk(row: Resource) -> dict[str, str]:
    return {"group": row.group, "kind": row.kind, "version": row.version}


def test_the_index_names_every_group_and_nothing_else_is_served() -> None:
    paths = json.loads(openapi.v3_index())["paths"]
    assert set(paths) == {f"apis/{g}/{v}" if g else f"api/{v}" for g, v in GROUPS}
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    assert url.startswith("/openapi/v3/apis/apps/v1?hash=")
    assert len(url.partition("=")[2]) == 64
    assert openapi.v3_group("nothing.example", "v1") is None


@pytest.mark.parametrize("row", RESOURCES, ids=lambda row: row.kind)
def test_what_kubectl_asks_before_it_writes(row: Resource) -> None:
    """The PATCH of the kind takes fieldValidation and a strategic merge patch; explain finds the kind by its paths."""
    found = document(row.group, row.version)
    patches = [one for _, method, one in operations(found) if method == "patch" and one[openapi._GVK] == gvk(row)]
    assert patches
    for one in patches:
        assert {"fieldValidation", "dryRun", "fieldManager"} <= {p["name"] for p in one["parameters"]}
        assert "application/strategic-merge-patch+json" in one["requestBody"]["content"]
    listed = found["paths"][row.path("{namespace}" if row.namespaced else "")]["get"]
    assert listed[openapi._GVK] == gvk(row)
    assert listed["x-kubernetes-action"] == "list"
    schemas = [s for s in found["components"]["schemas"].values() if gvk(row) in s.get(openapi._GVK, [])]
    assert len(schemas) == 1


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


@pytest.mark.parametrize(("group", "version"), GROUPS)
def test_every_reference_leads_somewhere(group: str, version: str) -> None:
    found = document(group, version)
    for one in references(found):
        assert one.removeprefix(PREFIX) in found["components"]["schemas"]


def test_operation_ids_are_unique_and_upstreams() -> None:
    ids = [one["operationId"] for g, v in GROUPS for _, _, one in operations(document(g, v))]
    assert len(ids) == len(set(ids))
    assert {
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "readCoreV1Namespace",
        "listCoreV1Node",
        "replaceCoreV1NamespaceFinalize",
        "createCoreV1NamespacedPodBinding",
        "deleteCoreV1CollectionNamespacedPod",
        "patchAppsV1NamespacedDeploymentScale",
        "createDiscoveryV1NamespacedEndpointSlice",
    } <= set(ids)


# The schemas against the definitions that upstream publishes (a development dependency brings them).


def published() -> dict[str, Any]:
    files = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema/v1.36.0-local/_definitions.json"
    found: dict[str, Any] = json.loads(files.read_text())["$defs"]
    return found


def plain(value: dict[str, Any]) -> Any:
    """A field's type, whichever way it is written: nullable, referring, of a scalar with a name."""
    if "allOf" in value:
        return plain(value["allOf"][0])
    if "$ref" in value:
        return value["$ref"].rpartition("/")[2]
    kind = value["type"]
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [plain(value["items"])]
    if "additionalProperties" in value:
        return {"*": plain(value["additionalProperties"])}
    return kind, value.get("format", "")


# Where the declarations that our table was read from differ (an alpha feature): fields, and how a list is merged.
DIFFERENT = "nodeAllocatableResourceClaimStatuses"
MISSING = {"io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus": {"resources"}}


def test_fields_are_those_of_the_published_definitions() -> None:
    theirs, ours = published(), {}
    for group, version in GROUPS:
        ours |= document(group, version)["components"]["schemas"]
    assert len(ours) > 150
    for name, schema in ours.items():
        if name not in theirs or "properties" not in schema:
            continue
        want = theirs[name]
        assert set(want["properties"]) - set(schema["properties"]) == MISSING.get(name, set()), name
        assert set(schema["properties"]) <= set(want["properties"]), name
        assert set(schema.get("required", [])) == set(want.get("required", [])) - MISSING.get(name, set()), name
        if name.endswith(".JSONSchemaProps"):
            continue  # its fields are of types that have no schema upstream
        for field, made in schema["properties"].items():
            definition = want["properties"][field]
            assert plain(made) == plain(definition), f"{name}.{field}"
            for fact in ("x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key", "x-kubernetes-list-map-keys"):
                if field != DIFFERENT:
                    assert made.get(fact) == definition.get(fact), f"{name}.{field} {fact}"


def test_v2_has_the_same_kinds_and_refers_plainly() -> None:
    found = json.loads(openapi.v2())
    assert found["swagger"] == "2.0"
    assert "oneOf" not in openapi.v2().decode()
    kinds = [g for s in found["definitions"].values() for g in s.get(openapi._GVK, [])]
    for row in RESOURCES:
        assert gvk(row) in kinds
    for one in references(found):
        assert one.removeprefix("#/definitions/") in found["definitions"]


def test_v2_as_protobuf_has_the_field_numbers_of_its_messages() -> None:
    small = {
        "swagger": "2.0",
        "info": {"title": "t", "version": "v"},
        "paths": {},
        "definitions": {"a": {"type": "object", "required": ["b"], "x-y": {"c": "d"}}},
    }
    schema = b'\x9a\x01\x01b\xb2\x01\x08\n\x06object\xfa\x01\x12\n\x03x-y\x12\x0b\x12\t{"c":"d"}'
    named = b"\n\x01a\x12" + bytes([len(schema)]) + schema
    definitions = b"\n" + bytes([len(named)]) + named
    assert (
        openapi_v2pb.document(small)
        == b"\n\x032.0\x12\x06\n\x01t\x12\x01vB\x00J" + bytes([len(definitions)]) + definitions
    )
    assert len(openapi.v2_protobuf()) > 50_000
