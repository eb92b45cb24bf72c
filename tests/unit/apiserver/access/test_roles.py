"""Roles and bindings in a real server: who may do what, and who may give what to whom."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.helpers import server as helper
from tests.helpers.server import ApiServer
from tests.unit.api.test_rbac import _questions, _rules

from skerry.api import rbac as rules
from skerry.api import status
from skerry.api.rbac import Question
from skerry.api.types import core, meta, rbac
from skerry.api.wire import User
from skerry.apiserver import auth
from skerry.apiserver.access import policy, reconcile
from skerry.apiserver.access.nodes import rule
from skerry.apiserver.access.rbac import Roles, _subject_key
from skerry.apiserver.app import in_process
from skerry.client.client import Client

ALICE = auth.logged_in(User("alice", ("devs",)))


@pytest.fixture
async def api() -> ApiServer:
    return await helper.start()


def subject(text: str) -> rbac.Subject:
    kind, _, name = text.partition(":")
    if kind != "ServiceAccount":
        return rbac.Subject(kind=kind, api_group=rules.GROUP, name=name)
    namespace, _, name = name.partition("/")
    return rbac.Subject(kind=kind, namespace=namespace, name=name)


def role(name: str, *own: rbac.PolicyRule, namespace: str = "") -> Any:
    metadata = meta.ObjectMeta(name=name, namespace=namespace)
    return rbac.Role(metadata=metadata, rules=list(own)) if namespace else rbac.ClusterRole(
        metadata=metadata, rules=list(own)
    )  # fmt: skip


def binding(name: str, role: str, *subjects: str, namespace: str = "") -> Any:
    kind, _, named = role.partition(":")
    ref = rbac.RoleRef(api_group=rules.GROUP, kind=kind, name=named)
    made = rbac.RoleBinding if namespace else rbac.ClusterRoleBinding
    return made(
        metadata=meta.ObjectMeta(name=name, namespace=namespace), subjects=[*map(subject, subjects)], role_ref=ref
    )


def as_user(api: ApiServer, user: User) -> Client:
    return Client(in_process(api.app, user))


async def may(api: ApiServer, user: User, *asked: str, **more: str) -> bool:
    return (await api.app.server.access.decide(user, Question(*asked, **more))).allowed


async def test_a_binding_counts_from_the_moment_in_which_it_is_written(api: ApiServer) -> None:
    await api.client.create(role("reader", rule("", "pods", "get list"), namespace="default"))
    asked = ("list", "", "pods", "default")
    assert not await may(api, ALICE, *asked)
    made = await api.client.create(binding("b", "Role:reader", "Group:devs", namespace="default"))
    assert await may(api, ALICE, *asked)
    assert not await may(api, ALICE, "list", "", "pods", "other")
    assert not await may(api, ALICE, "list", "", "pods")
    await api.client.patch(rbac.Role, "reader", {"rules": None}, "default")
    assert not await may(api, ALICE, *asked)
    await api.client.delete(rbac.Role, "reader", "default")
    decision = await api.app.server.access.decide(ALICE, Question(*asked))
    assert decision.reason == 'RBAC: role.rbac.authorization.k8s.io "reader" not found'
    await api.client.delete(rbac.RoleBinding, made.metadata.name, "default")
    assert (await api.app.server.access.decide(ALICE, Question(*asked))).reason == ""


async def test_a_cluster_role_in_a_namespace_and_everywhere(api: ApiServer) -> None:
    robot = auth.account("default", "robot", "1", {})
    await api.client.create(binding("v", "ClusterRole:view", "ServiceAccount:/robot", namespace="default"))
    assert await may(api, robot, "get", "apps", "deployments/scale", "default")
    assert not await may(api, robot, "get", "", "secrets", "default")
    assert not await may(api, robot, "get", "", "pods", "kube-system")
    await api.client.create(binding("v", "ClusterRole:view", "ServiceAccount:default/robot"))
    assert await may(api, robot, "list", "", "pods")
    decision = await api.app.server.access.decide(robot, Question("list", "", "pods"))
    assert decision.reason == (
        'RBAC: allowed by ClusterRoleBinding "v" of ClusterRole "view" to ServiceAccount "robot/default"'
    )


async def test_refusals_read_as_upstream_writes_them(api: ApiServer) -> None:
    robot = as_user(api, auth.account("default", "default", "1", {}))
    with pytest.raises(status.ApiError) as caught:
        await robot.list(core.Pod, "default")
    assert caught.value.message == (
        'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )
    assert caught.value.details == {"kind": "pods"}
    with pytest.raises(status.ApiError) as caught:
        await robot.get(core.Node, "n")
    assert caught.value.message == (
        'nodes "n" is forbidden: User "system:serviceaccount:default:default" cannot get resource "nodes" in API group '
        '"" at the cluster scope'
    )
    response, body = await api.ask("GET", "/metrics", user=ALICE)
    assert json.loads(body)["message"] == 'forbidden: User "alice" cannot get path "/metrics"'
    response, body = await api.ask("GET", "/apis/made.up/v1/things", user=ALICE)
    assert response.status == 403
    response, body = await api.ask("GET", "/apis/made.up/v1", user=ALICE)
    assert response.status == 404


async def test_who_may_log_in_reads_what_is_served_and_strangers_hardly_that(api: ApiServer) -> None:
    for path, known, stranger in (
        ("/api", 200, 403), ("/openapi/v3", 200, 403), ("/version", 200, 200), ("/readyz", 200, 200),
        ("/livez", 200, 200), ("/", 403, 403),
    ):  # fmt: skip
        assert (await api.ask("GET", path, user=ALICE))[0].status == known, path
        assert (await api.ask("GET", path, user=None))[0].status == stranger, path


async def test_a_websocket_of_exec_takes_the_right_to_create_too(api: ApiServer) -> None:
    await api.client.create(role("looks", rule("", "pods/exec", "get")))
    await api.client.create(binding("looks", "ClusterRole:looks", "User:alice"))
    response, body = await api.ask("GET", "/api/v1/namespaces/default/pods/p/exec", user=ALICE)
    assert response.status == 403 and b"cannot create resource" in body


async def test_nobody_gives_what_they_do_not_have(api: ApiServer) -> None:
    alice = as_user(api, ALICE)
    await api.client.create(binding("admins", "ClusterRole:admin", "User:alice", namespace="default"))
    await alice.create(role("pods", rule("", "pods", "get list"), namespace="default"))
    await alice.create(binding("pods", "Role:pods", "User:bob", namespace="default"))
    await alice.create(binding("views", "ClusterRole:view", "User:bob", namespace="default"))
    with pytest.raises(status.ApiError) as caught:
        await alice.create(role("nodes", rule("", "nodes", "get list"), namespace="default"))
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "nodes" is forbidden: user "alice" (groups=["devs" "system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}'
    )
    with pytest.raises(status.ApiError, match="attempting to grant RBAC permissions not currently held"):
        await alice.create(binding("all", "ClusterRole:cluster-admin", "User:alice", namespace="default"))
    with pytest.raises(status.ApiError, match=r'clusterroles\.rbac\.authorization\.k8s\.io "no" not found'):
        await alice.create(binding("no", "ClusterRole:no", "User:alice", namespace="default"))
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    with pytest.raises(status.ApiError, match="not currently held"):
        await alice.patch(rbac.Role, "pods", {"rules": [everything]}, "default")
    # What stays as it was is not asked about.
    await api.client.create(role("big", rule("*", "*", "*"), namespace="default"))
    await alice.patch(rbac.Role, "big", {"metadata": {"labels": {"a": "b"}}}, "default")
    # The verbs that lift it.
    await api.client.create(role("lifts", rule(rules.GROUP, "roles clusterroles", "escalate bind")))
    await api.client.create(binding("lifts", "ClusterRole:lifts", "User:alice"))
    await alice.create(role("nodes", rule("", "nodes", "get list"), namespace="default"))
    await alice.create(binding("all", "ClusterRole:cluster-admin", "User:alice", namespace="default"))


async def test_who_aggregates_must_have_everything(api: ApiServer) -> None:
    alice = as_user(api, ALICE)
    await api.client.create(role("roles", rule(rules.GROUP, "clusterroles", "create")))
    await api.client.create(binding("roles", "ClusterRole:roles", "User:alice"))
    whole = role("whole")
    selector = meta.LabelSelector(match_labels={"a": "b"})
    whole.aggregation_rule = rbac.AggregationRule(cluster_role_selectors=[selector])
    with pytest.raises(status.ApiError, match="must have cluster-admin privileges to use an aggregationRule"):
        await alice.create(whole)


async def test_an_update_that_creates_takes_that_right_too(api: ApiServer) -> None:
    alice = as_user(api, ALICE)
    await api.client.create(role("updates", rule("", "services endpoints", "update")))
    await api.client.create(binding("updates", "ClusterRole:updates", "User:alice"))
    with pytest.raises(status.ApiError, match='cannot create resource "endpoints"'):
        await alice.update(core.Endpoints(metadata=meta.ObjectMeta(name="e", namespace="default")))


async def test_acting_as_others_takes_the_right_to(api: ApiServer) -> None:
    own = (rule("", "users", "impersonate", "bob"), rule("", "groups", "impersonate", "x"))
    await api.client.create(role("acts", *own))
    await api.client.create(binding("acts", "ClusterRole:acts", "User:alice"))
    await api.client.create(binding("bobs", "ClusterRole:view", "User:bob"))
    path = "/api/v1/pods"

    async def answered(**headers: str) -> tuple[int, str]:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        response, body = await api.ask("GET", path, user=ALICE, headers=named)
        return response.status, json.loads(body).get("message", "")

    assert (await answered(impersonate_user="bob"))[0] == 200
    assert (await answered(impersonate_user="bob", impersonate_group="x"))[0] == 200
    for headers, said in (
        ({"impersonate_user": "eve"}, 'users "eve" is forbidden: User "alice" cannot impersonate resource "users"'),
        ({"impersonate_user": "bob", "impersonate_group": "x, system:masters"},
         'groups "system:masters" is forbidden: User "alice" cannot impersonate resource "groups"'),
        ({"impersonate_user": "bob", "impersonate_uid": "7"},
         'uids.authentication.k8s.io "7" is forbidden: User "alice" cannot impersonate resource "uids"'),
        ({"impersonate_user": "bob", "impersonate_extra_scopes": "all"},
         'userextras.authentication.k8s.io "all" is forbidden: User "alice" cannot impersonate resource "userextras'),
        ({"impersonate_user": "system:serviceaccount:default:robot"},
         'serviceaccounts "robot" is forbidden: User "alice" cannot impersonate resource "serviceaccounts" in'),
    ):  # fmt: skip
        code, message = await answered(**headers)
        assert code == 403 and message.startswith(said), message


async def test_a_start_gives_back_what_was_lost_and_leaves_what_was_added(api: ApiServer) -> None:
    extra = rule("", "secrets", "get")
    viewer = await api.client.get(rbac.ClusterRole, "system:public-info-viewer")
    await api.client.update(viewer := _with(viewer, rules=[extra]))
    await api.client.patch(rbac.ClusterRoleBinding, "system:discovery", {"subjects": None})
    await api.client.delete(rbac.ClusterRole, "system:basic-user")
    frozen = {"metadata": {"annotations": {policy.AUTOUPDATE: "false"}}, "rules": None}
    await api.client.patch(rbac.ClusterRole, "system:node-proxier", frozen)
    await api.client.delete(rbac.ClusterRoleBinding, "cluster-admin")
    await api.client.create(binding("cluster-admin", "ClusterRole:view", "User:alice"))
    await reconcile.ensure(api.client)
    found = await api.client.get(rbac.ClusterRole, "system:public-info-viewer")
    assert extra in found.rules and len(found.rules) == 2
    assert [one.name for one in (await api.client.get(rbac.ClusterRoleBinding, "system:discovery")).subjects] == [
        "system:authenticated"
    ]
    assert (await api.client.get(rbac.ClusterRole, "system:basic-user")).rules
    assert (await api.client.get(rbac.ClusterRole, "system:node-proxier")).rules == []
    assert (await api.client.get(rbac.ClusterRoleBinding, "cluster-admin")).role_ref.name == "cluster-admin"
    before = api.store.revision
    await reconcile.ensure(api.client)
    assert api.store.revision == before  # nothing is left to be done


def _with(obj: Any, **changes: Any) -> Any:
    for name, value in changes.items():
        setattr(obj, name, value)
    return obj


def test_admins_may_what_editors_may_and_they_what_viewers_may() -> None:
    made = {one.metadata.name: one for one in policy.CLUSTER_ROLES}
    view = made["system:aggregate-to-view"].rules
    assert not rules.uncovered([*view, *made["system:aggregate-to-edit"].rules], view)
    for name, wanted in (("view", False), ("edit", False), ("admin", True)):
        whole = [one for each in ("view", "edit", "admin")[: ("view", "edit", "admin").index(name) + 1]
                 for one in made[f"system:aggregate-to-{each}"].rules]  # fmt: skip
        assert any(rules.matches(one, Question("create", rules.GROUP, "roles", "a")) for one in whole) is wanted
        reads = any(rules.matches(one, Question("get", "", "secrets", "a")) for one in whole)
        assert reads is (name != "view")


_SUBJECTS = ["User:alice", "Group:devs", "User:bob", "ServiceAccount:here/robot", "Group:system:authenticated"]
_bound = st.lists(
    st.tuples(*map(st.sampled_from, (["", "here", "there"], ["r1", "r2", "gone"], _SUBJECTS))),
    max_size=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.lists(_rules, max_size=2), two=st.lists(_rules, max_size=2), bound=_bound, asked=st.lists(_questions))
def test_the_index_says_what_a_naive_reading_says(
    one: list[rbac.PolicyRule],
    two: list[rbac.PolicyRule],
    bound: list[tuple[str, str, str]],
    asked: list[Question],
) -> None:
    made = {"r1": one, "r2": two}
    found = Roles.__new__(Roles)
    found._roles = {("ClusterRole", "", name): value for name, value in made.items()}
    found._bindings, found._by_subject, found._users = {}, {}, {}
    for number, (namespace, name, whom) in enumerate(bound):
        obj = binding(f"b{number}", f"ClusterRole:{name}", whom, namespace=namespace)
        found._bindings[str(number)] = obj
        for each in obj.subjects:
            found._by_subject.setdefault(_subject_key(each, namespace), {})[str(number)] = each
    for question in asked:
        wanted = any(
            rules.matches(each, question)
            for namespace, name, whom in bound
            if whom in ("User:alice", "Group:devs", "Group:system:authenticated") and name in made
            if not namespace or (namespace == question.namespace and not question.path)
            for each in made[name]
        )
        assert (found.grants(ALICE).allows(question) is not None) is wanted


async def test_a_service_account_may_run_the_service_proxy(api: ApiServer) -> None:
    """What `skerry proxy` and kube-proxy ask, with the role that they are told to be bound to; and no more."""
    proxy = auth.account("kube-system", "proxy", "1", {})
    await api.client.create(binding("proxy", "ClusterRole:system:node-proxier", "ServiceAccount:kube-system/proxy"))
    for path, query in (
        ("/api/v1/services", {"limit": "1"}),
        ("/apis/discovery.k8s.io/v1/endpointslices", {"limit": "1"}),
        ("/api/v1/nodes", {"fieldSelector": "metadata.name=node-1"}),
        ("/api/v1/nodes", {}),
    ):
        assert (await api.ask("GET", path, user=proxy, query=query))[0].status == 200, path
    ranges = ("networking.k8s.io", "servicecidrs")
    for group, kind in (("", "services"), ("discovery.k8s.io", "endpointslices"), ranges):
        assert await may(api, proxy, "watch", group, kind)
    event = core.Event(
        metadata=meta.ObjectMeta(name="e", namespace="default"),
        involved_object=core.ObjectReference(kind="Service", namespace="default", name="s"),
    )
    await as_user(api, proxy).create(event)
    assert not await may(api, proxy, "list", "", "secrets")
    assert not await may(api, proxy, "update", "", "services")
