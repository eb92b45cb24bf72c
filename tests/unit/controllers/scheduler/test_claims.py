"""What the scheduler makes of a pod's claims."""

from __future__ import annotations

from typing import Any

from skerry.api import claims as names
from skerry.api.types import core, meta, storage
from skerry.controllers.scheduler import claims
from skerry.controllers.scheduler.books import Books

POD = core.Pod(
    metadata=meta.ObjectMeta(name="p", namespace="default"),
    spec=core.PodSpec(
        volumes=[
            core.Volume(name="v", persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name="data"))
        ]
    ),
)
WAITS = storage.StorageClass(
    metadata=meta.ObjectMeta(name="c"), provisioner=names.PROVISIONER, volume_binding_mode=names.WAITS
)


def look(*annotations: str, volume: str = "", phase: str = "Pending", **spec: Any) -> claims.Storage:
    claim = core.PersistentVolumeClaim(
        metadata=meta.ObjectMeta(name="data", namespace="default", annotations=dict.fromkeys(annotations, "yes")),
        spec=core.PersistentVolumeClaimSpec(storage_class_name="c", volume_name=volume, **spec),
        status=core.PersistentVolumeClaimStatus(phase=phase),
    )
    found = claims.look(POD, {"default/data": claim}.get, {"c": WAITS}.get, list, lambda _: None)
    assert found is not None
    return found


def test_a_pod_without_claims_is_not_looked_at() -> None:
    bare = core.Pod(metadata=POD.metadata)
    assert claims.look(bare, lambda _: None, lambda _: None, list, lambda _: None) is None


def test_a_claim_that_is_being_bound_is_waited_for_in_silence() -> None:
    for found in (look(names.SELECTED_NODE), look(names.BIND_COMPLETED, volume="v")):
        assert found.on_their_way and not found.problem
    assert look(volume="v").problem == claims.UNBOUND  # somebody has named it, and it is not there
    fresh = look()
    assert [one.metadata.name for one in fresh.waiting] == ["data"] and not fresh.on_their_way
    assert not look(phase="Bound", volume="v").waiting


def test_where_a_volume_can_be_made() -> None:
    place = Books().put_node(core.Node(metadata=meta.ObjectMeta(name="n")))
    found = look()
    assert found.refusal(place) is None
    found.provisioned = frozenset()
    refused = found.refusal(place)
    assert refused is not None and refused.reasons == (claims.NOTHING_THERE,) and not refused.helps
