"""Server-side apply and managedFields on the real server in this process, as a client sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper

from skerry.api import codec
from skerry.api.types import apps, core, meta
from skerry.api.wire import Request
from skerry.client.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.server import ApiServer

APPLY = "application/apply-patch+yaml"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await helper.start()
    yield made
    await made.store.close()


async def ask(
    server: ApiServer, method: str, path: str, body: Any = None, *, agent: str = "kubectl/v1.36.0 (linux)", **query: str
) -> tuple[int, Any]:
    """A request as one of HTTP; body as JSON, or bytes as they are."""
    content = {"PATCH": query.pop("content", APPLY)}.get(method, "application/json")
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    headers = {"user-agent": agent, "content-type": content}
    response = await server.client._transport(Request(method, path, query, headers, data))
    assert isinstance(response.body, bytes)
    return response.status, codec.parse(response.body)


async def apply(server: ApiServer, path: str, body: Any, manager: str = "me", **query: str) -> tuple[int, Any]:
    return await ask(server, "PATCH", path, body, fieldManager=manager, **query)


def deployment(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}},
            **spec,
        },
    }


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def managers(obj: Any) -> dict[str, Any]:
    """manager/operation/subresource -> its fields."""
    return {
        "/".join(filter(None, (one["manager"], one["operation"], one.get("subresource")))): one["fieldsV1"]
        for one in obj["metadata"].get("managedFields", ())
    }


async def test_apply_creates_and_says_who_owns_what(server: ApiServer) -> None:
    code, made = await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=2))
    assert code == 201
    assert managers(made) == {
        "me/Apply": {
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"c"}': {
                                ".": {},
                                "f:image": {},
                                "f:name": {},
                                "f:ports": {
                                    'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
                                },
                            }
                        }
                    },
                },
            }
        }
    }
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["apiVersion"], entry["fieldsType"]) == ("apps/v1", "FieldsV1")
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]
    code, again = await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=2))
    assert (code, again) == (200, made)  # nothing was written


async def test_what_is_no_longer_applied_goes_unless_another_owns_it(server: ApiServer) -> None:
    await apply(server, f"{MAPS}/a", config(a="1", b="1", c="1"), "one")
    await apply(server, f"{MAPS}/a", config(b="1"), "two")
    _, made = await apply(server, f"{MAPS}/a", config(c="1"), "one")
    assert made["data"] == {"b": "1", "c": "1"}
    assert managers(made) == {"one/Apply": {"f:data": {"f:c": {}}}, "two/Apply": {"f:data": {"f:b": {}}}}


async def test_a_conflict_names_manager_and_field(server: ApiServer) -> None:
    _, made = await ask(server, "POST", DEPLOYMENTS, deployment(replicas=3), fieldManager="hand")
    code, said = await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=2))
    assert (code, said["reason"]) == (409, "Conflict")
    assert said["message"] == 'Apply failed with 1 conflict: conflict with "hand" using apps/v1: .spec.replicas'
    assert said["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "hand" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    code, made = await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=2), force="true")
    assert code == 200
    assert made["spec"]["replicas"] == 2
    assert "f:replicas" not in managers(made)["hand/Update"]["f:spec"]
    # The same value from two appliers is no conflict; another value is one with each, sorted.
    await apply(server, f"{MAPS}/a", config(k="1", l="1"), "one")
    await apply(server, f"{MAPS}/a", config(k="1", l="1"), "two")
    code, said = await apply(server, f"{MAPS}/a", config(k="2", l="2"), "three")
    assert said["message"] == (
        'Apply failed with 4 conflicts: conflicts with "one":\n- .data.k\n- .data.l\nconflicts with "two":\n'
        "- .data.k\n- .data.l"
    )


async def test_a_path_of_a_conflict_shows_keys(server: ApiServer) -> None:
    await apply(server, f"{DEPLOYMENTS}/web", deployment(), "one")
    other = deployment()
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "redis"
    _, said = await apply(server, f"{DEPLOYMENTS}/web", other, "two")
    assert said["details"]["causes"][0]["field"] == '.spec.template.spec.containers[name="c"].image'


@pytest.mark.parametrize(
    ("path", "body", "query", "code", "text"),
    [
        (MAPS, config(), {"fieldManager": ""}, 422,
         'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'),
        (MAPS, {**config(), "metadata": {"name": "a", "managedFields": [{}]}}, {}, 400,
         "metadata.managedFields must be nil"),
        (MAPS, {**config(), "kind": "Secret"}, {}, 400, "invalid object type: /v1, Kind=Secret"),
        (MAPS, {**config(), "dato": {}}, {}, 400,
         "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .dato: field not declared in schema"),
        (MAPS, config(k=1), {}, 400,  # type: ignore[arg-type]
         ("failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .data.k: expected string, got "
         "&value.valueUnstructured{Value:1}")),
        (MAPS, {**config("b")}, {}, 400,
         "the name of the object (b) does not match the name on the URL (a)"),
        (MAPS, b"{", {}, 400, "error decoding patch: "),
        (MAPS, b"- a", {}, 400, "error decoding patch: the patch is not an object"),
        (MAPS, b"kind: ConfigMap\napiVersion: v1\nkind: ConfigMap\n", {"fieldValidation": "Strict"}, 400,
         "error strict decoding patch: "),
        (MAPS, {**config(), "metadata": {"name": "a", "uid": "x"}}, {}, 409,
         ('Operation cannot be fulfilled on configmaps "a": uid mismatch: the provided object specified uid x, and no '
         "existing object was found")),
        (MAPS, config(), {"content": "application/merge-patch+json", "force": "true"}, 422,
         'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'),
        (MAPS, config(), {"fieldManager": "x" * 129}, 422, "fieldManager: Too long"),
        (MAPS, config(), {"content": "text/plain"}, 415, APPLY),
    ],
)  # fmt: skip
async def test_what_cannot_be_applied(
    server: ApiServer, path: str, body: Any, query: dict[str, str], code: int, text: str
) -> None:
    found, said = await ask(server, "PATCH", f"{path}/a", body, **{"fieldManager": "me", **query})
    assert found == code, said
    assert text in said["message"]


async def test_elements_without_or_with_the_same_keys(server: ApiServer) -> None:
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["containers"] *= 2
    _, said = await apply(server, f"{DEPLOYMENTS}/web", wrong)
    assert '.spec.template.spec.containers: duplicate entries for key [name="c"]' in said["message"]


async def test_an_object_that_nobody_tracked_belongs_to_before_first_apply(server: ApiServer) -> None:
    await ask(server, "POST", MAPS, config(a="1", b="1"))
    forget: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
    _, made = await ask(server, "PATCH", f"{MAPS}/a", forget, content="application/merge-patch+json")
    assert "managedFields" not in made["metadata"]
    code, said = await apply(server, f"{MAPS}/a", config(a="2"))
    assert code == 409
    assert said["message"].endswith('conflict with "before-first-apply" using v1: .data.a')
    _, made = await apply(server, f"{MAPS}/a", config(a="1"))
    assert managers(made)["before-first-apply/Update"]["f:data"] == {".": {}, "f:a": {}, "f:b": {}}


async def test_ordinary_writes_belong_to_the_program_that_makes_them(server: ApiServer) -> None:
    await ask(server, "POST", MAPS, config(a="1"))
    _, made = await ask(
        server, "PATCH", f"{MAPS}/a", {"data": {"b": "2"}}, agent="curl/8 x", content="application/merge-patch+json"
    )
    assert managers(made) == {
        "kubectl/Update": {"f:data": {".": {}, "f:a": {}}},
        "curl/Update": {"f:data": {"f:b": {}}},
    }
    made["data"] = {"a": "2"}
    _, made = await ask(server, "PUT", f"{MAPS}/a", made, fieldManager="put")
    assert managers(made) == {"kubectl/Update": {"f:data": {}}, "put/Update": {"f:data": {"f:a": {}}}}


async def test_status_has_managers_of_its_own(server: ApiServer) -> None:
    _, made = await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=1))
    status = {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": status}
    code, made = await apply(server, f"{DEPLOYMENTS}/web/status", body, "controller")
    assert code == 200
    assert made["status"]["replicas"] == 1
    assert managers(made)["controller/Apply/status"]["f:status"] == {
        "f:conditions": {'k:{"type":"Available"}': {".": {}, "f:status": {}, "f:type": {}}},
        "f:replicas": {},
    }
    body["status"] = {"replicas": 2}
    _, said = await ask(server, "PATCH", f"{DEPLOYMENTS}/web/status", body, fieldManager="other")
    assert said["message"].endswith('conflict with "controller" with subresource "status": .status.replicas')
    # In the object itself status does not count.
    code, made = await apply(server, f"{DEPLOYMENTS}/web", {**deployment(replicas=1), "status": {"replicas": 9}})
    assert code == 200
    assert "f:status" not in managers(made)["me/Apply"]
    missing = {**body, "metadata": {"name": "no"}}
    assert (await apply(server, f"{DEPLOYMENTS}/no/status", missing))[0] == 404


async def test_kubectl_takes_over_what_it_applied_before(server: ApiServer) -> None:
    first = config(a="1", b="1")
    text = json.dumps(first)
    first["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": text}
    await ask(server, "POST", MAPS, first, fieldManager="kubectl-client-side-apply")
    code, said = await apply(server, f"{MAPS}/a", config(a="2", b="1"), "somebody")
    assert code == 409
    code, made = await apply(server, f"{MAPS}/a", config(a="2", b="1"), "kubectl")
    assert (code, made["data"]) == (200, {"a": "2", "b": "1"})
    told = json.loads(made["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert told == config(a="2", b="1")
    await ask(server, "PATCH", f"{MAPS}/a", {"data": {"b": "x"}}, content="application/merge-patch+json",
              fieldManager="hand")  # fmt: skip
    code, said = await apply(server, f"{MAPS}/a", config(a="2", b="1"), "kubectl")
    assert said["message"].endswith('conflict with "hand" using v1: .data.b')


async def test_managed_fields_can_be_written_and_reset(server: ApiServer) -> None:
    _, made = await apply(server, f"{MAPS}/a", config(a="1"))
    entry = {**made["metadata"]["managedFields"][0], "manager": "other"}
    operations = [
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
    ]
    content = "application/json-patch+json"
    code, made = await ask(server, "PATCH", f"{MAPS}/a", operations, content=content)
    assert (code, list(managers(made))) == (200, ["other/Apply"])
    code, _ = await ask(server, "PATCH", f"{MAPS}/a", operations, content=content)
    assert code == 409  # the revision is an old one
    # What cannot be read is not taken.
    made["metadata"]["managedFields"] = [{"manager": "x", "operation": "Wipe"}]
    code, made = await ask(server, "PUT", f"{MAPS}/a", made)
    assert list(managers(made)) == ["other/Apply"]
    made["metadata"]["managedFields"] = [{}]
    code, made = await ask(server, "PUT", f"{MAPS}/a", made)
    assert "managedFields" not in made["metadata"]


async def test_a_revision_in_the_patch_is_a_condition(server: ApiServer) -> None:
    _, made = await apply(server, f"{MAPS}/a", config(a="1"))
    wanted = config(a="2")
    wanted["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert (await apply(server, f"{MAPS}/a", wanted))[0] == 200
    code, said = await apply(server, f"{MAPS}/a", {**wanted, "data": {"a": "3"}})
    assert code == 409
    assert "the object has been modified" in said["message"]


async def test_a_dry_run_stores_nothing(server: ApiServer) -> None:
    code, made = await apply(server, f"{MAPS}/a", config(a="1"), dryRun="All")
    assert (code, made["data"]) == (201, {"a": "1"})
    assert (await ask(server, "GET", f"{MAPS}/a"))[0] == 404


async def test_scale_is_tracked_and_its_owner_is_in_the_way(server: ApiServer) -> None:
    await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=1))
    patch = {"spec": {"replicas": 5}}
    code, _ = await ask(
        server, "PATCH", f"{DEPLOYMENTS}/web/scale", patch, content="application/merge-patch+json", fieldManager="hpa"
    )
    assert code == 200
    _, said = await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=1))
    assert said["message"] == (
        'Apply failed with 1 conflict: conflict with "hpa" with subresource "scale" using apps/v1: .spec.replicas'
    )
    # Leaving the field out gives it up.
    _, made = await apply(server, f"{DEPLOYMENTS}/web", deployment())
    assert made["spec"]["replicas"] == 5
    wanted = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 7}}
    code, said = await apply(server, f"{DEPLOYMENTS}/web/scale", wanted, "other")
    assert code == 409
    code, said = await apply(server, f"{DEPLOYMENTS}/web/scale", wanted, "other", force="true")
    assert (code, said["spec"]["replicas"]) == (200, 7)


async def test_the_controllers_of_this_process_begin_nothing_but_are_seen(server: ApiServer) -> None:
    shared = Client(server.client._transport, agent="skerry", shared=True)
    made = await shared.create(core.ConfigMap(metadata=meta.ObjectMeta(name="b", namespace="default")))
    assert not bytes(made.metadata.managed_fields)
    await apply(server, f"{DEPLOYMENTS}/web", deployment(replicas=1))
    found = await shared.patch(apps.Deployment, "web", {"spec": {"replicas": 3}}, "default")
    assert b'"manager":"skerry","operation":"Update"' in bytes(found.metadata.managed_fields)
    before = (await shared.get(apps.Deployment, "web", "default")).metadata.resource_version
    found = await shared.patch(apps.Deployment, "web", {"spec": {"replicas": 3}}, "default")
    assert found.metadata.resource_version == before
