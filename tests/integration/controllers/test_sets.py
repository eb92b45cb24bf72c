"""StatefulSets and DaemonSets against the real API server; the test plays the nodes."""

from __future__ import annotations

from typing import Any

from tests.integration.controllers.test_rollouts import nodes_that_work
from tests.integration.controllers.world import World, changed, pod_spec

from skerry.api import codec
from skerry.api.types import apps, core, meta
from skerry.apiserver import bootstrap

LABELS = {"app": "web"}


def template(image: str = "v1", **spec: Any) -> core.PodTemplateSpec:
    return core.PodTemplateSpec(metadata=meta.ObjectMeta(labels=LABELS), spec=pod_spec(image, **spec))


def statefulset(replicas: int = 3, **more: Any) -> apps.StatefulSet:
    return apps.StatefulSet(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=apps.StatefulSetSpec(
            replicas=replicas,
            service_name="web",
            selector=meta.LabelSelector(match_labels=LABELS),
            template=more.pop("template", None) or template(),
            **more,
        ),
    )


def daemonset(**more: Any) -> apps.DaemonSet:
    return apps.DaemonSet(
        metadata=meta.ObjectMeta(name="web", namespace="default"),
        spec=apps.DaemonSetSpec(
            selector=meta.LabelSelector(match_labels=LABELS),
            template=more.pop("template", None) or template(),
            **more,
        ),
    )


def names(here: World) -> list[str]:
    return [one.metadata.name for one in here.pods(**LABELS)]


def is_whole(here: World, replicas: int) -> bool:
    found = here.get(apps.StatefulSet, "web")
    if found is None:
        return False
    said = found.status
    return (
        said.observed_generation == found.metadata.generation
        and said.available_replicas == said.replicas == said.updated_replicas == replicas == len(here.pods(**LABELS))
        and said.current_revision == said.update_revision
    )


async def test_a_statefulset_goes_up_down_and_over_one_by_one(here: World) -> None:
    await here.node()
    made: list[str] = []
    here.caches.of(core.Pod).subscribe(
        lambda old, new: made.append(new.metadata.name) if old is None and new is not None else None
    )
    async with nodes_that_work(here):
        await here.client.create(statefulset())
        await here.until(lambda: is_whole(here, 3))
        assert made == names(here) == ["web-0", "web-1", "web-2"]
        first = here.pods(**LABELS)[1]
        assert (first.spec.hostname, first.spec.subdomain) == ("web-1", "web")
        labels = first.metadata.labels
        assert labels["statefulset.kubernetes.io/pod-name"] == "web-1"
        assert labels["apps.kubernetes.io/pod-index"] == "1"
        one = here.get(apps.StatefulSet, "web")
        assert one is not None and labels["controller-revision-hash"] == one.status.current_revision

        made.clear()
        await here.client.update(changed(one, template=template("v2")))
        await here.until(lambda: is_whole(here, 3) and len(made) == 3)
        assert made == ["web-2", "web-1", "web-0"]
        assert {one.spec.containers[0].image for one in here.pods(**LABELS)} == {"v2"}
        revisions = sorted(here.all(apps.ControllerRevision), key=lambda one: one.revision)
        assert [one.revision for one in revisions] == [1, 2]

        # What `kubectl rollout undo` sends is the data of a revision.
        await here.client.patch(apps.StatefulSet, "web", revisions[0].data, "default", type="strategic")
        await here.until(lambda: is_whole(here, 3) and len(made) == 6)
        assert {one.spec.containers[0].image for one in here.pods(**LABELS)} == {"v1"}
        assert sorted(one.revision for one in here.all(apps.ControllerRevision)) == [2, 3]

        one = await here.client.get(apps.StatefulSet, "web", "default")
        one.spec.replicas, one.spec.ordinals = 2, apps.StatefulSetOrdinals(start=1)
        await here.client.update(one)
        await here.until(lambda: is_whole(here, 2))
        assert names(here) == ["web-1", "web-2"]
    messages = here.events("SuccessfulCreate")
    assert "create Pod web-0 in StatefulSet web successful" in messages


async def test_a_partition_keeps_the_former_version_below(here: World) -> None:
    await here.node()
    rolling = apps.RollingUpdateStatefulSetStrategy(partition=2)
    strategy = apps.StatefulSetUpdateStrategy(type="RollingUpdate", rolling_update=rolling)
    async with nodes_that_work(here):
        one = await here.client.create(statefulset(update_strategy=strategy, pod_management_policy="Parallel"))
        await here.until(lambda: is_whole(here, 3))
        await here.client.update(changed(await here.client.get(apps.StatefulSet, "web", "default"),
                                         template=template("v2")))  # fmt: skip

        def images() -> list[str]:
            return [pod.spec.containers[0].image for pod in here.pods(**LABELS)]

        await here.until(lambda: images() == ["v1", "v1", "v2"])
        # One below the partition that is lost comes back as it was.
        await here.client.delete(core.Pod, "web-0", "default", grace_period_seconds=0)
        uid = one.metadata.uid
        assert uid
        await here.until(lambda: names(here) == ["web-0", "web-1", "web-2"])
        assert images() == ["v1", "v1", "v2"]


async def test_a_failed_pod_of_a_statefulset_comes_back(here: World) -> None:
    await here.node()
    await here.client.create(statefulset(1))
    first = (await here.until(lambda: here.pods(**LABELS)))[0]
    await here.until(lambda: bool(here.pods(**LABELS) and here.pods(**LABELS)[0].spec.node_name))
    await here.runs(first, ready=False, phase="Failed")
    await here.until(lambda: bool(here.pods(**LABELS)) and here.pods(**LABELS)[0].metadata.uid != first.metadata.uid)
    await here.until(lambda: here.events("RecreatingFailedPod"))
    assert here.events("RecreatingFailedPod") == ["StatefulSet web is recreating failed Pod web-0"]


CLAIM = core.PersistentVolumeClaim(
    metadata=meta.ObjectMeta(name="data"),
    spec=core.PersistentVolumeClaimSpec(
        access_modes=["ReadWriteOnce"], resources=core.VolumeResourceRequirements(requests={"storage": "1Gi"})
    ),
)


async def test_claims_are_kept_and_go_as_the_retention_policy_says(here: World) -> None:
    await here.node()
    await here.client.create(bootstrap.storage_class())
    kept = apps.StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Delete", when_scaled="Delete")

    def claims() -> dict[str, list[str]]:
        found = here.all(core.PersistentVolumeClaim)
        return {one.metadata.name: [owner.kind for owner in one.metadata.owner_references] for one in found}

    async with nodes_that_work(here):
        wanted = statefulset(2, volume_claim_templates=[CLAIM], persistent_volume_claim_retention_policy=kept)
        await here.client.create(wanted)
        await here.until(lambda: is_whole(here, 2))
        assert claims() == {"data-web-0": ["StatefulSet"], "data-web-1": ["StatefulSet"]}
        one = await here.client.get(apps.StatefulSet, "web", "default")
        await here.client.update(changed(one, replicas=1))
        await here.until(lambda: is_whole(here, 1) and list(claims()) == ["data-web-0"])
        one = await here.client.get(apps.StatefulSet, "web", "default")
        policy = apps.StatefulSetPersistentVolumeClaimRetentionPolicy(when_deleted="Retain", when_scaled="Retain")
        await here.client.update(changed(one, replicas=2, persistent_volume_claim_retention_policy=policy))
        await here.until(lambda: is_whole(here, 2) and claims() == {"data-web-0": [], "data-web-1": []})


def daemons(here: World) -> dict[str, str]:
    """Node -> image of the pods that run."""
    return {one.spec.node_name: one.spec.containers[0].image for one in here.pods(**LABELS) if one.spec.node_name}


async def test_a_daemonset_has_a_pod_on_every_node_that_should_have_one(here: World) -> None:
    for number in range(3):
        await here.node(f"node-{number}", labels={"disk": "ssd"} if number else {})
    await here.node("tainted", taints=[core.Taint(key="a", value="b", effect="NoSchedule")], labels={"disk": "ssd"})
    async with nodes_that_work(here):
        await here.client.create(daemonset(template=template(node_selector={"disk": "ssd"})))
        await here.until(lambda: set(daemons(here)) == {"node-1", "node-2"})

        def said() -> tuple[int, ...]:
            one = here.get(apps.DaemonSet, "web")
            assert one is not None
            found = one.status
            return (
                found.desired_number_scheduled, found.current_number_scheduled, found.number_ready,
                found.number_available, found.updated_number_scheduled, found.number_misscheduled,
            )  # fmt: skip

        await here.until(lambda: said() == (2, 2, 2, 2, 2, 0))
        node = await here.client.get(core.Node, "node-0")
        node.metadata.labels["disk"] = "ssd"
        await here.client.update(node)
        await here.until(lambda: set(daemons(here)) == {"node-0", "node-1", "node-2"})
        # Cordoned: what is there stays, and a new one would come too, as upstream.
        node = await here.client.get(core.Node, "node-1")
        node.spec.unschedulable = True
        await here.client.update(node)
        pod = next(one for one in here.pods(**LABELS) if one.spec.node_name == "node-1")
        await here.client.delete(core.Pod, pod.metadata.name, "default")
        await here.until(
            lambda: (
                len(daemons(here)) == 3
                and pod.metadata.uid not in [one.metadata.uid for one in here.pods(**LABELS)]
                and said() == (3, 3, 3, 3, 3, 0)
            )
        )
        node = await here.client.get(core.Node, "node-2")
        node.metadata.labels.pop("disk")
        await here.client.update(node)
        await here.until(lambda: said() == (2, 2, 2, 2, 2, 0))
        await here.client.delete(core.Node, "node-1")
        await here.until(lambda: said()[0] == 1)


async def test_a_daemonset_is_renewed_node_by_node(here: World) -> None:
    for number in range(3):
        await here.node(f"node-{number}")
    least: list[int] = []
    async with nodes_that_work(here):
        await here.client.create(daemonset())
        await here.until(lambda: len(daemons(here)) == 3)

        def ready() -> int:
            return sum(
                any(each.type == "Ready" and each.status == "True" for each in one.status.conditions)
                for one in here.pods(**LABELS)
            )

        await here.until(lambda: ready() == 3)
        here.caches.of(core.Pod).subscribe(lambda old, new: least.append(ready()))
        least.clear()
        one = await here.client.get(apps.DaemonSet, "web", "default")
        await here.client.update(changed(one, template=template("v2")))
        await here.until(lambda: set(daemons(here).values()) == {"v2"} and ready() == 3)
        assert min(least) == 2
        await here.until(lambda: len(here.all(apps.ControllerRevision)) == 2)
        # With surge nothing is ever missing.
        least.clear()
        one = await here.client.get(apps.DaemonSet, "web", "default")
        one = codec.copy(one)
        rolling = apps.RollingUpdateDaemonSet(max_surge=1, max_unavailable=0)
        one.spec.update_strategy.rolling_update = rolling
        one.spec.template = template("v3")
        await here.client.update(one)
        await here.until(lambda: len(here.pods(**LABELS)) == 3 and set(daemons(here).values()) == {"v3"})
        assert min(least) >= 3 and max(least) <= 4
