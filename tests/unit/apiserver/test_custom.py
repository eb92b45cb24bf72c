"""Custom resources on the real server in this process: what is served when, in which form, and what ends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api.types import apiextensions
from skerry.api.wire import Request
from skerry.apiserver.custom import definitions
from skerry.apiserver.verbs import Server
from skerry.client.client import lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.server import ApiServer

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
MERGE = {"content-type": "application/merge-patch+json"}
SPEC = {
    "type": "object",
    "required": ["color"],
    "properties": {
        "color": {"type": "string", "enum": ["red", "green"]},
        "replicas": {"type": "integer", "minimum": 1, "default": 2},
    },
}


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    status = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    return {
        "name": name,
        "served": True,
        "storage": name == "v1",
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": status}}},
        **more,
    }


def definition(*versions: dict[str, Any], plural: str = "widgets", kind: str = "Widget") -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": ["wd"] if plural == "widgets" else []},
            "versions": list(versions or [version()]),
        },
    }


def widget(name: str = "one", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await helper.start()
    yield made
    await made.store.close()


async def ask(server: ApiServer, method: str, path: str, value: Any = None, **more: Any) -> tuple[int, Any]:
    body = json.dumps(value).encode() if value is not None else b""
    response, data = await server.ask(method, path, body, **more)
    return response.status, json.loads(data)


async def defined(server: ApiServer, *versions: dict[str, Any], **names: str) -> Any:
    status, made = await ask(server, "POST", CRDS, definition(*versions, **names))
    assert status == 201, made
    return made


def conditions(found: Any) -> dict[str, str]:
    return {one["type"]: one["status"] for one in found["status"]["conditions"]}


async def test_a_definition_is_served_before_its_creation_is_answered(server: ApiServer) -> None:
    made = await defined(server)
    assert made["spec"]["names"]["listKind"] == "WidgetList"
    assert made["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    status, obj = await ask(server, "POST", WIDGETS, widget(color="red", nonsense=1))
    assert (status, obj["spec"]) == (201, {"color": "red", "replicas": 2})
    assert obj["metadata"]["generation"] == 1
    _, found = await ask(server, "GET", f"{CRDS}/widgets.example.com")
    assert conditions(found) == {"NamesAccepted": "True", "Established": "True"}
    assert found["status"]["storedVersions"] == ["v1"]
    _, groups = await ask(server, "GET", "/apis")
    assert "example.com" in [one["name"] for one in groups["groups"]]
    _, listed = await ask(server, "GET", "/apis/example.com/v1")
    assert [one["name"] for one in listed["resources"]] == ["widgets", "widgets/status", "widgets/scale"]
    _, document = await ask(server, "GET", "/openapi/v3/apis/example.com/v1")
    assert "com.example.v1.WidgetList" in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"metadata": {"name": "wrong"}}, "metadata.name", 'must be spec.names.plural+"."+spec.group'),
        ({"spec": {"group": "example"}}, "spec.group", "should be a domain with at least one dot"),
        ({"spec": {"scope": "Here"}}, "spec.scope", 'supported values: "Cluster", "Namespaced"'),
        ({"spec": {"versions": [version("v2")]}}, "spec.versions", "must have exactly one version marked as storage version"),  # noqa: E501
        ({"spec": {"versions": [version(schema=None)]}}, "spec.versions[0].schema.openAPIV3Schema", "Required value"),
        (
            {"spec": {"conversion": {"strategy": "Webhook"}}},
            "spec.conversion.strategy",
            "Skerry does not call conversion webhooks; objects of all versions must have the same fields (None)",
        ),
    ],
)  # fmt: skip
async def test_a_wrong_definition_is_refused(server: ApiServer, change: Any, field: str, why: str) -> None:
    wrong = definition()
    for key, part in change.items():
        wrong[key] = {**wrong[key], **part}
    status, said = await ask(server, "POST", CRDS, wrong)
    assert status == 422
    assert [one for one in said["details"]["causes"] if one["field"] == field and why in one["message"]], said


async def test_a_strict_client_is_told_of_unknown_fields(server: ApiServer) -> None:
    await defined(server)
    strict = {"query": {"fieldValidation": "Strict"}}
    status, said = await ask(server, "POST", WIDGETS, widget(color="red", nonsense=1), **strict)
    assert (status, said["message"]) == (
        400,
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.nonsense"',
    )
    response, _ = await server.ask("POST", WIDGETS, json.dumps(widget(color="red", nonsense=1)).encode())
    assert response.warnings == ('unknown field "spec.nonsense"',)


async def test_status_and_the_rest_are_written_apart(server: ApiServer) -> None:
    await defined(server)
    _, made = await ask(server, "POST", WIDGETS, {**widget(color="red"), "status": {"replicas": 9}})
    assert "status" not in made
    patch = {"spec": {"color": "green"}, "status": {"replicas": 1}}
    _, told = await ask(server, "PATCH", f"{WIDGETS}/one/status", patch, headers=MERGE)
    assert (told["spec"]["color"], told["status"], told["metadata"]["generation"]) == ("red", {"replicas": 1}, 1)
    _, changed = await ask(server, "PATCH", f"{WIDGETS}/one", {**patch, "status": {"replicas": 5}}, headers=MERGE)
    assert (changed["spec"]["color"], changed["status"], changed["metadata"]["generation"]) == (
        "green",
        {"replicas": 1},
        2,
    )
    status, said = await ask(server, "PATCH", f"{WIDGETS}/one/status", {"status": {"replicas": "x"}}, headers=MERGE)
    assert (status, said["details"]["causes"][0]["field"]) == (422, "status.replicas")


async def test_scale_reads_and_writes_where_the_definition_says(server: ApiServer) -> None:
    await defined(server)
    await ask(server, "POST", WIDGETS, widget(color="red"))
    _, found = await ask(server, "GET", f"{WIDGETS}/one/scale")
    assert (found["kind"], found["spec"]["replicas"]) == ("Scale", 2)
    _, found = await ask(server, "PATCH", f"{WIDGETS}/one/scale", {"spec": {"replicas": 7}}, headers=MERGE)
    assert found["spec"]["replicas"] == 7
    _, obj = await ask(server, "GET", f"{WIDGETS}/one")
    assert (obj["spec"]["replicas"], obj["metadata"]["generation"]) == (7, 2)


async def test_strategic_patches_are_for_built_in_kinds(server: ApiServer) -> None:
    await defined(server)
    await ask(server, "POST", WIDGETS, widget(color="red"))
    kind = {"content-type": "application/strategic-merge-patch+json"}
    status, said = await ask(server, "PATCH", f"{WIDGETS}/one", {"spec": {}}, headers=kind)
    assert (status, said["reason"]) == (415, "UnsupportedMediaType")


async def test_objects_are_found_by_fields_and_printed_in_columns(server: ApiServer) -> None:
    columns = [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}]
    await defined(server, version(additionalPrinterColumns=columns))
    await ask(server, "POST", WIDGETS, widget("one", color="red"))
    await ask(server, "POST", WIDGETS, widget("two", color="green"))
    _, found = await ask(server, "GET", WIDGETS, query={"fieldSelector": "spec.color=green"})
    assert [one["metadata"]["name"] for one in found["items"]] == ["two"]
    assert (found["kind"], found["apiVersion"]) == ("WidgetList", "example.com/v1")
    status, _ = await ask(server, "GET", WIDGETS, query={"fieldSelector": "spec.replicas=2"})
    assert status == 400
    _, table = await ask(server, "GET", WIDGETS, headers=TABLE)
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Color"]
    assert [one["cells"] for one in table["rows"]] == [["one", "red"], ["two", "green"]]


async def test_each_version_shows_the_same_object(server: ApiServer) -> None:
    old = version("v1beta1", deprecated=True, subresources=None, selectableFields=[])
    await defined(server, version(), old)
    await ask(
        server, "POST", WIDGETS.replace("v1", "v1beta1"), {**widget(color="red"), "apiVersion": "example.com/v1beta1"}
    )
    record = await server.store.get("/example.com/widgets/default/one")
    assert record is not None
    assert b'"apiVersion":"example.com/v1"' in record.value
    for name in ("v1", "v1beta1"):
        response, body = await server.ask("GET", WIDGETS.replace("v1", name))
        (found,) = json.loads(body)["items"]
        assert found["apiVersion"] == f"example.com/{name}"
        assert bool(response.warnings) == (name == "v1beta1")


async def test_a_new_default_is_seen_in_old_objects(server: ApiServer) -> None:
    await defined(server)
    await ask(server, "POST", WIDGETS, widget(color="red"))
    more = version()
    more["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        **SPEC,
        "properties": {"color": {"type": "string"}, "size": {"type": "string", "default": "L"}},
    }
    status, _ = await ask(server, "PATCH", f"{CRDS}/widgets.example.com", {"spec": {"versions": [more]}}, headers=MERGE)
    assert status == 200
    _, found = await ask(server, "GET", f"{WIDGETS}/one")
    assert found["spec"]["size"] == "L"


async def test_a_name_belongs_to_who_came_first(server: ApiServer) -> None:
    await defined(server)
    await defined(server, plural="gadgets", kind="Widget")
    _, late = await ask(server, "GET", f"{CRDS}/gadgets.example.com")
    assert conditions(late) == {"NamesAccepted": "False", "Established": "False"}
    assert (await ask(server, "GET", WIDGETS.replace("widgets", "gadgets")))[0] == 404
    finalizers = {"metadata": {"finalizers": None}}
    await ask(server, "PATCH", f"{CRDS}/widgets.example.com", finalizers, headers=MERGE)
    await ask(server, "DELETE", f"{CRDS}/widgets.example.com")
    assert (await ask(server, "GET", WIDGETS))[0] == 404
    assert (await ask(server, "GET", WIDGETS.replace("widgets", "gadgets")))[0] == 200
    _, late = await ask(server, "GET", f"{CRDS}/gadgets.example.com")
    assert conditions(late) == {"NamesAccepted": "True", "Established": "True"}


async def test_nothing_new_in_a_definition_that_ends(server: ApiServer) -> None:
    await defined(server)
    await ask(server, "DELETE", f"{CRDS}/widgets.example.com")
    status, said = await ask(server, "POST", WIDGETS, widget(color="red"))
    assert (status, said["message"]) == (405, "create not allowed while custom resource definition is terminating")


async def test_a_watch_ends_with_its_definition(server: ApiServer) -> None:
    await defined(server)
    response = await server.app(Request("GET", WIDGETS, {"watch": "true"}, user=helper.ADMIN))
    seen: list[str] = []

    async def follow() -> None:
        async for line in lines(response):
            seen.append(json.loads(line)["type"])  # noqa: PERF401  (what came before the end counts)

    task = asyncio.create_task(follow())
    await ask(server, "POST", WIDGETS, widget(color="red"))
    await ask(server, "PATCH", f"{CRDS}/widgets.example.com", {"metadata": {"finalizers": None}}, headers=MERGE)
    await ask(server, "DELETE", f"{CRDS}/widgets.example.com")
    await asyncio.wait_for(task, 5)
    assert seen == ["ADDED"]


async def test_a_new_server_serves_what_is_stored(server: ApiServer) -> None:
    await defined(server)
    fresh = Server(server.store, server.app.server.clock)
    assert fresh.served.by_path("example.com", "v1", "widgets") is None
    await definitions.settle(fresh)
    assert fresh.served.by_path("example.com", "v1", "widgets") is not None


async def test_a_kind_may_have_the_name_of_a_built_in_one(server: ApiServer) -> None:
    for kind in ("Pod", "Namespace", "Service"):
        plural = f"{kind.lower()}s"
        await defined(server, plural=plural, kind=kind)
        path = WIDGETS.replace("widgets", plural)
        status, made = await ask(server, "POST", path, {**widget(color="red"), "kind": kind})
        assert (status, made["spec"]) == (201, {"color": "red", "replicas": 2})
        assert (await ask(server, "DELETE", f"{path}/one"))[0] == 200


async def test_rules_in_cel_are_told_not_to_hold(server: ApiServer) -> None:
    ruled = version()
    ruled["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = [{"rule": "has(self.spec)"}]
    response, _ = await server.ask("POST", CRDS, json.dumps(definition(ruled)).encode())
    assert response.status == 201
    assert response.warnings == (
        "1 x-kubernetes-validations rules are kept but not enforced: Skerry does not evaluate CEL",
    )


async def test_the_typed_client_reads_definitions(server: ApiServer) -> None:
    await defined(server)
    found = await server.client.get(apiextensions.CustomResourceDefinition, "widgets.example.com")
    schema = found.spec.versions[0].schema
    assert schema is not None
    assert schema.open_apiv3_schema is not None
    assert schema.open_apiv3_schema["properties"]["spec"] == SPEC
