"""Kinds that are stored and not acted on, limits and volumes: what is wrong is said in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import autoscalingv2, core, node

NEGATIVE = "must be greater than or equal to 0"
STANDS_ALONE = "name is neither a standard finalizer name nor is it fully qualified"
TARGET = {"type": "Utilization", "averageUtilization": 50}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": TARGET}}
REQUESTS = {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}
TYPES = '"ContainerResource", "External", "Object", "Pods", "Resource"'


def wrong(kind: Any, *, namespace: str = "default", finalizers: tuple[str, ...] = (), **fields: Any) -> list[str]:
    metadata = {"name": "a", "namespace": namespace, "finalizers": list(finalizers)}
    obj = codec.convert(kind, {"metadata": metadata, **fields})
    defaults.apply(obj)
    return [str(one) for one in validation.create(obj)]


def scaler(*metrics: Any, **more: Any) -> list[str]:
    ref = {"kind": "Deployment", "name": "web"}
    spec = {"maxReplicas": 3, "scaleTargetRef": ref, "metrics": list(metrics), **more}
    return wrong(autoscalingv2.HorizontalPodAutoscaler, spec=spec)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (CPU, []),
        ({"type": "Pods", "pods": REQUESTS}, []),
        ({"type": "Foo", "pods": REQUESTS}, [f'type: Unsupported value: "Foo": supported values: {TYPES}']),
        ({}, ["type: Required value: must specify a metric source type"]),
        ({"type": "Resource"}, ["resource: Required value: must populate information for the given metric source"]),
        ({"type": "Resource", "resource": {"target": {"type": "Foo"}}}, [
            "resource.name: Required value: must specify a resource name",
            'resource.target.type: Invalid value: "Foo": must be either Utilization, Value, or AverageValue',
            ("resource.target.averageUtilization: Required value: "
             "must set either a target raw value or a target utilization"),
        ]),
        ({**CPU, "pods": REQUESTS}, ["pods: Forbidden: must populate the given metric source only"]),
        ({"type": "External", "external": {"target": {"type": "Value", "value": "-1", "averageValue": "1"}}}, [
            "external.metric.name: Required value: must specify a metric name",
            'external.target.value: Invalid value: "-1": must be positive',
            "external.target.value: Forbidden: may not set both a target value for metric and a per-pod target",
        ]),
        ({"type": "ContainerResource",
          "containerResource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}, [
            "containerResource.target.averageUtilization: Invalid value: 0: must be greater than 0",
            "containerResource.container: Required value: must specify a container",
        ]),
    ],
)  # fmt: skip
def test_metrics_of_a_scaler(metric: dict[str, Any], says: list[str]) -> None:
    assert scaler(metric) == [f"spec.metrics[0].{one}" for one in says]


def test_how_a_scaler_behaves() -> None:
    policy = {"type": "A", "periodSeconds": 1801}
    rules = {"stabilizationWindowSeconds": 4000, "selectPolicy": "Most", "policies": [policy]}
    path = "spec.behavior.scaleUp"
    assert scaler(behavior={"scaleUp": rules}) == [
        f"{path}.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
        f'{path}.selectPolicy: Unsupported value: "Most": supported values: "Disabled", "Max", "Min"',
        f'{path}.policies[0].type: Unsupported value: "A": supported values: "Percent", "Pods"',
        f"{path}.policies[0].value: Invalid value: 0: must be greater than zero",
        f"{path}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
    ]
    assert scaler(behavior={}) == []  # what is left out has defaults


def test_runtime_classes() -> None:
    tolerations = [{"key": "a", "operator": "Foo"}]
    found = wrong(
        node.RuntimeClass,
        namespace="",
        handler="h",
        overhead={"podFixed": {"cpu": "-1"}},
        scheduling={"nodeSelector": {"a b": "c"}, "tolerations": tolerations},
    )
    assert [one.partition(": ")[0] for one in found] == [
        "overhead.podFixed[cpu]", "scheduling.nodeSelector", "scheduling.tolerations[0].operator",
    ]  # fmt: skip
    assert found[0].endswith(NEGATIVE)


def test_limits_are_of_something() -> None:
    says = "must be a standard limit type or fully qualified"
    found = wrong(core.LimitRange, spec={"limits": [{"type": "Foo"}, {"type": "example.test/foo"}]})
    assert found == [f'spec.limits[0].type: Invalid value: "Foo": {says}']


def test_a_volume_is_a_path_of_a_known_type() -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, "hostPath": {"path": "/a/..", "type": "F"}}
    found = wrong(core.PersistentVolume, namespace="", spec=spec)
    assert [one.partition(":")[0] for one in found] == ["spec.hostPath.path", "spec.hostPath.type"]


def test_finalizers_of_built_in_kinds_have_a_prefix() -> None:
    found = wrong(core.ConfigMap, finalizers=("mine",))
    assert found == [f'metadata.finalizers[0]: Invalid value: "mine": {STANDS_ALONE}']
    assert wrong(core.ConfigMap, finalizers=("example.test/mine", "orphan", "kubernetes")) == []
