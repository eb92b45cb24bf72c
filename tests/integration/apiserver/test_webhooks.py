"""Webhooks on a real HTTPS server on loopback, and the real API server in this process."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.helpers import server as helper
from tests.helpers import webhook
from tests.helpers.webhook import MUTATING, VALIDATING, configuration, patch, serving

from skerry.api.wire import Response, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.helpers.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}
Request = dict[str, Any]


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    found = await helper.start()
    yield found
    await found.store.close()


async def ask(api: ApiServer, method: str, path: str, body: Any = None, **more: Any) -> tuple[Response, Any]:
    response, data = await api.ask(method, path, json.dumps(body).encode() if body is not None else b"", **more)
    return response, json.loads(data)


async def configure(api: ApiServer, kind: str, name: str, *hooks: Request) -> None:
    path = MUTATING if kind == "Mutating" else VALIDATING
    response, said = await ask(api, "POST", path, configuration(kind, name, *hooks))
    assert response.status == 201, said


def config_map(name: str = "one", **more: Any) -> Request:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}}


def allow(request: Request) -> Request:
    return {"allowed": True}


def refuse(request: Request) -> Request:
    return {"allowed": False, "status": {"message": "not today", "code": 403, "reason": "Forbidden"}}


def add(key: str, value: str = "x") -> Any:
    """Adds an entry to the data, and to what is there already a letter."""

    def answer(request: Request) -> Request:
        data = dict(request["object"].get("data", {}))
        data[key] = data[key] + "+" if key in data else value
        return patch({"op": "add", "path": "/data", "value": data})

    return answer


async def test_the_life_of_an_object_is_shown(api: ApiServer) -> None:
    jane = User("jane", ("system:masters", "dev"))
    async with serving(allow) as hook:
        await configure(api, "Validating", "one", hook.hook(path="/check"))
        query = {"fieldManager": "me"}
        await ask(api, "POST", MAPS, config_map(), user=jane, query=query)
        await ask(api, "PATCH", f"{MAPS}/one", {"data": {"a": "b"}}, user=jane, headers=MERGE)
        await ask(api, "DELETE", f"{MAPS}/one", user=jane)
    created, changed, deleted = hook.asked
    assert [one["operation"] for one in hook.asked] == ["CREATE", "UPDATE", "DELETE"]
    assert created["userInfo"] == {"username": "jane", "groups": ["system:masters", "dev", "system:authenticated"]}
    assert (created["name"], created["namespace"], created["dryRun"]) == ("one", "default", False)
    assert created["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}
    assert (created["oldObject"], changed["oldObject"].get("data"), deleted["object"]) == (None, None, None)
    assert changed["object"]["data"] == deleted["oldObject"]["data"] == {"a": "b"}
    assert created["object"]["metadata"]["uid"]
    assert deleted["options"]["kind"] == "DeleteOptions"


async def test_refusals_are_told_as_the_webhook_says_them_and_nothing_is_stored(api: ApiServer) -> None:
    await ask(api, "POST", MAPS, config_map("old"))
    async with serving(lambda _: {**refuse(_), "warnings": ["mind the gap"]}) as hook:
        await configure(api, "Validating", "one", hook.hook())
        response, said = await ask(api, "POST", MAPS, config_map())
        assert (response.status, said["reason"]) == (403, "Forbidden")
        assert said["message"] == 'admission webhook "a.example.com" denied the request: not today'
        assert response.warnings == ("mind the gap",)
        for method, body in (("PATCH", {"data": {"a": "b"}}), ("DELETE", None)):
            assert (await ask(api, method, f"{MAPS}/old", body, headers=MERGE))[0].status == 403
        assert (await ask(api, "DELETE", MAPS))[0].status == 403
    _, listed = await ask(api, "GET", MAPS)
    assert [(one["metadata"]["name"], one.get("data")) for one in listed["items"]] == [("old", None)]


async def test_a_new_object_is_changed_before_it_has_a_name_and_judged_as_it_will_be_stored(api: ApiServer) -> None:
    async with serving(add("a")) as changes, serving(allow) as judges:
        await configure(api, "Mutating", "one", changes.hook())
        await configure(api, "Validating", "one", judges.hook())
        query = {"fieldManager": "me"}
        response, made = await ask(api, "POST", MAPS, config_map("", generateName="x-"), query=query)
    assert response.status == 201 and made["data"] == {"a": "x"}
    first = changes.asked[0]
    assert "name" not in first
    assert not {"name", "uid", "creationTimestamp"} & first["object"]["metadata"].keys()
    (judged,) = judges.asked
    assert judged["name"] == judged["object"]["metadata"]["name"] == made["metadata"]["name"]
    assert judged["object"]["data"] == {"a": "x"}
    owned = [entry["fieldsV1"] for entry in made["metadata"]["managedFields"]]
    assert all("f:data" not in one for one in owned)  # nobody owns what a webhook has added


async def test_they_are_asked_in_the_order_of_their_names(api: ApiServer) -> None:
    seen: list[str] = []

    def of(name: str) -> Any:
        def answer(request: Request) -> Request:
            seen.append(name)
            return add(name)(request)

        return answer

    async with serving(of("b")) as second, serving(of("a")) as first, serving(of("c")) as third:
        await configure(api, "Mutating", "2", second.hook("z.example.com"), third.hook("a.example.com"))
        await configure(api, "Mutating", "1", first.hook())
        _, made = await ask(api, "POST", MAPS, config_map())
    assert seen == ["a", "b", "c"]
    assert made["data"] == {"a": "x", "b": "x", "c": "x"}


async def test_who_wants_to_sees_once_more_what_others_changed_after_it(api: ApiServer) -> None:
    async with serving(add("a")) as first, serving(add("b")) as second:
        again = {"reinvocationPolicy": "IfNeeded"}
        await configure(api, "Mutating", "1", first.hook(**again))
        await configure(api, "Mutating", "2", second.hook(**again))
        _, made = await ask(api, "POST", MAPS, config_map())
    assert made["data"] == {"a": "x+", "b": "x"}  # the second one saw the end of the first round itself
    assert [len(one.asked) for one in (first, second)] == [2, 1]


async def test_selectors_and_rules_decide_who_is_asked(api: ApiServer) -> None:
    await ask(api, "PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": {"team": "a"}}}, headers=MERGE)
    label = {"matchLabels": {"team": "a"}}
    async with serving(allow) as here, serving(allow) as elsewhere, serving(allow) as labelled:
        await configure(
            api, "Validating", "one",
            here.hook("a.example.com", namespaceSelector=label),
            elsewhere.hook("b.example.com", namespaceSelector={"matchLabels": {"team": "b"}}),
            labelled.hook("c.example.com", objectSelector=label),
        )  # fmt: skip
        await ask(api, "POST", MAPS, config_map())
        await ask(api, "POST", MAPS, config_map("two", labels={"team": "a"}))
        await ask(api, "POST", "/api/v1/namespaces/default/secrets", {**config_map(), "kind": "Secret"})
    assert [len(one.asked) for one in (here, elsewhere, labelled)] == [2, 0, 1]


async def test_a_namespace_is_selected_by_its_own_labels(api: ApiServer) -> None:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"]}
    async with serving(allow) as hook:
        selector = {"matchLabels": {"team": "a"}}
        await configure(api, "Validating", "one", hook.hook(namespaceSelector=selector, rules=[rule]))
        for name, labels in (("x", {"team": "a"}), ("y", {})):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            await ask(api, "POST", "/api/v1/namespaces", namespace)
    assert [(one["name"], one["namespace"]) for one in hook.asked] == [("x", "x")]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("absent", "connect: connection refused"),
        ("stranger", "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        ("other name", "tls: failed to verify certificate: x509: certificate is not valid for 127.0.0.1"),
        ("500", 'an error on the server ("{'),
        ("404", "the server could not find the requested resource"),
        ("slow", "context deadline exceeded"),
        ("confused", "received invalid webhook response: expected response.uid="),
        ("no bundle", "unable to load root certificates"),
    ],
)
@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_failure_policies(api: ApiServer, fault: str, why: str, policy: str) -> None:
    async with serving(lambda _: {"uid": "x"} if fault == "confused" else {"allowed": True},
                       "localhost" if fault == "other name" else "127.0.0.1") as hook:  # fmt: skip
        said = hook.hook(failurePolicy=policy, timeoutSeconds=1)
        if fault == "absent":
            said["clientConfig"]["url"] = "https://127.0.0.1:1/x"
        elif fault == "stranger":
            said["clientConfig"]["caBundle"] = webhook.certificate("127.0.0.1").bundle
        elif fault == "no bundle":
            said["clientConfig"]["caBundle"] = "eHg="
        hook.code = int(fault) if fault.isdigit() else 200
        hook.hangs = fault == "slow"
        await configure(api, "Validating", "one", said)
        response, answer = await ask(api, "POST", MAPS, config_map())
    if policy == "Ignore":
        assert response.status == 201
        return
    assert (response.status, answer["reason"]) == (500, "InternalError")
    assert answer["message"].startswith('Internal error occurred: failed calling webhook "a.example.com": ')
    assert why in answer["message"]


async def test_configurations_are_shown_to_nobody_and_count_at_once(api: ApiServer) -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    async with serving(refuse) as hook:
        await configure(api, "Validating", "one", hook.hook(rules=[rule]))
        assert (await ask(api, "POST", MAPS, config_map()))[0].status == 403
        assert (await ask(api, "DELETE", f"{VALIDATING}/one"))[0].status == 200
        assert (await ask(api, "POST", MAPS, config_map()))[0].status == 201
        assert len(hook.asked) == 1


async def test_a_dry_run_is_said_to_be_one(api: ApiServer) -> None:
    async with serving(add("a")) as hook:
        await configure(api, "Mutating", "one", hook.hook(sideEffects="NoneOnDryRun"))
        response, made = await ask(api, "POST", MAPS, config_map(), query={"dryRun": "All"})
    assert response.status == 201 and made["data"] == {"a": "x"}
    assert hook.asked[0]["dryRun"] is True and hook.asked[0]["options"]["dryRun"] == ["All"]
    assert (await ask(api, "GET", f"{MAPS}/one"))[0].status == 404


async def test_what_a_webhook_makes_is_given_defaults_and_checked(api: ApiServer) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    container = {"name": "side", "image": "busybox", "unknown": 1}
    async with serving(lambda _: patch({"op": "add", "path": "/spec/containers/-", "value": container})) as hook:
        await configure(api, "Mutating", "one", hook.hook(rules=[rule]))
        spec = {"containers": [{"name": "web", "image": "busybox"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}
        response, made = await ask(api, "POST", "/api/v1/namespaces/default/pods", pod)
        assert response.status == 201
        assert made["spec"]["containers"][1]["imagePullPolicy"] == "Always"
        container["name"] = "BAD"
        pod["metadata"] = {"name": "two"}
        response, said = await ask(api, "POST", "/api/v1/namespaces/default/pods", pod)
        assert response.status == 422 and "spec.containers[1].name" in said["message"]
        container["name"] = 7  # type: ignore[assignment]
        response, said = await ask(api, "POST", "/api/v1/namespaces/default/pods", pod)
        assert (response.status, said["reason"]) == (500, "InternalError")


async def test_a_judge_that_is_slow_does_not_hold_up_the_others(api: ApiServer) -> None:
    """All are asked at once, and the first one by name is told."""
    gate = asyncio.Event()
    async with serving(refuse) as one, serving(refuse) as two:
        both = [one, two]

        def answer(request: Request) -> Request:
            if all(hook.asked for hook in both):
                gate.set()
            return {"allowed": False, "status": {"message": request["uid"]}}

        one.answer = two.answer = answer
        await configure(api, "Validating", "one", one.hook("b.example.com"), two.hook("a.example.com"))
        _, said = await ask(api, "POST", MAPS, config_map())
    assert gate.is_set()
    assert 'admission webhook "b.example.com" denied' in said["message"]


async def test_custom_kinds_in_the_version_that_the_rule_names(api: ApiServer) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": name, "served": True, "storage": name == "v1", "schema": schema} for name in ("v1", "v2")]
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    definition = {**kind, "metadata": {"name": "widgets.example.com"}, "spec": spec}
    await ask(api, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    rule = {"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}
    async with serving(lambda _: patch({"op": "add", "path": "/spec", "value": {"a": 1}})) as hook:
        await configure(api, "Mutating", "one", hook.hook(rules=[rule]))
        widget = {"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w"}}
        response, made = await ask(api, "POST", "/apis/example.com/v2/namespaces/default/widgets", widget)
    assert response.status == 201
    assert (made["apiVersion"], made["spec"]) == ("example.com/v2", {"a": 1})
    (asked,) = hook.asked
    assert asked["object"]["apiVersion"] == "example.com/v1"
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v1", "v2")


def rule(group: str, *kinds: str, operations: str = "*") -> Request:
    return {"operations": [operations], "apiGroups": [group], "apiVersions": ["*"], "resources": [*kinds]}


async def test_parts_of_objects_are_shown_as_what_they_are(api: ApiServer) -> None:
    """Scale, Binding, Eviction and what a connection asks for; the pod or the Deployment itself is not shown again."""
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    await ask(api, "POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    pods = "/api/v1/namespaces/default/pods"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": template["spec"]}
    await ask(api, "POST", pods, pod)
    async with serving(lambda _: {"allowed": True, "warnings": ["seen"]}) as hook:
        rules = [rule("apps", "deployments", "deployments/scale"), rule("", "pods", "pods/*")]
        await configure(api, "Validating", "one", hook.hook(rules=rules))
        scale = "/apis/apps/v1/namespaces/default/deployments/web/scale"
        response, said = await ask(api, "PATCH", scale, {"spec": {"replicas": 3}}, headers=MERGE)
        assert (said["spec"]["replicas"], response.warnings) == (3, ("seen",))
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"name": "n1"}}
        assert (await ask(api, "POST", f"{pods}/web/binding", binding))[0].warnings == ("seen",)
        await ask(api, "GET", f"{pods}/web/exec", query={"command": "true", "stdout": "true"})
        await ask(api, "GET", f"{pods}/web/proxy/a/b")
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
        assert (await ask(api, "POST", f"{pods}/web/eviction", eviction))[0].warnings == ("seen",)
    shown = [(one["operation"], one["subResource"], one["kind"]["kind"], one["name"]) for one in hook.asked]
    assert shown == [
        ("UPDATE", "scale", "Scale", "web"),
        ("CREATE", "binding", "Binding", "web"),
        ("CONNECT", "exec", "PodExecOptions", "web"),
        ("CONNECT", "proxy", "PodProxyOptions", "web"),
        ("CREATE", "eviction", "Eviction", "web"),
    ]
    scaled, bound, executed, proxied, _ = hook.asked
    assert (scaled["oldObject"]["spec"], scaled["object"]["spec"]) == ({"replicas": 1}, {"replicas": 3})
    assert scaled["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert bound["object"]["target"]["name"] == "n1"
    command = {"kind": "PodExecOptions", "apiVersion": "v1", "stdout": True, "command": ["true"]}
    assert executed["object"] == command
    assert proxied["object"]["path"] == "/a/b"


async def test_a_scale_can_be_changed_and_a_connection_only_refused(api: ApiServer) -> None:
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    await ask(api, "POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": template["spec"]}
    await ask(api, "POST", "/api/v1/namespaces/default/pods", pod)
    async with serving(lambda _: patch({"op": "replace", "path": "/spec/replicas", "value": 2})) as caps:
        await configure(api, "Mutating", "one", caps.hook(rules=[rule("apps", "deployments/scale")]))
        scale = "/apis/apps/v1/namespaces/default/deployments/web/scale"
        _, said = await ask(api, "PATCH", scale, {"spec": {"replicas": 30}}, headers=MERGE)
        assert said["spec"]["replicas"] == 2
    async with serving(refuse) as hook:
        await configure(api, "Validating", "one", hook.hook(rules=[rule("", "pods/exec", operations="CONNECT")]))
        path = "/api/v1/namespaces/default/pods/web/exec"
        response, said = await ask(api, "GET", path, query={"command": "true", "stdout": "true"})
        assert (response.status, said["message"]) == (
            403, 'admission webhook "a.example.com" denied the request: not today'
        )  # fmt: skip
