"""Pods of one template are read, tracked and checked with what is known of the first: nobody may see a difference."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.helpers import server
from tests.helpers.server import ApiServer

from skerry.api import codec
from skerry.api.types import core, meta
from skerry.apiserver import templates
from skerry.apiserver.app import in_process
from skerry.client.client import Client
from skerry.clock import FakeClock

PODS = "/api/v1/namespaces/default/pods"
SPEC = {
    "containers": [
        {
            "name": "web", "image": "nginx", "ports": [{"name": "http", "containerPort": 80}],
            "env": [{"name": "A", "value": "a:b"}], "resources": {"limits": {"cpu": "1000m"}},
        }
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
}  # fmt: skip
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u", "controller": True}
META = {"name": "NAME", "labels": {"app": "web"}, "annotations": {"a": "b:c"}, "ownerReferences": [OWNER]}
GOOD = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": META, "spec": SPEC})
SPOILT = {
    "as the first": GOOD,
    "other metadata": GOOD.replace('"app": "web"', '"app": "other"'),
    "as Go's clients say it": GOOD.replace('"labels"', '"creationTimestamp":null,"labels"'),
    "the same twice": GOOD.replace('"labels"', '"creationTimestamp":null,"creationTimestamp":null,"labels"'),
    "the same for an owner": GOOD.replace('"controller"', '"creationTimestamp":null,"controller"'),
    "the same for a label": GOOD.replace('"app"', '"creationTimestamp":null,"app"'),
    "a null": GOOD.replace('"labels"', '"generateName":null,"labels"'),
    "no metadata": GOOD.replace(json.dumps(META), "{}"),
    "null for metadata": GOOD.replace(json.dumps(META), "null"),
    "a list for metadata": GOOD.replace(json.dumps(META), "[]"),
    "a field of metadata that nobody knows": GOOD.replace('"ownerReferences"', '"owners"'),
    "a field of metadata of another type": GOOD.replace('{"app": "web"}', '"app"'),
    "a label of another type": GOOD.replace('"app": "web"', '"app": 1'),
    "null for a label": GOOD.replace('"app": "web"', '"app": null'),
    "null for labels": GOOD.replace('{"app": "web"}', "null"),
    "a broken word": GOOD.replace('"app": "web"', '"app": "\\udc00"'),
    "an owner that lacks something": GOOD.replace('"uid": "u", ', ""),
    "an owner of another type": GOOD.replace('"uid": "u"', '"uid": 1'),
    "an owner with something unknown": GOOD.replace('"uid": "u"', '"uid": "u", "uuid": "u"'),
    "an owner with something misspelt": GOOD.replace('"uid": "u"', '"uuid": "u"'),
    "an owner with nothing": GOOD.replace('"uid": "u"', '"uid": ""'),
    "an owner with a null": GOOD.replace("true", "null"),
    "no owner": GOOD.replace(json.dumps([OWNER]), "[]"),
    "a time": GOOD.replace('"labels"', '"creationTimestamp": "2020-01-01T00:00:00+01:00", "labels"'),
    "a time that is none": GOOD.replace('"labels"', '"creationTimestamp": "yesterday", "labels"'),
    "a number that is large": GOOD.replace('"labels"', '"generation": 99999999999999999999, "labels"'),
    "a number that is no whole one": GOOD.replace('"labels"', '"generation": 1.0, "labels"'),
    "a grace period": GOOD.replace('"labels"', '"deletionGracePeriodSeconds": 1e99, "labels"'),
    "managed fields": GOOD.replace('"labels"', '"managedFields": [{"manager": "x"}], "labels"'),
    "a label that is none": GOOD.replace('"app": "web"', '"app": "w e b"'),
    "metadata with a name twice": GOOD.replace('"labels"', '"name": "NAME", "labels"'),
    "metadata twice": GOOD.replace('"metadata"', '"metadata": {"name": "x"}, "metadata"'),
    "metadata twice, once in disguise": GOOD.replace('"metadata"', '"metadat\\u0061": {"name": "x"}, "metadata"'),
    "a part twice": GOOD.replace('"spec"', '"spec": {}, "spec"'),
    "a kind twice": GOOD.replace('"kind"', '"kind": "Pod", "kind"'),
    "another kind": GOOD.replace('"Pod"', '"Service"'),
    "no kind": GOOD.replace('"kind": "Pod", ', ""),
    "a part that nobody knows": GOOD.replace('"spec"', '"specs": {}, "spec"'),
    "a field that nobody knows": GOOD.replace('"image"', '"imagee": "x", "image"'),
    "an image that is none": GOOD.replace('"nginx"', '" nginx"'),
    "cut off": GOOD[:-1],
    "followed by something": GOOD + "x",
    "nested without end": GOOD.replace('{"app": "web"}', "[" * 2000 + "]" * 2000),
}


async def answer(api: ApiServer, name: str, text: str, **query: str) -> tuple[int, Any, tuple[str, ...]]:
    """What becomes of a body: code, object without what is new in each, warnings."""
    body = text.replace("NAME", name).encode()
    response, said = await api.ask("POST", PODS, body, query=query, headers={"user-agent": "me/1"})
    found = json.loads(said.decode().replace(name, "NAME"))
    for one in ("uid", "resourceVersion"):
        found["metadata"].pop(one, None)
    return response.status, found, response.warnings


@pytest.mark.parametrize("mode", ["", "Ignore", "Warn", "Strict", "Nonsense"])
@pytest.mark.parametrize("what", SPOILT)
async def test_a_body_gets_the_same_answer_whether_or_not_its_template_is_known(what: str, mode: str) -> None:
    api = await server.start(FakeClock())
    query = {"fieldValidation": mode} if mode else {}
    templates.known.clear()
    first = await answer(api, "pod-1", SPOILT[what], **query)
    assert (await answer(api, "pod-2", GOOD))[0] == 201
    second = await answer(api, "pod-3", SPOILT[what], **query)
    assert second == first


async def test_what_was_left_out_of_a_body_is_told_to_the_next_one() -> None:
    api = await server.start(FakeClock())
    strange = SPOILT["a field that nobody knows"]
    ignored = await answer(api, "pod-1", strange, fieldValidation="Ignore")
    assert ignored == (201, (await answer(api, "pod-2", GOOD))[1], ())
    code, _, warnings = await answer(api, "pod-3", strange)
    assert (code, warnings) == (201, ('unknown field "spec.containers[0].imagee"',))
    code, said, _ = await answer(api, "pod-4", strange, fieldValidation="Strict")
    assert code == 400 and "strict decoding error" in said["message"]


async def test_pods_of_a_template_get_each_thing_once() -> None:
    api = await server.start(FakeClock(), accounts=True)
    await api.client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name="default", namespace="default")))
    templates.known.clear()
    found = [(await answer(api, f"pod-{n}", GOOD))[1]["spec"] for n in range(3)]
    for spec in found:
        assert len(spec["volumes"]) == 2 and len(spec["tolerations"]) == 2
        assert spec["containers"][0]["volumeMounts"][0]["name"] == spec["volumes"][1]["name"]
    assert len(templates.known) == 1


async def test_what_the_server_adds_is_not_its_creators() -> None:
    """As upstream: whoever creates a pod owns what it said and the defaults of that, not what admission added."""
    api = await server.start(FakeClock(), accounts=True)
    await api.client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name="default", namespace="default")))
    for name in ("pod-1", "pod-2"):
        made = (await answer(api, name, GOOD))[1]
        (entry,) = made["metadata"]["managedFields"]
        assert entry["manager"] == "me" and made["spec"]["priority"] == 0
        spec = entry["fieldsV1"]["f:spec"]
        assert set(spec) == {
            "f:containers", "f:volumes", "f:dnsPolicy", "f:enableServiceLinks", "f:restartPolicy", "f:schedulerName",
            "f:securityContext", "f:terminationGracePeriodSeconds",
        }  # fmt: skip
        assert set(spec["f:volumes"]) == {".", 'k:{"name":"v"}'}
        assert "f:volumeMounts" not in spec["f:containers"]['k:{"name":"web"}']


async def test_pods_of_our_own_controllers_have_templates_too() -> None:
    api = await server.start(FakeClock())
    templates.known.clear()
    for shared in (False, True):
        client = Client(in_process(api.app, server.ADMIN), shared=shared)
        for n in range(2):
            made = core.Pod(metadata=meta.ObjectMeta(name=f"pod-{n}-{shared}".lower(), namespace="default"))
            made.spec = core.PodSpec(containers=[core.Container(name="web", image="nginx")])
            assert (await client.create(made)).spec.containers[0].image_pull_policy == "Always"
    assert len(templates.known) == 1


async def test_pods_of_a_template_are_one_in_memory_until_one_is_changed() -> None:
    api = await server.start()
    ours, theirs = Client(in_process(api.app, server.ADMIN), shared=True), api.client

    def pod(n: int) -> core.Pod:
        spec = core.PodSpec(containers=[core.Container(name="web", image="nginx")])
        return core.Pod(metadata=meta.ObjectMeta(name=f"pod-{n}", namespace="default"), spec=spec)

    one, two, three = [await ours.create(pod(n)) for n in range(3)]
    assert one.spec is two.spec is three.spec and one.status is two.status
    read = await theirs.get(core.Pod, "pod-1", "default")
    read.spec.containers[0].image = "other"
    read.status.phase = "Running"
    await theirs.update(read)
    read = await theirs.get(core.Pod, "pod-1", "default")
    read.status.phase = "Running"
    await theirs.update(read, subresource="status")
    found = [await theirs.get(core.Pod, f"pod-{n}", "default") for n in range(3)]
    assert [each.spec.containers[0].image for each in found] == ["nginx", "other", "nginx"]
    assert [each.status.phase for each in found] == ["Pending", "Running", "Pending"]
    assert (await ours.create(pod(3))).spec is one.spec and one.spec.containers[0].image == "nginx"


def test_only_so_much_is_kept_of_what_came_last() -> None:
    templates.known.clear()
    for n in range(1000):
        templates.learn(("spec", b"%d" % n), core.Pod())
        assert templates.find(("spec", b"0"), b":" * 2, b"") is not None
    assert len(templates.known) == 256
    assert templates.find(("spec", b"999"), b":" * 2, b"") is not None
    assert templates.find(("spec", b"700"), b":" * 2, b"") is None


ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
RANGES = "/api/v1/namespaces/default/limitranges"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
RANGE = {
    "kind": "LimitRange", "apiVersion": "v1", "metadata": {"name": "r"},
    "spec": {"limits": [{"type": "Container", "default": {"memory": "64Mi"}}]},
}  # fmt: skip
NARROW = {**RANGE, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1m"}}]}}
CLASS = {
    "kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": "usual"},
    "value": 7, "globalDefault": True,
}  # fmt: skip
CHANGES: dict[str, tuple[str, str, Any]] = {
    "a default amount": ("POST", RANGES, RANGE),
    "a limit that is too low": ("POST", RANGES, NARROW),
    "a default class": ("POST", CLASSES, CLASS),
    "an account that gives no token": ("PATCH", f"{ACCOUNTS}/mine", {"automountServiceAccountToken": False}),
    "an account with secrets": ("PATCH", f"{ACCOUNTS}/mine", {"imagePullSecrets": [{"name": "s"}]}),
    "no account": ("DELETE", f"{ACCOUNTS}/mine", None),
}


async def put(api: ApiServer, method: str, path: str, body: Any) -> None:
    headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
    response, said = await api.ask(method, path, json.dumps(body).encode() if body else b"", headers=headers)
    assert response.status < 300, said


async def with_account() -> ApiServer:
    api = await server.start(FakeClock(), accounts=True)
    for namespace in ("default", "other"):
        if namespace == "other":
            await api.client.create(core.Namespace(metadata=meta.ObjectMeta(name=namespace)))
        for name in ("default", "mine"):
            await api.client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name=name, namespace=namespace)))
    templates.known.clear()
    return api


def without_names(found: tuple[int, Any, tuple[str, ...]]) -> str:
    return re.sub("kube-api-access-[a-z0-9]{5}", "kube-api-access-*", json.dumps(found))


def complete(text: str) -> bool:
    """Whether what is stored of this content is known."""
    assert templates.PODS is not None
    found = templates.cut(templates.PODS, text.encode())
    known = templates.known.get(found[0]) if found is not None else None
    return known is not None and known.complete is not None


@pytest.mark.parametrize("what", CHANGES)
async def test_what_the_server_gives_follows_what_decides_it(what: str) -> None:
    named = GOOD.replace('"containers"', '"serviceAccountName": "mine", "containers"')
    api = await with_account()
    before = [without_names(await answer(api, f"pod-{n}", named)) for n in range(3)]
    assert complete(named) and len(set(before)) == 1
    await put(api, *CHANGES[what])
    after = [without_names(await answer(api, f"pod-{n}", named)) for n in range(3, 6)]
    templates.known.clear()
    assert set(after) == {without_names(await answer(api, "pod-6", named))} != set(before)


async def test_what_a_limit_range_writes_into_metadata_is_of_each_pod_alone() -> None:
    api = await with_account()
    await put(api, "POST", RANGES, RANGE)
    said = "LimitRanger plugin set: memory request for container web; memory limit for container web"
    for n, mine in enumerate([said, "mine", "", said, ""]):
        noted = f'"annotations": {{"kubernetes.io/limit-ranger": "{mine}"}}' if mine else '"annotations": {}'
        made = (await answer(api, f"pod-{n}", GOOD.replace('"annotations": {"a": "b:c"}', noted)))[1]
        assert made["metadata"]["annotations"] == {"kubernetes.io/limit-ranger": said}


async def test_each_namespace_gives_its_own() -> None:
    api = await with_account()
    await put(api, "POST", RANGES, RANGE)
    for n in range(4):
        for namespace, limits in (("default", {"cpu": "1", "memory": "64Mi"}), ("other", {"cpu": "1"})):
            body = GOOD.replace("NAME", f"pod-{n}").encode()
            _, said = await api.ask("POST", f"/api/v1/namespaces/{namespace}/pods", body)
            assert json.loads(said)["spec"]["containers"][0]["resources"]["limits"] == limits


async def test_another_server_gives_its_own() -> None:
    one, other = await with_account(), await server.start(FakeClock())
    for n in range(3):
        assert "kube-api-access" in without_names(await answer(one, f"pod-{n}", GOOD))
        assert "kube-api-access" not in without_names(await answer(other, f"pod-{n}", GOOD))


async def test_nothing_is_taken_for_granted_where_a_webhook_may_look() -> None:
    api = await with_account()
    hook = {
        "name": "a.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}],
    }  # fmt: skip
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    await put(api, "POST", path, {**kind, "metadata": {"name": "w"}, "webhooks": [hook]})
    assert (await answer(api, "pod-1", GOOD))[0] == 201 and not complete(GOOD)
    await put(api, "DELETE", f"{path}/w", None)
    assert (await answer(api, "pod-2", GOOD))[0] == 201 and complete(GOOD)


async def test_who_owns_what_is_known_though_one_of_ours_came_first() -> None:
    api = await with_account()
    ours = Client(in_process(api.app, server.ADMIN), shared=True)
    body = json.loads(GOOD)
    spec = json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "NAME"}, "spec": body["spec"]})
    for n in range(2):
        made = codec.decode(core.Pod, spec.replace("NAME", f"ours-{n}").encode())
        made.metadata.namespace = "default"
        assert not (await ours.create(made)).metadata.managed_fields
    sent = codec.encode(made).decode().replace("ours-1", "NAME")
    assert complete(sent)
    first = await answer(api, "theirs-1", sent)
    templates.known.clear()
    assert without_names(first) == without_names(await answer(api, "theirs-2", sent))


async def test_a_volume_that_somebody_named_as_the_servers_keeps_its_name() -> None:
    api = await with_account()
    mine = GOOD.replace('"name": "v"', '"name": "kube-api-access-zzzzz"')
    for n in range(3):
        said = (await answer(api, f"pod-{n}", mine))[1]
        assert [one["name"] for one in said["spec"]["volumes"]] == ["kube-api-access-zzzzz"]


async def test_what_is_refused_is_not_kept() -> None:
    api = await with_account()
    for n in range(3):
        assert (await answer(api, f"pod-{n}", SPOILT["an image that is none"]))[0] == 422
    assert not complete(SPOILT["an image that is none"])
