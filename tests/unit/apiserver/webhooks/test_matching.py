"""Which webhooks an operation is shown to, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, resources
from skerry.api.types import admissionregistration as registration
from skerry.api.types import apps, core
from skerry.api.wire import User
from skerry.apiserver.routes import Target
from skerry.apiserver.webhooks.matching import CREATE, UPDATE, Hook, Operation, exempt

USER = User("jane", ("dev",))
POD = Target(resources.of(core.Pod), "default", "web")
STATUS = Target(resources.of(core.Pod), "default", "web", "status")
NODE = Target(resources.of(core.Node), "", "n1")
NAMESPACE = Target(resources.of(core.Namespace), "", "team")
DEPLOYMENT = Target(resources.of(apps.Deployment), "default", "web")


def made(**more: Any) -> Hook:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], **more.pop("rule", {})}
    said = {"name": "a.b.c", "rules": [rule], "admissionReviewVersions": ["v2", "v1beta1", "v1"], **more}
    config = codec.convert(registration.MutatingWebhookConfiguration, {"webhooks": [said]})
    defaults.apply(config)
    return Hook.of("config", config.webhooks[0])


@pytest.mark.parametrize(
    ("rule", "target", "matches"),
    [
        ({}, POD, True),
        ({"operations": ["UPDATE", "CREATE"]}, POD, True),
        ({"operations": ["UPDATE", "DELETE"]}, POD, False),
        ({"apiGroups": [""]}, POD, True),
        ({"apiGroups": ["apps"]}, POD, False),
        ({"apiGroups": ["batch", "apps"]}, DEPLOYMENT, True),
        ({"apiVersions": ["v1"]}, DEPLOYMENT, True),
        ({"apiVersions": ["v1beta1"]}, DEPLOYMENT, False),
        ({"resources": ["pods"]}, POD, True),
        ({"resources": ["pods"]}, STATUS, False),
        ({"resources": ["pods/status"]}, POD, False),
        ({"resources": ["pods/status"]}, STATUS, True),
        ({"resources": ["pods/*"]}, POD, True),
        ({"resources": ["pods/*"]}, STATUS, True),
        ({"resources": ["*"]}, STATUS, False),
        ({"resources": ["*/status"]}, STATUS, True),
        ({"resources": ["*/*"]}, STATUS, True),
        ({"resources": ["services", "nodes"]}, NODE, True),
        ({"scope": "Namespaced"}, POD, True),
        ({"scope": "Cluster"}, POD, False),
        ({"scope": "Namespaced"}, NODE, False),
        ({"scope": "Cluster"}, NODE, True),
        ({"scope": "Namespaced"}, NAMESPACE, False),
        ({"scope": "Cluster"}, NAMESPACE, True),
    ],
)
def test_rules(rule: dict[str, Any], target: Target, matches: bool) -> None:
    assert (made(rule=rule).version(CREATE, target) is not None) == matches


def test_another_version_of_the_same_is_the_same_unless_exact_ones_are_wanted() -> None:
    operation = UPDATE, DEPLOYMENT, ("v1beta1",)
    assert made(rule={"apiVersions": ["v1beta1"]}).version(*operation) == "v1beta1"
    assert made(rule={"apiVersions": ["v1beta1"]}, matchPolicy="Exact").version(*operation) is None
    assert made().version(*operation) == "v1"


@pytest.mark.parametrize(
    ("selector", "new", "old", "selected"),
    [
        ({}, None, None, True),
        ({"matchLabels": {"a": "b"}}, {"a": "b"}, None, True),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, None, False),
        ({"matchLabels": {"a": "b"}}, {"a": "c"}, {"a": "b"}, True),  # so that taking a label away does not hide it
        ({"matchLabels": {"a": "b"}}, None, {"a": "b"}, True),
        ({"matchLabels": {"a": "b"}}, None, None, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, None, True),
    ],
)
def test_objects_are_selected_by_what_they_are_or_were(
    selector: dict[str, Any], new: dict[str, str] | None, old: dict[str, str] | None, selected: bool
) -> None:
    objects = [{"metadata": {"labels": one} if one else {}} if one is not None else None for one in (new, old)]
    assert made(objectSelector=selector).selects(*objects) == selected


def test_the_first_review_version_that_is_known_is_sent() -> None:
    assert made().review == "v1beta1"


def test_a_namespace_is_in_itself() -> None:
    assert Operation(CREATE, NAMESPACE, USER).namespace == "team"
    assert Operation(CREATE, NODE, USER).namespace == ""


def test_configurations_and_our_own_bookkeeping_are_shown_to_nobody() -> None:
    assert exempt("admissionregistration.k8s.io") and exempt("skerry.dev")
    assert not exempt("") and not exempt("apiextensions.k8s.io")


def test_options_say_what_the_client_said() -> None:
    operation = Operation(CREATE, POD, USER, dry=True, options={"fieldManager": "kubectl"})
    assert operation.said() == {
        "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"], "fieldManager": "kubectl"
    }  # fmt: skip
    assert Operation("CONNECT", POD, USER).said() is None
