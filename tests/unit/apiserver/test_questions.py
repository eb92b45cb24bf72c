"""What is answered and not stored: who am I, may I, acting as others, and kinds that are not served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers import server as helper
from tests.helpers.server import ApiServer

from skerry.api import resources
from skerry.api.types import apps, core, meta, rbac
from skerry.api.wire import User
from skerry.apiserver import unserved

TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
NODE = User("system:node:node-1", ("system:nodes",))


@pytest.fixture
async def api() -> ApiServer:
    return await helper.start()


async def ask(api: ApiServer, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
    response, data = await api.ask(method, path, json.dumps(body).encode() if body is not None else b"", **more)
    return response.status, json.loads(data)


def review(kind: str, group: str = "authorization.k8s.io", **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": f"{group}/v1", "spec": spec} if spec else {
        "kind": kind, "apiVersion": f"{group}/v1"
    }  # fmt: skip


WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
MAY = "/apis/authorization.k8s.io/v1"


async def who(api: ApiServer, user: User, **headers: str) -> Any:
    asked = review("SelfSubjectReview", "authentication.k8s.io")
    code, found = await ask(api, "POST", WHO, asked, user=user, headers=headers)
    return found["status"]["userInfo"] if code == 201 else found


async def test_who_am_i(api: ApiServer) -> None:
    assert await who(api, helper.ADMIN) == {"username": "tester", "groups": ["system:masters", "system:authenticated"]}
    assert (await who(api, NODE))["groups"] == ["system:nodes", "system:authenticated"]


async def test_an_administrator_acts_as_others(api: ApiServer) -> None:
    headers = {"impersonate-user": "alice", "impersonate-group": "a, b", "impersonate-uid": "7"}
    found = await who(api, helper.ADMIN, **headers)
    assert found == {"username": "alice", "uid": "7", "groups": ["a", "b", "system:authenticated"]}
    found = await who(api, helper.ADMIN, **{"impersonate-user": "system:serviceaccount:shop:robot"})
    assert found["groups"] == ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]


async def test_nobody_else_does(api: ApiServer) -> None:
    refused = await who(api, NODE, **{"impersonate-user": "alice"})
    assert refused["code"] == 403
    assert refused["message"] == (
        'users "alice" is forbidden: User "system:node:node-1" cannot impersonate resource "users" in API group "" at '
        "the cluster scope"
    )
    assert (await who(api, helper.ADMIN, **{"impersonate-group": "a"}))["code"] == 400


async def bind(api: ApiServer, user: str, role: str) -> None:
    await api.client.create(
        rbac.ClusterRoleBinding(
            metadata=meta.ObjectMeta(name=f"{user}-{role}"),
            subjects=[rbac.Subject(kind="User", name=user)],
            role_ref=rbac.RoleRef(kind="ClusterRole", name=role),
        )
    )


async def test_may_i(api: ApiServer) -> None:
    robot = "system:serviceaccount:default:robot"
    await bind(api, "alice", "cluster-admin")
    pods = {"verb": "get", "resource": "pods", "namespace": "default"}
    path = {"verb": "get", "path": "/healthz"}
    for kind, plural, spec in (
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews", {"resourceAttributes": pods}),
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews", {"nonResourceAttributes": path}),
        ("SubjectAccessReview", "subjectaccessreviews", {"resourceAttributes": pods, "user": "alice"}),
        ("LocalSubjectAccessReview", "namespaces/default/localsubjectaccessreviews",
         {"resourceAttributes": pods, "user": "alice"}),
    ):  # fmt: skip
        code, found = await ask(api, "POST", f"{MAY}/{plural}", review(kind, **spec))
        assert (code, found["status"]["allowed"]) == (201, True)
        assert "uid" not in found["metadata"]
    code, found = await ask(
        api, "POST", f"{MAY}/selfsubjectrulesreviews", review("SelfSubjectRulesReview", namespace="default")
    )
    assert {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]} in found["status"]["resourceRules"]
    assert {"verbs": ["*"], "nonResourceURLs": ["*"]} in found["status"]["nonResourceRules"]
    assert found["status"]["incomplete"] is False
    asked = review("SubjectAccessReview", resourceAttributes=pods, user=robot)
    _, found = await ask(api, "POST", f"{MAY}/subjectaccessreviews", asked)
    assert found["status"] == {"allowed": False}


@pytest.mark.parametrize(
    ("kind", "plural", "spec", "code", "field"),
    [
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews", {}, 422, "spec.resourceAttributes"),
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews",
         {"resourceAttributes": {}, "nonResourceAttributes": {}}, 422, "spec.nonResourceAttributes"),
        ("SubjectAccessReview", "subjectaccessreviews", {"resourceAttributes": {}}, 422, "spec.user"),
        ("LocalSubjectAccessReview", "namespaces/default/localsubjectaccessreviews",
         {"resourceAttributes": {"namespace": "other"}, "user": "a"}, 400, ""),
        ("LocalSubjectAccessReview", "localsubjectaccessreviews", {"resourceAttributes": {}, "user": "a"}, 405, ""),
        ("SelfSubjectRulesReview", "selfsubjectrulesreviews", {}, 400, ""),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_answered(
    api: ApiServer, kind: str, plural: str, spec: dict[str, Any], code: int, field: str
) -> None:
    got, found = await ask(api, "POST", f"{MAY}/{plural}", review(kind, **spec))
    assert got == code
    if field:
        assert [one["field"] for one in found["details"]["causes"]] == [field]


async def test_questions_are_only_asked(api: ApiServer) -> None:
    assert (await ask(api, "GET", WHO))[0] == 405
    _, found = await ask(api, "GET", "/apis/authentication.k8s.io/v1")
    assert [(one["name"], one["verbs"]) for one in found["resources"]] == [
        ("selfsubjectreviews", ["create"]),
        ("tokenreviews", ["create"]),
    ]


async def test_a_kind_that_is_not_served_is_listed_and_refused_in_a_sentence(api: ApiServer) -> None:
    kinds = "/api/v1/namespaces/default/replicationcontrollers"
    code, found = await ask(api, "GET", kinds)
    assert (code, found["kind"], found["items"]) == (200, "ReplicationControllerList", [])
    code, found = await ask(api, "GET", kinds, headers=TABLE)
    assert (found["kind"], found["rows"]) == ("Table", [])
    code, found = await ask(api, "GET", f"{kinds}/a")
    assert (code, found["message"]) == (404, 'replicationcontrollers "a" not found')
    for method, path in (("POST", kinds), ("DELETE", kinds), ("PATCH", f"{kinds}/a")):
        code, found = await ask(api, method, path, {})
        assert (code, found["reason"]) == (405, "MethodNotAllowed")
        assert found["message"] == "replicationcontrollers are not served by Skerry: use a Deployment instead"


def test_no_kind_is_served_and_not_served() -> None:
    served = [one.kind for one in (*resources.RESOURCES, *resources.QUESTIONS)]
    assert [one.kind for one in unserved.ROWS if one.kind in served] == []


async def test_where_to_go_on(api: ApiServer) -> None:
    _, found = await ask(api, "GET", "/")
    assert {"/api/v1", "/apis/apps/v1", "/openapi/v3", "/readyz"} <= set(found["paths"])


async def test_health_in_one_word_and_in_lines(api: ApiServer) -> None:
    assert (await api.ask("GET", "/readyz", user=None))[1] == b"ok"
    _, body = await api.ask("GET", "/readyz", user=None, query={"verbose": ""})
    assert body == b"[+]ping ok\nreadyz check passed\n"
    api.app.ready = False
    response, body = await api.ask("GET", "/readyz", user=None, query={"verbose": ""})
    assert (response.status, body) == (503, b"[-]ping not ready\nreadyz check failed\n")


async def test_the_columns_of_a_scale(api: ApiServer) -> None:
    labels = {"app": "web"}
    template = core.PodTemplateSpec(
        metadata=meta.ObjectMeta(labels=labels), spec=core.PodSpec(containers=[core.Container(name="c", image="i")])
    )
    spec = apps.DeploymentSpec(replicas=2, selector=meta.LabelSelector(match_labels=labels), template=template)
    await api.client.create(apps.Deployment(metadata=meta.ObjectMeta(name="web", namespace="default"), spec=spec))
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    _, found = await ask(api, "GET", path, headers=TABLE)
    assert [one["name"] for one in found["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert found["rows"][0]["cells"][:3] == ["web", 2, 0]
    assert (await ask(api, "GET", path))[1]["kind"] == "Scale"


async def test_the_log_of_a_pod_on_no_node_is_empty_and_says_why(api: ApiServer) -> None:
    spec = core.PodSpec(containers=[core.Container(name="c", image="i")])
    await api.client.create(core.Pod(metadata=meta.ObjectMeta(name="p", namespace="default"), spec=spec))
    response, body = await api.ask("GET", "/api/v1/namespaces/default/pods/p/log")
    assert (response.status, body) == (200, b"")
    assert response.warnings == ("pod p does not have a host assigned",)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/configmaps", '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("/api/v1/pods", "field label not supported: data.a"),
    ],
)
async def test_a_field_that_cannot_be_selected_by(api: ApiServer, path: str, said: str) -> None:
    code, found = await ask(api, "GET", path, query={"fieldSelector": "data.a=b"})
    assert (code, found["message"]) == (400, said)


ACKS = "/apis/skerry.dev/v1alpha1/acknowledgements"
NOT_YOURS = 'cannot {} resource "acknowledgements" in API group "skerry.dev" at the cluster scope'


def acknowledgement(node: str, component: str = "proxy") -> dict[str, Any]:
    name, spec = f"{node}.{component}", {"nodeName": node, "component": component}
    return {"kind": "Acknowledgement", "apiVersion": "skerry.dev/v1alpha1", "metadata": {"name": name}, "spec": spec}


async def test_a_node_acknowledges_for_itself_alone(api: ApiServer) -> None:
    """Service conditions and the drain barrier believe what a node says of its own parts."""
    other = User("system:node:node-2", ("system:nodes",))
    pretends = User("system:node:node-1", ("system:serviceaccounts",))
    pod = User("system:serviceaccount:default:default", ("system:serviceaccounts",))
    own = acknowledgement("node-1")
    for user in (other, pretends, pod):
        code, found = await ask(api, "POST", ACKS, own, user=user)
        assert code == 403
        assert f'User "{user.name}" {NOT_YOURS.format("create")}' in found["message"]
    assert (await ask(api, "POST", ACKS, own, user=NODE))[0] == 201
    patch = {"status": {"appliedRevision": 7}}
    merge = {"content-type": "application/merge-patch+json"}
    for user, method, body, wanted in (
        (other, "PATCH", patch, 403),
        (other, "PUT", own, 403),
        (other, "DELETE", None, 403),
        (NODE, "PATCH", patch, 200),
        (other, "GET", None, 200),
        (helper.ADMIN, "PATCH", {"status": {"appliedRevision": 8}}, 200),
        (NODE, "DELETE", None, 200),
    ):
        headers = merge if method == "PATCH" else {}
        code, found = await ask(api, method, f"{ACKS}/node-1.proxy", body, user=user, headers=headers)
        assert code == wanted, found
    assert (await ask(api, "DELETE", ACKS, user=NODE))[0] == 403
    about = {"verb": "patch", "group": "skerry.dev", "resource": "acknowledgements", "name": "node-2.dns"}
    asked = review("SelfSubjectAccessReview", resourceAttributes=about)
    for user, allowed in ((NODE, False), (other, True), (helper.ADMIN, True)):
        _, found = await ask(api, "POST", f"{MAY}/selfsubjectaccessreviews", asked, user=user)
        assert found["status"]["allowed"] is allowed
