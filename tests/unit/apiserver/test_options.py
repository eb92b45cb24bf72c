"""The options that verbs take: dry runs of every write, conditions and policies of deletions, what a list may ask."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api.types import apps, core, meta, policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.server import ApiServer

NS = "/api/v1/namespaces/default"
MAPS, PODS, DEPLOYMENTS = f"{NS}/configmaps", f"{NS}/pods", "/apis/apps/v1/namespaces/default/deployments"
MERGE, JSON, STRATEGIC, APPLY = (
    {"content-type": f"application/{one}"}
    for one in ("merge-patch+json", "json-patch+json", "strategic-merge-patch+json", "apply-patch+yaml")
)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await helper.start()
    template = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels={"app": "a"}),
        spec=core.PodSpec(containers=[core.Container(name="c", image="host")]),
    )
    selector = meta.LabelSelector(match_labels={"app": "a"})
    for one in (
        core.ConfigMap(metadata=meta.ObjectMeta(name="a", namespace="default", labels={"l": "1"}), data={"a": "b"}),
        core.ConfigMap(metadata=meta.ObjectMeta(name="b", namespace="default")),
        core.Pod(metadata=meta.ObjectMeta(name="a", namespace="default", labels={"app": "a"}), spec=template.spec),
        apps.Deployment(
            metadata=meta.ObjectMeta(name="a", namespace="default"),
            spec=apps.DeploymentSpec(replicas=1, selector=selector, template=template),
        ),
        policy.PodDisruptionBudget(
            metadata=meta.ObjectMeta(name="a", namespace="default"),
            spec=policy.PodDisruptionBudgetSpec(min_available=1, selector=selector),
        ),
    ):
        await made.client.create(one)
    yield made
    await made.store.close()


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"c": "d"}}
WRITES: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "create": ("POST", MAPS, json.dumps(MAP | {"metadata": {"name": "new"}}).encode(), {}),
    "update": ("PUT", f"{MAPS}/a", json.dumps(MAP).encode(), {}),
    "merge patch": ("PATCH", f"{MAPS}/a", b'{"data":{"c":"d"}}', MERGE),
    "json patch": ("PATCH", f"{MAPS}/a", b'[{"op":"add","path":"/data/c","value":"d"}]', JSON),
    "strategic patch": ("PATCH", f"{MAPS}/a", b'{"data":{"c":"d"}}', STRATEGIC),
    "apply": ("PATCH", f"{MAPS}/a", json.dumps(MAP).encode(), APPLY),
    "apply of a new one": ("PATCH", f"{MAPS}/new", json.dumps(MAP | {"metadata": {"name": "new"}}).encode(), APPLY),
    "status": ("PATCH", f"{PODS}/a/status", b'{"status":{"message":"x"}}', MERGE),
    "scale": ("PATCH", f"{DEPLOYMENTS}/a/scale", b'{"spec":{"replicas":5}}', MERGE),
    "binding": ("POST", f"{PODS}/a/binding", body(target={"kind": "Node", "name": "n"}), {}),
    "eviction": ("POST", f"{PODS}/a/eviction", body(metadata={"name": "a"}), {}),
    "delete": ("DELETE", f"{MAPS}/a", b"", {}),
    "deletecollection": ("DELETE", MAPS, b"", {}),
}


@pytest.mark.parametrize("what", WRITES)
async def test_a_dry_run_of_any_write_answers_as_the_write_and_stores_nothing(server: ApiServer, what: str) -> None:
    method, path, content, headers = WRITES[what]
    query = {"fieldManager": "test"} if method != "DELETE" else {}
    before = server.store.revision
    told, _ = await server.ask(method, path, content, headers=headers, query=query | {"dryRun": "All"})
    assert told.status in (200, 201) and server.store.revision == before
    wrong, said = await server.ask(method, path, content, headers=headers, query=query | {"dryRun": "Some"})
    assert wrong.status == 422 and b'supported values: \\"All\\"' in said
    done, _ = await server.ask(method, path, content, headers=headers, query=query)
    assert done.status == told.status and server.store.revision > before


@pytest.mark.parametrize("path", [MAPS, f"{MAPS}/a"])
async def test_a_deletion_may_say_it_in_its_body(server: ApiServer, path: str) -> None:
    before = server.store.revision
    told, _ = await server.ask("DELETE", path, body(dryRun=["All"]))
    assert told.status == 200 and server.store.revision == before
    assert (await server.ask("DELETE", path, body(dryRun=["Some"])))[0].status == 422


async def test_a_collection_is_deleted_by_selectors_and_policy(server: ApiServer) -> None:
    response, content = await server.ask("DELETE", MAPS, query={"labelSelector": "l=1"})
    assert response.status == 200
    assert [one["metadata"]["name"] for one in json.loads(content)["items"]] == ["a"]
    assert [one.metadata.name for one in (await server.client.list(core.ConfigMap, "default")).items] == ["b"]
    await server.ask("DELETE", MAPS, body(propagationPolicy="Foreground"))
    left = await server.client.get(core.ConfigMap, "b", "default")
    assert left.metadata.finalizers == ["foregroundDeletion"] and left.metadata.deletion_timestamp


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        ({"propagationPolicy": "Foreground"}, ["foregroundDeletion"]),
        ({"propagationPolicy": "Orphan"}, ["orphan"]),
        ({"orphanDependents": True}, ["orphan"]),
        ({"propagationPolicy": "Background"}, None),
        ({}, None),
    ],
)
async def test_propagation_policies(server: ApiServer, options: dict[str, Any], finalizers: list[str] | None) -> None:
    await server.ask("DELETE", f"{DEPLOYMENTS}/a", body(**options))
    left = {one.metadata.name: one.metadata.finalizers for one in (await server.client.list(apps.Deployment)).items}
    assert left == ({} if finalizers is None else {"a": finalizers})


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ({"propagationPolicy": "Maybe"}, 422, 'supported values: "Background", "Foreground", "Orphan"'),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, 422, "cannot be both set"),
        (
            {"preconditions": {"uid": "other"}},
            409,
            "Precondition failed: UID in precondition: other, UID in object meta: ",
        ),
        (
            {"preconditions": {"resourceVersion": "1"}},
            409,
            "Precondition failed: ResourceVersion in precondition: 1, ResourceVersion",
        ),
    ],
)
async def test_deletions_that_are_refused(server: ApiServer, options: dict[str, Any], code: int, said: str) -> None:
    for path in (f"{MAPS}/a", MAPS):
        response, content = await server.ask("DELETE", path, body(**options))
        assert response.status == code and said in json.loads(content)["message"]
    assert len((await server.client.list(core.ConfigMap, "default")).items) == 2


WATCH = {"watch": "true"}
EXACT, NOT_OLDER = {"resourceVersionMatch": "Exact"}, {"resourceVersionMatch": "NotOlderThan"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (EXACT, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        (EXACT | {"resourceVersion": "0"}, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'),
        (
            EXACT | {"resourceVersion": "1", "continue": "x"},
            "resourceVersionMatch is forbidden when continue is provided",
        ),
        ({"resourceVersionMatch": "Nearly", "resourceVersion": "1"}, 'Unsupported value: "Nearly"'),
        ({"sendInitialEvents": "true"}, "sendInitialEvents is forbidden for list"),
        (WATCH | NOT_OLDER, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
        (
            WATCH | {"sendInitialEvents": "true"},
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (WATCH | {"sendInitialEvents": "true"} | EXACT, 'Unsupported value: "Exact"'),
    ],
)
async def test_options_of_lists_that_contradict_each_other(server: ApiServer, query: dict[str, str], said: str) -> None:
    response, content = await server.ask("GET", MAPS, query=query)
    told = json.loads(content)
    assert response.status == 422 and said in told["message"]
    assert told["details"]["kind"] == "ListOptions" and told["details"]["group"] == "meta.k8s.io"


async def test_lists_of_a_revision(server: ApiServer) -> None:
    """Exact is the state of that moment, NotOlderThan and 0 whatever is there; the future is refused."""
    then = str(server.store.revision)
    await server.client.delete(core.ConfigMap, "a", "default")

    async def names(**query: str) -> list[str]:
        response, content = await server.ask("GET", MAPS, query=query)
        assert response.status == 200
        return [one["metadata"]["name"] for one in json.loads(content)["items"]]

    assert await names(resourceVersion=then, resourceVersionMatch="Exact") == ["a", "b"]
    assert await names(resourceVersion=then, resourceVersionMatch="NotOlderThan") == ["b"]
    assert await names(resourceVersion=then) == await names(resourceVersion="0") == ["b"]
    response, content = await server.ask("GET", MAPS, query={"resourceVersion": "99999"})
    assert response.status == 504 and "Too large resource version: 99999" in json.loads(content)["message"]
    _, content = await server.ask("GET", MAPS, query={"limit": "1", "resourceVersion": then, **EXACT})
    token = json.loads(content)["metadata"]["continue"]
    assert await names(**{"continue": token}) == ["b"]
    response, _ = await server.ask("GET", MAPS, query={"continue": token, "resourceVersion": then})
    assert response.status == 400


@pytest.mark.parametrize(("validation", "code"), [("Strict", 422), ("Warn", 200), ("Ignore", 200), ("", 200)])
@pytest.mark.parametrize("headers", [MERGE, STRATEGIC])
async def test_keys_given_twice_in_a_patch(
    server: ApiServer, headers: dict[str, str], validation: str, code: int
) -> None:
    query = {"fieldValidation": validation} if validation else {}
    response, content = await server.ask(
        "PATCH", f"{MAPS}/a", b'{"data":{"x":"1","x":"2"}}', headers=headers, query=query
    )
    assert response.status == code
    told = 'duplicate field "data.x"'
    if code != 200:
        assert f"strict decoding error: {told}" in json.loads(content)["message"]
    else:
        assert response.warnings == (() if validation == "Ignore" else (told,))


@pytest.mark.parametrize("path", [f"{MAPS}/a", MAPS])
async def test_watches_of_metadata_alone(server: ApiServer, path: str) -> None:
    accept = {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    response, _ = await server.ask("GET", path, headers=accept, query=WATCH | {"timeoutSeconds": "1"})
    assert response.status == 200
    response, content = await server.ask("GET", f"{MAPS}/a", headers=accept)
    found = json.loads(content)
    assert found["kind"] == "PartialObjectMetadata" and "data" not in found and found["metadata"]["name"] == "a"
