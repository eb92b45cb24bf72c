"""The control loops against the real API server: deployment -> pods -> endpoints, deletion, namespaces."""

from __future__ import annotations

from tests.integration.controllers import world
from tests.integration.controllers.world import World

from skerry.api.types import apps, core, discovery, meta
from skerry.clock import FakeClock


async def test_a_deployment_becomes_pods_on_nodes(here: World) -> None:
    await here.node("node-1")
    await here.node("node-2")
    await here.client.create(world.deployment(replicas=4))
    pods = await here.until(
        lambda: [p for p in here.pods(app="web") if p.spec.node_name] if len(here.pods()) == 4 else []
    )
    await here.until(lambda: all(one.spec.node_name for one in here.pods()))
    assert len(pods) <= 4
    assert sorted(one.spec.node_name for one in here.pods()) == ["node-1"] * 2 + ["node-2"] * 2
    [replicaset] = here.all(apps.ReplicaSet)
    digest = replicaset.metadata.labels["pod-template-hash"]
    assert replicaset.metadata.name == f"web-{digest}"
    for one in here.pods():
        assert one.metadata.labels == {"app": "web", "pod-template-hash": digest}
        assert one.metadata.name.startswith(f"web-{digest}-")
    for one in here.pods():
        await here.runs(one)
    done = await here.until(
        lambda: (found := here.get(apps.Deployment, "web")) and found.status.available_replicas == 4 and found
    )
    assert (done.status.replicas, done.status.updated_replicas, done.status.ready_replicas) == (4, 4, 4)
    assert done.metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    conditions = {one.type: (one.status, one.reason) for one in done.status.conditions}
    assert conditions["Available"] == ("True", "MinimumReplicasAvailable")
    await here.until(
        lambda: (
            ("True", "NewReplicaSetAvailable")
            in [(c.status, c.reason) for d in here.all(apps.Deployment) for c in d.status.conditions]
        )
    )
    await here.until(lambda: here.events("ScalingReplicaSet"))
    assert here.events("ScalingReplicaSet") == [f"Scaled up replica set {replicaset.metadata.name} from 0 to 4"]
    created = await here.until(
        lambda: here.events("SuccessfulCreate") if len(here.events("SuccessfulCreate")) == 4 else []
    )
    assert sorted(created) == sorted(f"Created pod: {one.metadata.name}" for one in here.pods())


async def test_a_deleted_pod_is_replaced_and_its_address_leaves(here: World) -> None:
    """Steps 3 and 4 of the tutorial: the dead IP is gone, the new one there."""
    await here.node()
    await here.client.create(world.service())
    await here.client.create(world.deployment(replicas=3))
    await here.until(lambda: len(here.pods(app="web")) == 3 and all(one.spec.node_name for one in here.pods()))
    for one in here.pods():
        await here.runs(one)
    await here.until(lambda: len(here.addresses("web")[0]) == 3)
    await here.until(lambda: here.sliced("web") == here.addresses("web"))
    victim = here.pods()[0]
    ip = here.addresses("web")[0]
    await here.client.delete(core.Pod, victim.metadata.name, "default")
    dead = (await here.client.get(core.Pod, victim.metadata.name, "default")).status.pod_ip
    await here.until(lambda: dead not in here.addresses("web")[0] and len(here.pods()) == 3)
    await here.until(lambda: dead not in here.sliced("web")[0])
    assert dead in here.sliced("web")[1]  # still there while it terminates (L15)
    await here.stopped(victim)
    fresh = await here.until(lambda: [one for one in here.pods() if not one.status.pod_ip and one.spec.node_name])
    await here.runs(fresh[0])
    await here.until(lambda: len(here.addresses("web")[0]) == 3)
    await here.until(lambda: here.sliced("web") == here.addresses("web"))
    assert dead in ip and dead not in here.addresses("web")[0]


async def test_readiness_moves_addresses(here: World) -> None:
    await here.node()
    await here.client.create(world.service())
    pods = [await here.client.create(world.pod(f"web-{n}", node_name="node-1")) for n in range(2)]
    one, two = [await here.runs(each) for each in pods]
    ips = [one.status.pod_ip, two.status.pod_ip]
    await here.until(lambda: here.addresses("web") == (ips, []) == here.sliced("web"))
    await here.runs(one, ready=False)
    await here.until(lambda: here.addresses("web") == (ips[1:], ips[:1]) == here.sliced("web"))
    await here.runs(one)
    await here.until(lambda: here.addresses("web") == (ips, []) == here.sliced("web"))
    [only] = here.slices("web")
    assert only.metadata.owner_references[0].kind == "Service"
    endpoints = here.get(core.Endpoints, "web")
    assert endpoints is not None
    [subset] = endpoints.subsets
    assert subset.addresses[0].target_ref is not None and subset.addresses[0].node_name == "node-1"
    assert subset.ports == [core.EndpointPort(port=8080, protocol="TCP")]


async def test_a_steady_state_writes_nothing(here: World) -> None:
    await here.node()
    await here.client.create(world.service())
    made = await here.client.create(world.pod("web-1", node_name="node-1"))
    await here.runs(made)
    await here.until(lambda: here.addresses("web")[0] and here.sliced("web")[0])
    await here.until(lambda: (one := here.get(core.Service, "web")) and len(one.status.conditions) == 2)
    before = here.api.store.revision
    # A change that says nothing about endpoints, and one marker whose arrival shows that all caches have seen it.
    await here.client.patch(core.Pod, "web-1", {"metadata": {"annotations": {"a": "b"}}}, "default")
    await here.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="marker", namespace="default")))
    await here.until(lambda: here.get(core.ConfigMap, "marker"))
    await FakeClock.settle(500)
    assert here.api.store.revision == before + 2


async def test_deleting_endpoints_or_a_slice_by_hand_brings_them_back(here: World) -> None:
    """E3, E52, L9."""
    await here.node()
    await here.client.create(world.service())
    made = await here.client.create(world.pod("web-1", node_name="node-1"))
    await here.runs(made)
    await here.until(lambda: here.addresses("web")[0] and here.sliced("web")[0])
    old = here.get(core.Endpoints, "web")
    assert old is not None
    await here.client.delete(core.Endpoints, "web", "default")
    await here.until(
        lambda: (
            (new := here.get(core.Endpoints, "web"))
            and new.metadata.uid != old.metadata.uid
            and here.addresses("web")[0]
        )
    )
    [mine] = here.slices("web")
    await here.client.delete(discovery.EndpointSlice, mine.metadata.name, "default")
    await here.until(
        lambda: [one for one in here.slices("web") if one.metadata.uid != mine.metadata.uid] and here.sliced("web")[0]
    )
    [mine] = here.slices("web")
    edited = world.codec.copy(mine)
    edited.endpoints = []
    await here.client.update(edited)
    await here.until(lambda: here.sliced("web")[0])


async def test_a_service_that_is_deleted_takes_its_endpoints_and_slices_along(here: World) -> None:
    await here.node()
    await here.client.create(world.service())
    await here.until(lambda: here.get(core.Endpoints, "web") and here.slices("web"))
    await here.client.delete(core.Service, "web", "default")
    await here.until(lambda: not here.get(core.Endpoints, "web") and not here.slices("web"))


async def test_no_selector_endpoints_written_by_hand_are_mirrored(here: World) -> None:
    """manifests/no-selector.yaml."""
    await here.client.create(
        world.service("outside-db", selector={}, ports=[core.ServicePort(name="pg", port=5432, target_port=15432)])
    )
    hand = core.Endpoints(
        metadata=meta.ObjectMeta(name="outside-db", namespace="default"),
        subsets=[
            core.EndpointSubset(
                addresses=[core.EndpointAddress(ip="192.0.2.10")],
                ports=[core.EndpointPort(name="pg", port=15432, protocol="TCP")],
            )
        ],
    )
    await here.client.create(hand)
    await here.until(lambda: here.sliced("outside-db")[0] == ["192.0.2.10"])
    [mirror] = here.slices("outside-db")
    assert [(one.name, one.port) for one in mirror.ports] == [("pg", 15432)]
    known = here.get(core.Endpoints, "outside-db")
    assert known is not None
    edited = world.codec.copy(known)
    edited.subsets[0].addresses.append(core.EndpointAddress(ip="192.0.2.11"))
    await here.client.update(edited)
    await here.until(lambda: here.sliced("outside-db")[0] == ["192.0.2.10", "192.0.2.11"])
    assert [one.metadata.name for one in here.slices("outside-db")] == [mirror.metadata.name]
    await here.client.delete(core.Endpoints, "outside-db", "default")
    await here.until(lambda: not here.slices("outside-db"))


async def test_a_deployment_that_is_deleted_takes_everything_along(here: World) -> None:
    await here.node()
    await here.client.create(world.deployment(replicas=3))
    await here.until(lambda: len(here.pods()) == 3 and all(one.spec.node_name for one in here.pods()))
    await here.client.delete(apps.Deployment, "web", "default")
    await here.until(lambda: not here.all(apps.ReplicaSet) and not here.pods())
    for one in here.all(core.Pod):  # they wait for their node
        await here.stopped(one)
    await here.until(lambda: not here.all(core.Pod))


async def test_orphans_are_left_and_taken_over_again(here: World) -> None:
    await here.client.create(world.deployment(replicas=2))
    await here.until(lambda: len(here.pods()) == 2)
    [old] = here.all(apps.ReplicaSet)
    names = [one.metadata.name for one in here.pods()]
    await here.client.delete(apps.Deployment, "web", "default", propagation_policy="Orphan")
    await here.until(lambda: not here.all(apps.Deployment))
    await here.until(lambda: all(not one.metadata.owner_references for one in here.all(apps.ReplicaSet)))
    assert [one.metadata.name for one in here.pods()] == names
    await here.client.create(world.deployment(replicas=2))
    await here.until(lambda: any(one.metadata.owner_references for one in here.all(apps.ReplicaSet)))
    assert [one.metadata.name for one in here.all(apps.ReplicaSet)] == [old.metadata.name]
    assert [one.metadata.name for one in here.pods()] == names


async def test_foreground_deletion_waits_for_the_pods(here: World) -> None:
    await here.node()
    await here.client.create(world.deployment(replicas=2))
    await here.until(lambda: len(here.pods()) == 2 and all(one.spec.node_name for one in here.pods()))
    await here.client.delete(apps.Deployment, "web", "default", propagation_policy="Foreground")
    await here.until(lambda: not here.pods())
    assert here.all(apps.Deployment) and here.all(apps.ReplicaSet)
    for one in here.all(core.Pod):
        await here.stopped(one)
    await here.until(lambda: not here.all(apps.Deployment) and not here.all(apps.ReplicaSet))


async def test_a_namespace_is_emptied_before_it_goes(here: World) -> None:
    await here.node()
    await here.client.create(core.Namespace(metadata=meta.ObjectMeta(name="demo")))
    await here.until(lambda: here.get(core.ServiceAccount, "default", "demo"))
    await here.until(lambda: here.get(core.ConfigMap, "kube-root-ca.crt", "demo"))
    made = world.deployment(replicas=2)
    made.metadata.namespace = "demo"
    await here.client.create(made)
    svc = world.service()
    svc.metadata.namespace = "demo"
    await here.client.create(svc)
    await here.until(lambda: len([one for one in here.all(core.Pod, "demo") if one.spec.node_name]) == 2)
    await here.client.delete(core.Namespace, "demo")
    await here.until(
        lambda: (
            (found := here.get(core.Namespace, "demo", ""))
            and any(one.type == "NamespaceContentRemaining" and one.status == "True" for one in found.status.conditions)
        )
    )
    await here.until(lambda: all(one.metadata.deletion_timestamp for one in here.all(core.Pod, "demo")))
    for one in here.all(core.Pod, "demo"):
        await here.stopped(one)
    await here.until(lambda: not here.get(core.Namespace, "demo", ""))
    for kind in (core.Service, core.Endpoints, discovery.EndpointSlice, apps.Deployment, core.ConfigMap):
        assert (await here.client.list(kind, "demo")).items == []


async def test_relabelling_a_pod_isolates_and_replaces_it(here: World) -> None:
    """A4, the tutorial trick."""
    await here.node()
    await here.client.create(world.service())
    await here.client.create(world.deployment(replicas=1))
    await here.until(lambda: len(here.pods()) == 1 and here.pods()[0].spec.node_name)
    pod = await here.runs(here.pods()[0])
    await here.until(lambda: here.addresses("web")[0] == [pod.status.pod_ip])
    await here.client.patch(core.Pod, pod.metadata.name, {"metadata": {"labels": {"app": "debug"}}}, "default")
    await here.until(lambda: here.addresses("web")[0] == [] and len(here.pods(app="web")) == 1)
    await here.until(lambda: not here.pods(app="debug")[0].metadata.owner_references)


async def test_no_nodes_then_a_node(here: World) -> None:
    await here.client.create(world.pod("lonely"))
    await here.until(lambda: here.events("FailedScheduling") == ["no nodes available to schedule pods"])
    found = await here.until(
        lambda: [c for one in here.pods() for c in one.status.conditions if c.type == "PodScheduled"]
    )
    assert (found[0].status, found[0].reason) == ("False", "Unschedulable")
    await here.node()
    await here.until(lambda: here.pods()[0].spec.node_name == "node-1")
    await here.until(lambda: here.events("Scheduled") == ["Successfully assigned default/lonely to node-1"])


async def test_an_owner_in_another_namespace_is_none(here: World) -> None:
    """What says that it has one goes, with an event; what has no namespace is kept."""
    await here.client.create(core.Namespace(metadata=meta.ObjectMeta(name="other")))
    owner = await here.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="owner", namespace="other")))
    await here.until(lambda: here.get(core.ConfigMap, "owner", "other"))
    ref = meta.OwnerReference(api_version="v1", kind="ConfigMap", name="owner", uid=owner.metadata.uid)
    for name, namespace in (("lost", "default"), ("mine", "other")):
        where = meta.ObjectMeta(name=name, namespace=namespace, owner_references=[ref])
        await here.client.create(core.ConfigMap(metadata=where))
    kept = meta.ObjectMeta(name="v", owner_references=[ref])
    spec = core.PersistentVolumeSpec(
        capacity={"storage": "1"}, access_modes=["ReadWriteOnce"], host_path=core.HostPathVolumeSource(path="/v")
    )
    await here.client.create(core.PersistentVolume(metadata=kept, spec=spec))
    [told] = await here.until(lambda: [one for one in here.events("OwnerRefInvalidNamespace") if "default" in one])
    named = f"[v1/ConfigMap, namespace: default, name: owner, uid: {owner.metadata.uid}]"
    assert told == f'ownerRef {named} does not exist in namespace "default"'
    await here.until(lambda: here.get(core.ConfigMap, "lost") is None)
    assert here.get(core.ConfigMap, "mine", "other") and here.get(core.PersistentVolume, "v", "")
