"""ObjectMeta on creation and update."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api import codec, validation
from skerry.api.types import core


def new(**metadata: Any) -> core.ConfigMap:
    return codec.convert(core.ConfigMap, {"metadata": {"name": "a", "namespace": "default", **metadata}})


def texts(errors: list[Any]) -> list[str]:
    return [str(one) for one in errors]


OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "1", "controller": True}


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({}, []),
        ({"name": "", "generateName": "a-"}, ["metadata.name: Required value: name or generateName is required"]),
        ({"namespace": ""}, ["metadata.namespace: Required value"]),
        ({"annotations": {"a": "x" * (256 * 1024)}},
         ["metadata.annotations: Too long: may not be more than 262144 bytes"]),
        ({"annotations": {"Upper.Example/Key": "any text: \n"}}, []),
        ({"labels": {"a": "b c"}}, ["metadata.labels: Invalid value: \"b c\": a valid label must be"]),
        ({"labels": {"": "b"}},
         ["metadata.labels: Invalid value: \"\": name part must be non-empty", "metadata.labels: "]),
        ({"ownerReferences": [OWNER]}, []),
        ({"ownerReferences": [{**OWNER, "uid": ""}]},
         ["metadata.ownerReferences[0].uid: Required value: must not be empty"]),
        ({"ownerReferences": [{**OWNER, "apiVersion": "a/b/c"}]},
         ['metadata.ownerReferences[0].apiVersion: Invalid value: "a/b/c": must be <group>/<version> or <version>']),
        ({"ownerReferences": [{**OWNER, "apiVersion": "v1", "kind": "Event"}]},
         ["metadata.ownerReferences[0]: Invalid value: {"]),
        ({"ownerReferences": [OWNER, OWNER]}, ["metadata.ownerReferences: Invalid value: [{"]),
        ({"finalizers": ["foregroundDeletion"]}, []),
        ({"finalizers": ["example.com/x", "a b"]},
         ["metadata.finalizers: Invalid value: \"a b\": name part", "metadata.finalizers[1]: Invalid value: \"a b\""]),
        ({"finalizers": ["orphan", "foregroundDeletion"]},
         [('metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: '
          "finalizer orphan and foregroundDeletion cannot be both set")]),
    ],
)  # fmt: skip
def test_create(metadata: dict[str, Any], wanted: list[str]) -> None:
    found = texts(validation.create(new(**metadata)))
    assert len(found) == len(wanted)
    for one, start in zip(found, wanted, strict=True):
        assert one.startswith(start), one


def test_cluster_scoped_kinds_have_no_namespace() -> None:
    obj = core.Namespace()
    obj.metadata.name, obj.metadata.namespace = "a", "default"
    assert texts(validation.create(obj)) == ["metadata.namespace: Forbidden: not allowed on this type"]


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("name", "b", 'metadata.name: Invalid value: "b": field is immutable'),
        ("uid", "2", 'metadata.uid: Invalid value: "2": field is immutable'),
        ("creation_timestamp", None, "metadata.creationTimestamp: Invalid value: null: field is immutable"),
        ("generation", 1, "metadata.generation: Invalid value: 1: must not be decremented"),
    ],
)
def test_update_keeps_identity(field: str, value: Any, wanted: str) -> None:
    old = new(uid="1", creationTimestamp="2026-01-01T00:00:00Z", generation=2)
    changed = codec.copy(old)
    setattr(changed.metadata, field, value)
    assert wanted in texts(validation.update(changed, old))
    assert validation.update(codec.copy(old), old) == []


def test_no_new_finalizers_while_deleting() -> None:
    old = new(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example.com/a"])
    changed = codec.copy(old)
    changed.metadata.finalizers = ["example.com/b"]
    assert texts(validation.update(changed, old)) == [
        (
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
            'found new finalizers []string{"example.com/b"}'
        )
    ]
    changed.metadata.finalizers = []
    assert validation.update(changed, old) == []
