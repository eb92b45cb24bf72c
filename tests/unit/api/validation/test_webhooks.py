"""Checks of webhook configurations, with upstream's messages; their defaults."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import admissionregistration as registration

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
GOOD: dict[str, Any] = {
    "name": "a.b.c",
    "clientConfig": {"url": "https://example.com/x"},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}


def found(*webhooks: dict[str, Any]) -> list[str]:
    said = {"metadata": {"name": "x"}, "webhooks": [*webhooks]}
    out: list[list[str]] = []
    for kind in (registration.MutatingWebhookConfiguration, registration.ValidatingWebhookConfiguration):
        obj = codec.convert(kind, said)
        defaults.apply(obj)
        out.append([str(one) for one in validation.create(obj)])
        old = codec.copy(obj)
        old.metadata.resource_version = obj.metadata.resource_version = "1"
        assert [str(one) for one in validation.update(obj, old)] == out[-1]
    assert out[0] == out[1]
    return [one.removeprefix("webhooks[0].") for one in out[0]]


def test_a_good_one_is_good() -> None:
    service = {"name": "s", "namespace": "n", "path": "/a/b", "port": 8443}
    assert found(GOOD, {**GOOD, "name": "d.e.f", "clientConfig": {"service": service}}) == []
    assert found() == []


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"name": ""}, ["name: Required value"]),
        ({"name": "a.b"}, [('name: Invalid value: "a.b": should be a domain with at least three segments separated by '
                           "dots")]),
        ({"failurePolicy": "X"}, ['failurePolicy: Unsupported value: "X": supported values: "Fail", "Ignore"']),
        ({"matchPolicy": "X"}, ['matchPolicy: Unsupported value: "X": supported values: "Equivalent", "Exact"']),
        ({"sideEffects": None}, ["sideEffects: Required value: must specify one of None, NoneOnDryRun"]),
        ({"sideEffects": "Some"}, ['sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"']),
        (
            {"timeoutSeconds": 31},
            ["timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
        ),
        ({"clientConfig": {}}, ["clientConfig: Required value: exactly one of url or service is required"]),
        (
            {"clientConfig": {"url": "http://u@h/?q#f"}},
            [
                ("clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: "
                "https://host[/path]"),
                'clientConfig.url: Invalid value: "u": user information is not permitted in the URL',
                'clientConfig.url: Invalid value: "f": fragments are not permitted in the URL',
                'clientConfig.url: Invalid value: "q": query parameters are not permitted in the URL',
            ],
        ),
        (
            {"clientConfig": {"url": "https:///x"}},
            ['clientConfig.url: Invalid value: "": host must be provided; desired format: https://host[/path]'],
        ),
        (
            {"clientConfig": {"service": {"name": "", "namespace": "", "port": 70000, "path": "a//b"}}},
            [
                "clientConfig.service.name: Required value: service name is required",
                "clientConfig.service.namespace: Required value: service namespace is required",
                ("clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, "
                "inclusive"),
                "clientConfig.service.path: Invalid value: \"a//b\": must start with a '/'",
                'clientConfig.service.path: Invalid value: "a//b": segment[0] may not be empty',
                'clientConfig.service.path: Invalid value: "a//b": segment[1] may not be empty',
            ],
        ),
        (
            {"matchConditions": [{"name": "x", "expression": "true"}]},
            [
                ("matchConditions: Forbidden: match conditions are written in CEL, which Skerry does not evaluate: "
                "select by rules and selectors instead")
            ],
        ),
        ({"admissionReviewVersions": []}, ["admissionReviewVersions: Required value: must specify one of v1, v1beta1"]),
        (
            {"admissionReviewVersions": ["v3", "v3"]},
            [
                'admissionReviewVersions[1]: Invalid value: "v3": duplicate version',
                'admissionReviewVersions: Invalid value: ["v3","v3"]: must include at least one of v1, v1beta1',
            ],
        ),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "X"}]}},
            ['namespaceSelector.matchExpressions[0].operator: Invalid value: "X": not a valid selector operator'],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_webhook(change: dict[str, Any], errors: list[str]) -> None:
    assert found({**GOOD, **change}) == errors


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"operations": []}, ["operations: Required value"]),
        (
            {"operations": ["GET"]},
            ['operations[0]: Unsupported value: "GET": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"'],
        ),
        (
            {"operations": ["*", "CREATE"]},
            ['operations: Invalid value: ["*","CREATE"]: if \'*\' is present, must not specify other operations'],
        ),
        (
            {"apiGroups": ["*", "apps"]},
            ['apiGroups: Invalid value: ["*","apps"]: if \'*\' is present, must not specify other API groups'],
        ),
        ({"apiVersions": [""]}, ["apiVersions[0]: Required value"]),
        ({"resources": []}, ["resources: Required value"]),
        (
            {"resources": ["*", "pods"]},
            [
                (
                    'resources: Invalid value: ["*","pods"]: if \'*\' is present, must not specify other resources '
                    "without subresources"
                )
            ],
        ),
        (
            {"resources": ["*/*", "pods/log"]},
            ['resources: Invalid value: ["*/*","pods/log"]: if \'*/*\' is present, must not specify other resources'],
        ),
        (
            {"resources": ["pods/*", "pods/log"]},
            ["resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log"],
        ),
        (
            {"resources": ["*/scale", "pods/scale"]},
            ["resources[1]: Invalid value: \"pods/scale\": if '*/scale' is present, must not specify pods/scale"],
        ),
        ({"scope": "X"}, ['scope: Unsupported value: "X": supported values: "*", "Cluster", "Namespaced"']),
    ],
)
def test_what_is_wrong_with_a_rule(change: dict[str, Any], errors: list[str]) -> None:
    assert [one.removeprefix("rules[0].") for one in found({**GOOD, "rules": [{**RULE, **change}]})] == errors


def test_names_are_there_once() -> None:
    assert found(GOOD, GOOD) == ['webhooks[1].name: Duplicate value: "a.b.c"']


def test_reinvocation() -> None:
    obj = codec.convert(
        registration.MutatingWebhookConfiguration,
        {"metadata": {"name": "x"}, "webhooks": [{**GOOD, "reinvocationPolicy": "Often"}]},
    )
    defaults.apply(obj)
    (error,) = validation.create(obj)
    said = 'webhooks[0].reinvocationPolicy: Unsupported value: "Often": supported values: "IfNeeded", "Never"'
    assert str(error) == said


def test_defaults() -> None:
    config = {"service": {"name": "s", "namespace": "n"}}
    obj = codec.convert(registration.MutatingWebhookConfiguration, {"webhooks": [{**GOOD, "clientConfig": config}]})
    defaults.apply(obj)
    said = codec.plain(obj)["webhooks"][0]
    assert said["clientConfig"]["service"]["port"] == 443
    assert said["rules"][0]["scope"] == "*"
    assert {key: said[key] for key in said if key not in (*GOOD, "clientConfig", "rules")} == {
        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        "timeoutSeconds": 10, "reinvocationPolicy": "Never",
    }  # fmt: skip
