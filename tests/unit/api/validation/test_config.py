"""Checks of ConfigMap, Secret, Namespace, Node, Lease and Event."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from skerry.api import codec, defaults, validation
from skerry.api.types import coordination, core


def make(kind: Any, namespace: str = "default", **fields: Any) -> Any:
    obj = codec.convert(kind, {"metadata": {"name": "a", "namespace": namespace}, **fields})
    defaults.apply(obj)
    return obj


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


KEY = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        (core.ConfigMap, {"data": {"a.b_c-D": "x"}, "binaryData": {"b": b64("x")}}, []),
        (core.ConfigMap, {"data": {"a b": "x"}}, [f'data[a b]: Invalid value: "a b": {KEY}']),
        (core.ConfigMap, {"data": {"a": ""}, "binaryData": {"a": ""}},
         ['data[a]: Invalid value: "a": duplicate of key present in binaryData']),
        (core.ConfigMap, {"data": {"a": "x" * (1024 * 1024 + 1)}},
         ["[]: Too long: may not be more than 1048576 bytes"]),
        (core.Secret, {"data": {"a": b64("x" * (1024 * 1024 + 1))}},
         ["data: Too long: may not be more than 1048576 bytes"]),
        (core.Secret, {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, ["data[tls.key]: Required value"]),
        (core.Secret, {"type": "kubernetes.io/basic-auth"},
         ["data[username]: Required value", "data[password]: Required value"]),
        (core.Secret, {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": b64("{")}},
         ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": ']),
        (core.Secret, {"type": "example.com/any", "data": {"a": b64("x")}}, []),
        (coordination.Lease, {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}},
         ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
          "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
        (core.Event, {"involvedObject": {"namespace": "default"}}, []),
        (core.Event, {"involvedObject": {"kind": "Node"}}, []),
        (core.Event, {"involvedObject": {"namespace": "other"}},
         ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']),
    ],
)  # fmt: skip
def test_create(kind: Any, fields: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(make(kind, **fields)))
    assert len(found) == len(wanted), found
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start)


@pytest.mark.parametrize(
    ("kind", "old", "new", "wanted"),
    [
        (core.ConfigMap, {"data": {"a": "1"}}, {"data": {"a": "2"}, "immutable": True}, []),
        (core.ConfigMap, {"data": {"a": "1"}, "immutable": True}, {"data": {"a": "2"}},
         ["immutable: Forbidden: field is immutable when `immutable` is set",
          "data: Forbidden: field is immutable when `immutable` is set"]),
        (core.Secret, {"type": "a/b"}, {"type": "a/c"}, ['type: Invalid value: "a/c": field is immutable']),
    ],
)  # fmt: skip
def test_update(kind: Any, old: dict[str, Any], new: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.update(make(kind, **new), make(kind, **old))) == wanted


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"podCIDRs": ["10.244.1.0/24", "fd00::/64"], "taints": [{"key": "a", "effect": "NoSchedule"}]}, []),
        ({"podCIDRs": ["10.244.1.0/24", "10.244.2.0/24"]}, [('spec.podCIDRs: Invalid value: '
         '["10.244.1.0/24","10.244.2.0/24"]: may specify no more than one CIDR for each IP family')]),
        ({"podCIDRs": ["10.244.1.1/24"]},
         ['spec.podCIDRs[0]: Invalid value: "10.244.1.1/24": must not have bits set beyond the prefix length']),
        ({"taints": [{"key": "a", "effect": "Never"}]}, [('metadata.taints[0].effect: Unsupported value: "Never": '
         'supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"')]),
        ({"taints": [{"key": "a", "effect": "NoSchedule"}] * 2},
         [('metadata.taints[1]: Duplicate value: {"effect":"NoSchedule","key":"a"}: '
          "taints must be unique by key and effect pair")]),
    ],
)  # fmt: skip
def test_node(spec: dict[str, Any], wanted: list[str]) -> None:
    assert texts(validation.create(make(core.Node, namespace="", spec=spec))) == wanted


def test_node_keeps_its_range() -> None:
    old = make(core.Node, namespace="", spec={"podCIDR": "10.244.1.0/24"})
    new = make(core.Node, namespace="", spec={"podCIDR": "10.244.2.0/24"})
    why = 'node updates may not change podCIDR except from "" to valid'
    assert texts(validation.update(new, old)) == [f"spec.podCIDRs: Forbidden: {why}"]
    # Whoever writes the older field alone means both.
    new = make(core.Node, namespace="", spec={"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.1.0/24"]})
    assert texts(validation.update(new, old)) == [f"spec.podCIDRs: Forbidden: {why}"]


def test_namespace() -> None:
    obj = make(core.Namespace, namespace="", spec={"finalizers": ["kubernetes", "mine"]})
    assert texts(validation.create(obj)) == [
        'spec.finalizers[1]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
    ]
    obj = make(core.Namespace, namespace="")
    obj.metadata.name = "a.b"
    assert texts(validation.create(obj)) == ['metadata.name: Invalid value: "a.b": must not contain dots']
