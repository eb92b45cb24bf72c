"""Claims and volumes: the real API server, the storage controller and the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.integration.controllers.world import World, changed, pod

from skerry.api import claims, status
from skerry.api.types import core, meta, storage
from skerry.apiserver import bootstrap


def claim(name: str = "data", size: str = "1Gi", **spec: Any) -> core.PersistentVolumeClaim:
    spec.setdefault("access_modes", ["ReadWriteOnce"])
    return core.PersistentVolumeClaim(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.PersistentVolumeClaimSpec(
            resources=core.VolumeResourceRequirements(requests={"storage": size}), **spec
        ),
    )


def volume(name: str, size: str = "1Gi", *, labels: Any = None, **spec: Any) -> core.PersistentVolume:
    spec.setdefault("access_modes", ["ReadWriteOnce"])
    return core.PersistentVolume(
        metadata=meta.ObjectMeta(name=name, labels=labels or {}),
        spec=core.PersistentVolumeSpec(
            capacity={"storage": size}, host_path=core.HostPathVolumeSource(path=f"/mnt/{name}"), **spec
        ),
    )


def on(node: str) -> core.VolumeNodeAffinity:
    term = core.NodeSelectorTerm(
        match_expressions=[core.NodeSelectorRequirement(key=claims.HOSTNAME, operator="In", values=[node])]
    )
    return core.VolumeNodeAffinity(required=core.NodeSelector(node_selector_terms=[term]))


def using(name: str, *names: str) -> core.Pod:
    made = pod(name)
    made.spec.volumes = [
        core.Volume(name=one, persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name=one))
        for one in names
    ]
    return made


def phase(here: World, name: str = "data") -> str:
    found = here.get(core.PersistentVolumeClaim, name)
    return found.status.phase if found is not None else "none"


def state(here: World, name: str) -> str:
    found = here.get(core.PersistentVolume, name, "")
    return found.status.phase if found is not None else "none"


def is_(ask: Callable[..., str], here: World, name: str, wanted: str) -> Callable[[], bool]:
    return lambda: ask(here, name) == wanted


def node_of(here: World, name: str) -> str:
    found = here.get(core.Pod, name)
    return found.spec.node_name if found is not None else ""


async def test_a_claim_gets_the_smallest_volume_that_suits(here: World) -> None:
    await here.client.create(volume("big", "5Gi", labels={"disk": "fast"}))
    await here.client.create(volume("fit", "2Gi"))
    await here.client.create(volume("small", "1Gi"))
    await here.client.create(volume("other", "2Gi", storage_class_name="slow"))
    await here.client.create(volume("many", "2Gi", access_modes=["ReadOnlyMany"]))
    await here.until(is_(state, here, "many", "Available"))
    await here.client.create(claim(size="2Gi"))
    await here.until(is_(phase, here, "data", "Bound"))
    found = here.get(core.PersistentVolumeClaim, "data")
    assert found is not None and found.spec.volume_name == "fit" and found.status.capacity == {"storage": "2Gi"}
    fit = here.get(core.PersistentVolume, "fit", "")
    assert fit is not None and fit.spec.claim_ref is not None and fit.spec.claim_ref.uid == found.metadata.uid
    assert fit.status.phase == "Bound"
    chosen = meta.LabelSelector(match_labels={"disk": "fast"})
    await here.client.create(claim("chosen", selector=chosen))
    await here.until(is_(state, here, "big", "Bound"))
    await here.client.create(claim("named", volume_name="other", storage_class_name="slow"))
    await here.until(is_(phase, here, "named", "Bound"))
    await here.client.create(claim("none", "1Gi", access_modes=["ReadWriteMany"]))
    await here.until(lambda: here.events("FailedBinding"))
    assert here.events("FailedBinding") == [
        "no persistent volumes available for this claim and no storage class is set"
    ]


async def test_a_volume_outlives_its_claim_unless_it_is_to_go(here: World) -> None:
    await here.client.create(volume("kept"))
    await here.client.create(claim())
    await here.until(is_(phase, here, "data", "Bound"))
    await here.client.delete(core.PersistentVolume, "kept")
    await here.until(lambda: (one := here.get(core.PersistentVolume, "kept", "")) and one.metadata.deletion_timestamp)
    await here.client.delete(core.PersistentVolumeClaim, "data", "default")
    await here.until(is_(state, here, "kept", "none"))
    await here.client.create(volume("again"))
    await here.client.create(volume("odd", "9Gi", persistent_volume_reclaim_policy="Delete"))
    await here.client.create(claim("a"))
    await here.client.create(claim("b", "9Gi"))
    await here.until(lambda: phase(here, "a") == phase(here, "b") == "Bound")
    for name in ("a", "b"):
        await here.client.delete(core.PersistentVolumeClaim, name, "default")
    await here.until(lambda: (state(here, "again"), state(here, "odd")) == ("Released", "Failed"))


async def test_a_claim_whose_volume_is_taken_away_is_lost(here: World) -> None:
    await here.client.create(volume("v"))
    await here.client.create(claim())
    await here.until(is_(phase, here, "data", "Bound"))
    found = await here.client.get(core.PersistentVolume, "v")
    found.metadata.finalizers = []
    found = await here.client.update(found)
    await here.client.delete(core.PersistentVolume, "v")
    await here.until(is_(phase, here, "data", "Lost"))
    await here.until(lambda: here.events("ClaimLost"))


async def test_pods_wait_for_their_claims(here: World) -> None:
    await here.node()
    await here.client.create(using("early", "data"))
    await here.until(lambda: here.events("FailedScheduling"))
    assert here.events("FailedScheduling")[0].startswith(
        '0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available: '
    )
    await here.client.create(claim())
    await here.until(lambda: len(here.events("FailedScheduling")) == 2)
    assert "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. " in str(
        here.events("FailedScheduling")
    )
    await here.client.create(volume("v"))
    await here.until(lambda: node_of(here, "early") == "node-1")


async def test_a_volume_is_where_its_pod_is(here: World) -> None:
    for name in ("node-1", "node-2", "node-3"):
        await here.node(name, labels={claims.HOSTNAME: name})
    local = storage.StorageClass(
        metadata=meta.ObjectMeta(name="local"), provisioner=claims.NO_PROVISIONER, volume_binding_mode=claims.WAITS
    )
    await here.client.create(local)
    await here.client.create(claim(storage_class_name="local"))
    await here.until(lambda: here.events("WaitForFirstConsumer"))
    assert here.events("WaitForFirstConsumer") == ["waiting for first consumer to be created before binding"]
    await here.client.create(using("a", "data"))
    await here.until(lambda: here.events("FailedScheduling"))
    assert "3 node(s) didn't find available persistent volumes to bind" in here.events("FailedScheduling")[0]
    await here.client.create(volume("v", storage_class_name="local", node_affinity=on("node-2")))
    await here.until(lambda: node_of(here, "a") == "node-2")
    await here.client.create(using("b", "data"))
    await here.until(lambda: node_of(here, "b") == "node-2")
    away = using("c", "data")
    away.spec.node_selector = {claims.HOSTNAME: "node-1"}
    await here.client.create(away)
    await here.until(lambda: len(here.events("FailedScheduling")) == 2)
    assert "1 node(s) didn't match PersistentVolume's node affinity" in str(here.events("FailedScheduling"))


async def test_claims_in_use_stay(here: World) -> None:
    await here.node()
    await here.client.create(volume("v"))
    await here.client.create(claim())
    await here.client.create(using("a", "data"))
    await here.until(lambda: node_of(here, "a") == "node-1")
    await here.client.delete(core.PersistentVolumeClaim, "data", "default")
    await here.until(lambda: (one := here.get(core.PersistentVolumeClaim, "data")) and one.metadata.deletion_timestamp)
    await here.client.create(using("late", "data"))
    await here.until(
        lambda: 'persistentvolumeclaim "data" is being deleted' in " ".join(here.events("FailedScheduling"))
    )
    assert phase(here) == "Bound"
    await here.runs((await here.client.get(core.Pod, "a", "default")), phase="Succeeded")
    await here.until(is_(phase, here, "data", "none"))
    await here.until(is_(state, here, "v", "Released"))


async def test_the_default_class_and_who_else_makes_volumes(here: World) -> None:
    await here.client.create(bootstrap.storage_class())
    other = storage.StorageClass(metadata=meta.ObjectMeta(name="other"), provisioner="example.com/disks")
    await here.client.create(other)
    made = await here.client.create(claim())
    assert made.spec.storage_class_name == "standard"
    assert (await here.client.create(claim("none", storage_class_name=""))).spec.storage_class_name == ""
    await here.client.create(claim("theirs", storage_class_name="other"))
    await here.client.create(claim("unknown", storage_class_name="no"))
    await here.until(lambda: here.events("ExternalProvisioning") and here.events("ProvisioningFailed"))
    assert "by the external provisioner 'example.com/disks' or" in here.events("ExternalProvisioning")[0]
    assert here.events("ProvisioningFailed") == ['storageclass.storage.k8s.io "no" not found']
    # Ours copies nothing: a claim that wants a copy is not given an empty volume.
    await here.node()
    at_once = storage.StorageClass(metadata=meta.ObjectMeta(name="at-once"), provisioner=claims.PROVISIONER)
    await here.client.create(at_once)
    source = core.TypedLocalObjectReference(kind="PersistentVolumeClaim", name="data")
    await here.client.create(claim("copy", storage_class_name="at-once", data_source=source))
    await here.until(lambda: len(here.events("ProvisioningFailed")) == 2)
    assert here.events("ProvisioningFailed")[1].endswith(": a volume begins empty here: dataSource is not supported")


async def test_a_volume_is_made_where_the_first_pod_goes(here: World) -> None:
    await here.node(labels={claims.HOSTNAME: "host-1"})
    await here.client.create(bootstrap.storage_class())
    made = await here.client.create(claim(size="3Gi"))
    await here.client.create(using("a", "data"))
    await here.until(lambda: node_of(here, "a") == "node-1")
    found = here.get(core.PersistentVolume, f"pvc-{made.metadata.uid}", "")
    assert found is not None and found.spec.host_path is not None
    assert found.spec.host_path.path == f"/data/node-1/pvc-{made.metadata.uid}_default_data"
    assert found.spec.node_affinity == on("host-1") and found.spec.capacity == {"storage": "3Gi"}
    assert found.spec.persistent_volume_reclaim_policy == "Delete"
    assert here.events("ProvisioningSucceeded") == [f"Successfully provisioned volume {found.metadata.name}"]


async def test_what_means_nothing_is_refused(here: World) -> None:
    async def said(obj: Any) -> str:
        try:
            await (here.client.update(obj) if obj.metadata.resource_version else here.client.create(obj))
        except status.ApiError as error:
            return str(error)
        return ""

    assert "spec.accessModes: Required value: at least 1 access mode is required" in await said(claim(access_modes=[]))
    assert "must be greater than zero" in await said(claim(size="0"))
    nowhere = volume("v")
    nowhere.spec.host_path = None
    assert "spec: Required value: must specify a volume type" in await said(nowhere)
    made = await here.client.create(claim())
    assert "spec is immutable after creation except resources.requests" in await said(
        changed(made, access_modes=["ReadOnlyMany"])
    )
    standard = await here.client.create(bootstrap.storage_class())
    standard.provisioner = "a.b/c"
    assert "updates to provisioner are forbidden." in await said(standard)
