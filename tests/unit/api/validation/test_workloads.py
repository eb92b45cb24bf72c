"""Checks of Deployment and ReplicaSet: A1."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import apps

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
SELECTOR = {"matchLabels": {"app": "web"}}


def make(kind: Any = apps.Deployment, **spec: Any) -> Any:
    value = {"metadata": {"name": "web", "namespace": "default"},
             "spec": {"selector": SELECTOR, "template": TEMPLATE, **spec}}  # fmt: skip
    obj = codec.convert(kind, value)
    defaults.apply(obj)
    return obj


def rolling(**values: Any) -> dict[str, Any]:
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": values}}


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


MISMATCH = 'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
AT = "spec.strategy.rollingUpdate"


@pytest.mark.parametrize("kind", [apps.Deployment, apps.ReplicaSet])
@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, []),
        ({"replicas": 0, "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}}, []),
        ({"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        ({"selector": None}, ["spec.selector: Required value", MISMATCH]),
        ({"selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        ({"selector": {"matchLabels": {"app": "other"}}}, [MISMATCH]),
        ({"selector": {"matchExpressions": [{"key": "app", "operator": "Has"}]}},
         ['spec.selector.matchExpressions[0].operator: Invalid value: "Has": not a valid selector operator',
          ('spec.selector: Invalid value: '
          '{"matchExpressions":[{"key":"app","operator":"Has"}]}: invalid label selector')]),
        ({"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},  # type: ignore[dict-item]
         ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
        ({"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "activeDeadlineSeconds": 1}}},  # type: ignore[dict-item]
         ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"]),
        ({"template": {**TEMPLATE, "spec": {}}}, ["spec.template.spec.containers: Required value"]),
    ],
)  # fmt: skip
def test_both(kind: Any, spec: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.create(make(kind, **spec))) == wanted


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (rolling(maxSurge=0, maxUnavailable=1), []),
        (rolling(maxSurge="100%", maxUnavailable="100%"), []),
        ({"strategy": {"type": "Recreate"}}, []),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}},
         [f"{AT}: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
        ({"strategy": {"type": "BlueGreen"}},
         ['spec.strategy: Unsupported value: {"type":"BlueGreen"}: supported values: "Recreate", "RollingUpdate"']),
        (rolling(maxSurge="0%", maxUnavailable=0),
         [f"{AT}.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]),
        (rolling(maxUnavailable="101%"),
         [f'{AT}.maxUnavailable: Invalid value: "101%": must not be greater than 100%']),
        (rolling(maxSurge=-1), [f"{AT}.maxSurge: Invalid value: -1: must be greater than or equal to 0"]),
        (rolling(maxSurge="1"),
         [f'{AT}.maxSurge: Invalid value: "1": a valid percent string must be a numeric string']),
        ({"minReadySeconds": 600},
         ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"]),
        ({"revisionHistoryLimit": -1},
         ["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"]),
    ],
)  # fmt: skip
def test_a1_deployment(spec: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(make(**spec)))
    assert len(found) == len(wanted), found
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start)


@pytest.mark.parametrize("kind", [apps.Deployment, apps.ReplicaSet])
def test_a1_selector_is_immutable(kind: Any) -> None:
    labels = {"app": "web", "tier": "x"}
    changed = {"selector": {"matchLabels": labels}, "template": {**TEMPLATE, "metadata": {"labels": labels}}}
    assert texts(validation.update(make(kind, **changed), make(kind))) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable'
    ]
    assert validation.update(make(kind, replicas=5), make(kind)) == []


def test_status() -> None:
    old, new = make(), make()
    new.status.replicas, new.status.ready_replicas, new.status.available_replicas = 1, 2, 3
    assert texts(validation.update(new, old, "status")) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
    ]
