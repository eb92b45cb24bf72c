"""The verbs of the API on the real server in this process, with the store in memory."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api import status
from skerry.api.types import apps, core, meta
from skerry.clock import FakeClock
from skerry.store.base import Record, Unwritable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.server import ApiServer


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await helper.start()
    yield made
    await made.store.close()


def config(name: str, **data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data=data)


def pod(name: str = "web", **more: Any) -> core.Pod:
    return core.Pod(
        metadata=meta.ObjectMeta(name=name, namespace="default", **more),
        spec=core.PodSpec(containers=[core.Container(name="c", image="nginx")]),
    )


def deployment(name: str = "web") -> apps.Deployment:
    return apps.Deployment(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=apps.DeploymentSpec(
            selector=meta.LabelSelector(match_labels={"app": name}),
            template=core.PodTemplateSpec(
                metadata=meta.ObjectMeta(labels={"app": name}),
                spec=core.PodSpec(containers=[core.Container(name="c", image="nginx")]),
            ),
        ),
    )


async def test_a_new_object_gets_uid_time_and_revision(server: ApiServer) -> None:
    made = await server.client.create(config("a", k="v"))
    assert made.metadata.uid
    assert made.metadata.creation_timestamp
    assert made.metadata.resource_version == str(server.store.revision)
    assert await server.client.get(core.ConfigMap, "a", "default") == made


async def test_generate_name_appends_five_letters(server: ApiServer) -> None:
    wanted = config("")
    wanted.metadata.generate_name = "x" * 80
    made = await server.client.create(wanted)
    assert made.metadata.name.startswith("x" * 58)
    assert len(made.metadata.name) == 63  # A2


async def test_what_is_refused_says_so_as_upstream(server: ApiServer) -> None:
    await server.client.create(config("a"))
    for call, code, text in (
        (server.client.create(config("a")), 409, 'configmaps "a" already exists'),
        (server.client.get(apps.Deployment, "b", "default"), 404, 'deployments.apps "b" not found'),
        (server.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="a", namespace="no"))), 404, '"no" not'),
    ):
        with pytest.raises(status.ApiError, match=text) as caught:
            await call
        assert caught.value.code == code


async def test_an_update_on_an_old_revision_is_a_conflict(server: ApiServer) -> None:
    first = await server.client.create(config("a", k="1"))
    first.data["k"] = "2"
    second = await server.client.update(first)
    assert second.metadata.resource_version != first.metadata.resource_version
    with pytest.raises(status.ApiError, match="the object has been modified") as caught:
        await server.client.update(first)
    assert status.is_conflict(caught.value)
    first.metadata.resource_version = ""
    first.data["k"] = "3"
    assert (await server.client.update(first)).data == {"k": "3"}


async def test_a_write_that_changes_nothing_writes_nothing(server: ApiServer) -> None:
    made = await server.client.create(config("a", k="1"))
    assert (await server.client.update(made)).metadata.resource_version == made.metadata.resource_version
    patched = await server.client.patch(core.ConfigMap, "a", {"data": {"k": "1"}}, "default")
    assert patched.metadata.resource_version == made.metadata.resource_version


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("merge", {"data": {"a": "2", "b": None}}),
        ("strategic", {"data": {"a": "2", "b": None}}),
        ("json", [{"op": "replace", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/b"}]),
    ],
)
async def test_the_three_patches(server: ApiServer, kind: str, patch: Any) -> None:
    await server.client.create(config("a", a="1", b="1"))
    assert (await server.client.patch(core.ConfigMap, "a", patch, "default", type=kind)).data == {"a": "2"}


async def test_concurrent_patches_are_all_there_in_the_end(server: ApiServer) -> None:
    await server.client.create(config("a"))
    await asyncio.gather(
        *(server.client.patch(core.ConfigMap, "a", {"data": {f"k{n}": "v"}}, "default") for n in range(10))
    )
    assert len((await server.client.get(core.ConfigMap, "a", "default")).data) == 10


async def test_unknown_fields_strict_warn_ignore(server: ApiServer) -> None:
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","nonsense":1},"dat":{}}'
    path = "/api/v1/namespaces/default/configmaps"
    response, answer = await server.ask("POST", path, body, query={"fieldValidation": "Strict", "dryRun": "All"})
    assert response.status == 400
    message = json.loads(answer)["message"]
    assert "strict decoding error: " in message
    assert 'unknown field "dat"' in message
    assert 'unknown field "metadata.nonsense"' in message
    response, _ = await server.ask("POST", path, body, query={"dryRun": "All"})
    assert (response.status, len(response.warnings)) == (201, 2)
    response, _ = await server.ask("POST", path, body, query={"fieldValidation": "Ignore"})
    assert (response.status, response.warnings) == (201, ())


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{", 400, "cannot be decoded as JSON"),
        (b"[]", 400, "is not an object"),
        (b'{"kind":"Pod","apiVersion":"v1"}', 400, "cannot be handled as a ConfigMap"),
        (b'{"kind":"ConfigMap","apiVersion":"v2"}', 400, "does not match the expected API version"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":5}}', 400, "cannot unmarshal number"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{}}', 422, "name or generateName is required"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"b"}}', 400, "does not match"),
    ],
)
async def test_bad_bodies(server: ApiServer, body: bytes, code: int, text: str) -> None:
    response, answer = await server.ask("POST", "/api/v1/namespaces/default/configmaps", body)
    assert (response.status, json.loads(answer)["status"]) == (code, "Failure")
    assert text in json.loads(answer)["message"]


async def test_a_body_of_an_unknown_type_is_415(server: ApiServer) -> None:
    headers = {"content-type": "application/xml"}
    response, _ = await server.ask("POST", "/api/v1/namespaces/default/configmaps", b"<a/>", headers=headers)
    assert response.status == 415


async def test_yaml_bodies(server: ApiServer) -> None:
    headers = {"content-type": "application/yaml"}
    body = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {k: 'on'}\n"
    response, _ = await server.ask("POST", "/api/v1/namespaces/default/configmaps", body, headers=headers)
    assert response.status == 201


async def test_nobody_is_answered_without_a_token_but_health_and_version(server: ApiServer) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await server.ask("GET", path, user=None))[0].status == 200
    for path in ("/api", "/apis", "/api/v1/pods", "/openapi/v3", "/nonsense"):
        assert (await server.ask("GET", path, user=None))[0].status == 403
    for token, code in (("secret", 200), ("wrong", 401)):
        headers = {"authorization": f"Bearer {token}"}
        assert (await server.ask("GET", "/api", user=None, headers=headers))[0].status == code


async def test_paths_that_nothing_serves(server: ApiServer) -> None:
    for path in ("/apis/none.io/v1/things", "/api/v1/namespaces/default/things", "/api/v1/pods/x", "/x"):
        assert (await server.ask("GET", path))[0].status == 404
    assert (await server.ask("DELETE", "/version"))[0].status in (200, 405)
    assert (await server.ask("PATCH", "/api/v1/namespaces/default/pods"))[0].status == 405


async def test_finalizers_hold_a_deletion_back(server: ApiServer) -> None:
    wanted = config("a")
    wanted.metadata.finalizers = ["example.com/hold"]
    await server.client.create(wanted)
    await server.client.delete(core.ConfigMap, "a", "default")
    marked = await server.client.get(core.ConfigMap, "a", "default")
    assert marked.metadata.deletion_timestamp
    await server.client.patch(core.ConfigMap, "a", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(status.ApiError, match="not found"):
        await server.client.get(core.ConfigMap, "a", "default")


async def test_what_a_deletion_returns(server: ApiServer) -> None:
    """The object itself of some kinds, a Status of others; the official clients read the one or the other."""
    await server.client.create(config("a", k="v"))
    await server.client.create(pod("a"))
    _, gone = await server.ask("DELETE", "/api/v1/namespaces/default/configmaps/a")
    assert json.loads(gone)["kind"] == "Status" and json.loads(gone)["status"] == "Success"
    _, gone = await server.ask("DELETE", "/api/v1/namespaces/default/pods/a")  # on no node: at once
    assert json.loads(gone)["kind"] == "Pod" and json.loads(gone)["metadata"]["name"] == "a"
    assert (await server.ask("GET", "/api/v1/namespaces/default/pods/a"))[0].status == 404


async def test_preconditions_protect_a_successor(server: ApiServer) -> None:
    await server.client.create(config("a"))
    with pytest.raises(status.ApiError, match="Precondition failed: UID in precondition: other"):
        await server.client.delete(core.ConfigMap, "a", "default", uid="other")


async def test_a_pod_on_a_node_is_deleted_gracefully() -> None:
    clock = FakeClock()
    server = await helper.start(clock)
    wanted = pod()
    wanted.spec.node_name = "node-1"
    await server.client.create(wanted)
    await server.client.delete(core.Pod, "web", "default")
    marked = await server.client.get(core.Pod, "web", "default")
    assert marked.metadata.deletion_grace_period_seconds == 30  # R14
    assert marked.metadata.deletion_timestamp == "2026-01-01T00:00:30Z"
    await server.client.delete(core.Pod, "web", "default", grace_period_seconds=5)
    assert (await server.client.get(core.Pod, "web", "default")).metadata.deletion_grace_period_seconds == 5
    await server.client.delete(core.Pod, "web", "default", grace_period_seconds=60)
    assert (await server.client.get(core.Pod, "web", "default")).metadata.deletion_grace_period_seconds == 5
    await server.client.delete(core.Pod, "web", "default", grace_period_seconds=0)
    with pytest.raises(status.ApiError, match="not found"):
        await server.client.get(core.Pod, "web", "default")


async def test_a_pod_without_a_node_goes_at_once(server: ApiServer) -> None:
    await server.client.create(pod())
    await server.client.delete(core.Pod, "web", "default")
    with pytest.raises(status.ApiError, match="not found"):
        await server.client.get(core.Pod, "web", "default")


async def test_status_is_a_part_of_its_own(server: ApiServer) -> None:
    await server.client.create(pod())  # S27
    await server.client.patch(core.Pod, "web", {"status": {"phase": "Failed"}}, "default")
    assert (await server.client.get(core.Pod, "web", "default")).status.phase == "Pending"
    change = {"status": {"phase": "Running"}, "spec": {"nodeName": "x"}}
    await server.client.patch(core.Pod, "web", change, "default", subresource="status")
    found = await server.client.get(core.Pod, "web", "default")
    assert (found.status.phase, found.spec.node_name) == ("Running", "")


async def test_generation_counts_changes_of_what_is_wanted(server: ApiServer) -> None:
    made = await server.client.create(deployment())
    assert made.metadata.generation == 1
    change: dict[str, Any] = {"metadata": {"labels": {"a": "b"}}}
    assert (await server.client.patch(apps.Deployment, "web", change, "default")).metadata.generation == 1
    change = {"spec": {"replicas": 5}}
    assert (await server.client.patch(apps.Deployment, "web", change, "default")).metadata.generation == 2
    change = {"status": {"replicas": 5}}
    after = await server.client.patch(apps.Deployment, "web", change, "default", subresource="status")
    assert (after.metadata.generation, after.status.replicas) == (2, 5)


async def test_scale(server: ApiServer) -> None:
    await server.client.create(deployment())
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    _, body = await server.ask("GET", path)
    scale = json.loads(body)
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["selector"]) == ("Scale", 1, "app=web")
    scale["spec"]["replicas"] = 4
    response, _ = await server.ask("PUT", path, json.dumps(scale).encode())
    assert response.status == 200
    headers = {"content-type": "application/merge-patch+json"}
    response, body = await server.ask("PATCH", path, b'{"spec":{"replicas":7}}', headers=headers)
    assert json.loads(body)["spec"] == {"replicas": 7}
    found = await server.client.get(apps.Deployment, "web", "default")
    assert (found.spec.replicas, found.metadata.generation) == (7, 3)
    response, body = await server.ask("PATCH", path, b'{"spec":{"replicas":-1}}', headers=headers)
    assert response.status == 422


async def test_binding_gives_a_pod_its_node_once(server: ApiServer) -> None:
    await server.client.create(pod())
    binding = core.Binding(metadata=meta.ObjectMeta(name="web"), target=core.ObjectReference(kind="Node", name="n"))
    await server.client.post(core.Pod, "web", "binding", binding, "default")
    found = await server.client.get(core.Pod, "web", "default")
    assert found.spec.node_name == "n"
    assert [(one.type, one.status) for one in found.status.conditions] == [("PodScheduled", "True")]
    with pytest.raises(status.ApiError, match="already assigned") as caught:
        await server.client.post(core.Pod, "web", "binding", binding, "default")
    assert caught.value.code == 409


async def test_a_terminating_namespace_takes_nothing_new(server: ApiServer) -> None:
    await server.client.create(core.Namespace(metadata=meta.ObjectMeta(name="a")))
    await server.client.delete(core.Namespace, "a")
    found = await server.client.get(core.Namespace, "a")
    assert (found.status.phase, found.spec.finalizers) == ("Terminating", ["kubernetes"])
    with pytest.raises(status.ApiError, match="being terminated") as caught:
        await server.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="x", namespace="a")))
    assert caught.value.code == 403
    found.spec.finalizers = []
    await server.client.update(found, subresource="finalize")
    with pytest.raises(status.ApiError, match="not found"):
        await server.client.get(core.Namespace, "a")


async def test_some_namespaces_are_immortal(server: ApiServer) -> None:
    with pytest.raises(status.ApiError, match="this namespace may not be deleted") as caught:
        await server.client.delete(core.Namespace, "default")
    assert caught.value.code == 403


async def test_dry_run_stores_and_allocates_nothing(server: ApiServer) -> None:
    body = b'{"kind":"Service","apiVersion":"v1","metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}}'
    before = server.store.revision
    response, answer = await server.ask("POST", "/api/v1/namespaces/default/services", body, query={"dryRun": "All"})
    assert (response.status, server.store.revision) == (201, before)
    assert json.loads(answer)["metadata"]["name"] == "s"
    response, _ = await server.ask("POST", "/api/v1/namespaces/default/services", body, query={"dryRun": "Some"})
    assert response.status == 422


async def test_the_endpoints_of_a_service_go_with_it(server: ApiServer) -> None:
    found = meta.ObjectMeta(name="s", namespace="default")  # E49
    await server.client.create(core.Service(metadata=found, spec=core.ServiceSpec(ports=[core.ServicePort(port=80)])))
    await server.client.create(core.Endpoints(metadata=meta.ObjectMeta(name="s", namespace="default")))
    await server.client.delete(core.Service, "s", "default")
    with pytest.raises(status.ApiError, match="not found"):
        await server.client.get(core.Endpoints, "s", "default")


async def test_a_deletion_that_happened_is_not_refused_for_what_follows_it(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = meta.ObjectMeta(name="s", namespace="default")
    await server.client.create(core.Service(metadata=found, spec=core.ServiceSpec(ports=[core.ServicePort(port=80)])))
    await server.client.create(core.Endpoints(metadata=meta.ObjectMeta(name="s", namespace="default")))
    delete = server.store.delete

    async def full(key: str, expected: int) -> Record:
        if "/endpoints/" in key:
            raise Unwritable("database or disk is full")
        return await delete(key, expected)

    monkeypatch.setattr(server.store, "delete", full)
    await server.client.delete(core.Service, "s", "default")
    with pytest.raises(status.ApiError, match="not found"):
        await server.client.get(core.Service, "s", "default")


async def test_endpoints_warn_of_their_deprecation(server: ApiServer) -> None:
    response, _ = await server.ask("GET", "/api/v1/namespaces/default/endpoints")  # E53
    assert response.warnings == ("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",)


async def test_the_kubernetes_service(server: ApiServer) -> None:
    found = await server.client.get(core.Service, "kubernetes", "default")  # K1
    assert (found.spec.cluster_ip, found.spec.ports[0].port) == ("10.96.0.1", 443)
    endpoints = await server.client.get(core.Endpoints, "kubernetes", "default")  # K3
    assert [one.ip for one in endpoints.subsets[0].addresses] == ["10.243.0.1"]


async def test_ephemeral_containers_are_only_added_and_only_by_their_own_door(server: ApiServer) -> None:
    await server.client.create(pod("p"))
    path = "/api/v1/namespaces/default/pods/p"

    async def write(part: str, *containers: dict[str, object], labels: dict[str, str] | None = None) -> tuple[int, Any]:
        body = {"metadata": {"labels": labels or {}}, "spec": {"ephemeralContainers": list(containers)}}
        headers = {"content-type": "application/strategic-merge-patch+json"}
        response, answer = await server.ask("PATCH", path + part, json.dumps(body).encode(), headers=headers)
        return response.status, json.loads(answer)

    look = {"name": "look", "image": "busybox", "targetContainerName": "c", "stdin": True}
    code, found = await write("/ephemeralcontainers", look, labels={"a": "b"})
    assert code == 200
    (added,) = found["spec"]["ephemeralContainers"]
    assert added["imagePullPolicy"] == "Always" and added["terminationMessagePath"] == "/dev/termination-log"
    assert "labels" not in found["metadata"] and found["metadata"]["generation"] == 2
    code, found = await write("", {"name": "other", "image": "busybox"})
    assert code == 422 and "pod updates may not change fields other than" in found["message"]
    code, found = await write("/ephemeralcontainers", {"name": "look", "image": "alpine"})
    assert code == 422
    assert (
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "look" may not be changed'
        in (found["message"])
    )
    probe = {"name": "c", "image": "i", "targetContainerName": "x", "readinessProbe": {"exec": {"command": ["true"]}}}
    code, found = await write("/ephemeralcontainers", probe)
    at = "spec.ephemeralContainers[0]"
    assert [(one["field"], one["message"]) for one in found["details"]["causes"]] == [
        (f"{at}.name", 'Duplicate value: "c"'),
        (f"{at}.targetContainerName", 'Not found: "x"'),
        (f"{at}.readinessProbe", "Forbidden: cannot be set for an Ephemeral Container"),
    ]
