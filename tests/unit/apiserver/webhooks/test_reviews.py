"""What a webhook is sent, what its answers mean, and the words of what goes wrong, as tables."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.unit.apiserver.webhooks.test_matching import POD, STATUS, made

from skerry.api import status
from skerry.api.wire import User
from skerry.apiserver.webhooks import reviews
from skerry.apiserver.webhooks.calling import Place
from skerry.apiserver.webhooks.matching import UPDATE, Operation
from skerry.apiserver.webhooks.reviews import CallError

HOOK = made(admissionReviewVersions=["v1"])
PATCH = base64.b64encode(b'[{"op":"add","path":"/data","value":{"a":"b"}}]').decode()


def review(**response: Any) -> bytes:
    said = {"uid": "u", "allowed": True, **response}
    return json.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": said}).encode()


def test_a_request_says_who_does_what_to_what() -> None:
    user = User("jane", ("dev",), "u-1", {"scopes": ("a", "b")})
    old = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web"}}
    operation = Operation(UPDATE, STATUS, user, dry=True, options={"fieldManager": "me"})
    sent = json.loads(reviews.request(HOOK, operation, "v1", "u", None, old))
    assert sent == {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": "status",
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "requestSubResource": "status",
            "name": "web",
            "namespace": "default",
            "operation": "UPDATE",
            "userInfo": {"username": "jane", "uid": "u-1", "groups": ["dev"], "extra": {"scopes": ["a", "b"]}},
            "object": None,
            "oldObject": old,
            "dryRun": True,
            "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"],
                        "fieldManager": "me"},
        },
    }  # fmt: skip


def test_it_is_sent_in_the_version_that_the_rules_name() -> None:
    new = {"kind": "Pod", "apiVersion": "example.com/v1", "metadata": {}}
    sent = json.loads(reviews.request(HOOK, Operation(UPDATE, POD, User("u")), "v2", "u", new, None))["request"]
    assert sent["object"]["apiVersion"] == "example.com/v2"
    assert (sent["kind"]["version"], sent["requestKind"]["version"]) == ("v2", "v1")
    assert (sent["resource"]["version"], sent["requestResource"]["version"]) == ("v2", "v1")


def test_an_answer() -> None:
    told = reviews.verdict(HOOK, "u", review(warnings=["w", 3], status={"code": 409}, allowed=False), mutating=True)
    assert told == reviews.Verdict(False, None, {"code": 409}, ("w",))
    changed = reviews.verdict(HOOK, "u", review(patch=PATCH, patchType="JSONPatch"), mutating=True)
    assert changed.patch == [{"op": "add", "path": "/data", "value": {"a": "b"}}]


@pytest.mark.parametrize(
    ("body", "mutating", "text"),
    [
        (b"<html>", True, "failed to call webhook: the answer is no JSON"),
        (b"[]", True, "received invalid webhook response: webhook response was absent"),
        (b'{"response": null}', True, "webhook response was absent"),
        (review(uid="v"), True, 'expected response.uid="u", got "v"'),
        (
            review().replace(b"admission.k8s.io/v1", b"admission.k8s.io/v9"), True,
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v9, Kind=",
        ),
        (review(patch=PATCH), True, "webhook returned response.patch but not response.patchType"),
        (review(patchType="JSONPatch"), True, "webhook returned response.patchType but not response.patch"),
        (review(patch=PATCH, patchType=""), True, 'webhook returned invalid response.patchType of ""'),
        (review(patch=PATCH, patchType="Merge"), True, 'unsupported patch type "Merge"'),
        (review(patch="?", patchType="JSONPatch"), True, "received undecodable patch in webhook response"),
        (review(patch=7, patchType="JSONPatch"), True, "received undecodable patch in webhook response"),
        (review(patch=PATCH, patchType="JSONPatch"), False, "validating webhook may not return response.patch"),
        (review(patchType="JSONPatch"), False, "validating webhook may not return response.patchType"),
    ],
)  # fmt: skip
def test_what_is_no_answer(body: bytes, mutating: bool, text: str) -> None:
    with pytest.raises(CallError) as error:
        reviews.verdict(HOOK, "u", body, mutating=mutating)
    assert text in str(error.value)


def test_the_older_review_need_not_repeat_what_it_was_asked() -> None:
    old = made(admissionReviewVersions=["v1beta1"])
    found = reviews.verdict(
        old, "u", json.dumps({"response": {"allowed": True, "patch": PATCH}}).encode(), mutating=True
    )
    assert found.allowed and found.patch


@pytest.mark.parametrize(
    ("said", "code", "reason", "message"),
    [
        ({}, 400, "", 'admission webhook "a.b.c" denied the request without explanation'),
        ({"message": "no"}, 400, "", 'admission webhook "a.b.c" denied the request: no'),
        ({"reason": "Because"}, 400, "Because", 'admission webhook "a.b.c" denied the request: Because'),
        ({"message": "no", "reason": "Forbidden", "code": 403}, 403, "Forbidden", "denied the request: no"),
        ({"message": "no", "code": 200}, 400, "", "denied the request: no"),
        ({"message": "no", "code": "x"}, 400, "", "denied the request: no"),
    ],
)
def test_refusals(said: dict[str, Any], code: int, reason: str, message: str) -> None:
    error = reviews.refusal(HOOK, said)
    assert (error.code, error.reason) == (code, reason)
    assert error.message.endswith(message)


def test_a_call_that_failed_is_an_internal_error() -> None:
    error = reviews.failed(HOOK, CallError("failed to call webhook: why"))
    assert error.code == 500 and error.reason == "InternalError"
    assert error.message == 'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: why'


def test_a_patch_that_does_not_apply_is_an_internal_error() -> None:
    assert reviews.patched(HOOK, {"a": 1}, [{"op": "replace", "path": "/a", "value": 2}]) == {"a": 2}
    for obj, operations, text in (
        ({"a": 1}, [{"op": "remove", "path": "/b"}], "Internal error occurred: "),
        ({"a": 1}, {"op": "remove"}, "Internal error occurred: "),
        ({"a": 1}, [{"op": "replace", "path": "", "value": [3]}], "left no object"),
        (None, [{"op": "add", "path": "/a", "value": 2}], "which is not supported for this operation"),
    ):
        with pytest.raises(status.ApiError) as error:
            reviews.patched(HOOK, obj, operations)
        assert error.value.code == 500 and text in error.value.message


@pytest.mark.parametrize(
    ("config", "authority", "path"),
    [
        ({"service": {"name": "s", "namespace": "n"}}, "s.n.svc:443", "/"),
        ({"service": {"name": "s", "namespace": "n", "path": "/a/b", "port": 8443}}, "s.n.svc:8443", "/a/b"),
        ({"url": "https://example.com"}, "example.com", "/"),
        ({"url": "https://[::1]:8443/x"}, "[::1]:8443", "/x"),
    ],
)
def test_where_a_webhook_is(config: dict[str, Any], authority: str, path: str) -> None:
    place = Place.of(made(clientConfig=config).webhook.client_config)
    assert (place.authority, place.path) == (authority, path)
