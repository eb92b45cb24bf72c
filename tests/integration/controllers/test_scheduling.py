"""The scheduler against the real API server: what a waiting pod shows, what wakes it, gates, and making room."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.integration.controllers import world
from tests.integration.controllers.world import World

from skerry.api.types import core, meta, policy


def asking(name: str, cpu: str, **spec: Any) -> core.Pod:
    made = world.pod(name, **spec)
    made.spec.containers[0].resources = core.ResourceRequirements(requests={"cpu": cpu})
    return made


def scheduled(here: World, name: str) -> core.PodCondition | None:
    pod = here.get(core.Pod, name)
    return next((one for one in pod.status.conditions if one.type == "PodScheduled"), None) if pod else None


async def waits(here: World, name: str, message: str) -> core.PodCondition:
    """Until the pod says that it waits, and why."""

    def said() -> core.PodCondition | None:
        found = scheduled(here, name)
        return found if found is not None and (found.status, found.message) == ("False", message) else None

    found = await here.until(said)
    assert found is not None
    return found


async def runs_on(here: World, name: str) -> str:
    return await here.until(lambda: (pod := here.get(core.Pod, name)) and pod.spec.node_name) or ""


FULL = (
    "0/1 nodes are available: 1 Insufficient cpu. "
    "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)


async def test_a_pod_that_waits_says_why_once_and_is_woken_by_room(here: World) -> None:
    await here.node()
    await here.client.create(asking("big", "3"))
    assert await runs_on(here, "big") == "node-1"
    await here.client.create(asking("late", "2"))
    condition = await waits(here, "late", FULL)
    assert (condition.reason, condition.last_transition_time is not None) == ("Unschedulable", True)
    assert condition.observed_generation == 1
    await here.until(lambda: FULL in here.events("FailedScheduling"))
    # What cannot help wakes nobody: another node that is full, a pod that has nothing to do with it.
    await here.node("node-2", unschedulable=True)
    await here.client.create(world.pod("small"))
    assert await runs_on(here, "small") == "node-1"
    assert [one.reason for one in here.all(core.Event) if one.reason == "FailedScheduling"] == ["FailedScheduling"]
    assert scheduled(here, "late") == condition
    await here.client.delete(core.Pod, "big", "default", grace_period_seconds=0)
    assert await runs_on(here, "late") == "node-1"
    done = scheduled(here, "late")
    assert done is not None and done.status == "True"
    await here.until(lambda: "Successfully assigned default/late to node-1" in here.events("Scheduled"))


async def test_a_node_wakes_those_that_it_suits(here: World) -> None:
    await here.client.create(world.pod("any"))
    await waits(here, "any", "no nodes available to schedule pods")
    await here.client.create(world.pod("ssd", node_selector={"disk": "ssd"}))
    await waits(here, "ssd", "no nodes available to schedule pods")
    node = await here.node(unschedulable=True)
    await here.client.update(msgspec.structs.replace(node, spec=core.NodeSpec()))
    assert await runs_on(here, "any") == "node-1"
    node = await here.client.get(core.Node, "node-1")
    node.metadata.labels["disk"] = "ssd"
    await here.client.update(node)
    assert await runs_on(here, "ssd") == "node-1"


async def test_pods_wait_for_pods(here: World) -> None:
    """Affinity: the other comes, by its labels; anti-affinity: the other leaves."""
    await here.node(labels={"kubernetes.io/hostname": "node-1"})
    term = core.PodAffinityTerm(
        topology_key="kubernetes.io/hostname", label_selector=meta.LabelSelector(match_labels={"app": "db"})
    )
    near = core.Affinity(pod_affinity=core.PodAffinity(required_during_scheduling_ignored_during_execution=[term]))
    far = core.Affinity(
        pod_anti_affinity=core.PodAntiAffinity(required_during_scheduling_ignored_during_execution=[term])
    )
    sentence = "0/1 nodes are available: 1 node(s) didn't match pod affinity rules. "
    useless = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    await here.client.create(world.pod("web", affinity=near))
    await waits(here, "web", sentence + useless)
    await here.client.create(world.pod("db", {"app": "none"}))
    await runs_on(here, "db")
    await here.client.patch(core.Pod, "db", {"metadata": {"labels": {"app": "db"}}}, "default")
    assert await runs_on(here, "web") == "node-1"
    await here.client.create(world.pod("loner", affinity=far))
    sentence = "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. "
    await waits(here, "loner", sentence + FULL.partition(". ")[2])
    await here.client.delete(core.Pod, "db", "default", grace_period_seconds=0)
    assert await runs_on(here, "loner") == "node-1"


async def test_gates_and_other_schedulers(here: World) -> None:
    await here.node()
    await here.client.create(world.pod("foreign", scheduler_name="mine"))
    await here.client.create(world.pod("gated", scheduling_gates=[core.PodSchedulingGate(name="example.com/wait")]))
    await here.client.create(world.pod("plain"))
    await runs_on(here, "plain")
    gated, foreign = here.get(core.Pod, "gated"), here.get(core.Pod, "foreign")
    assert gated is not None and foreign is not None
    assert (gated.spec.node_name, foreign.spec.node_name, foreign.status.conditions) == ("", "", [])
    condition = scheduled(here, "gated")
    assert condition is not None and condition.reason == "SchedulingGated"
    await here.client.patch(core.Pod, "gated", {"spec": {"schedulingGates": []}}, "default")
    assert await runs_on(here, "gated") == "node-1"


async def test_the_more_important_pod_goes_first_and_makes_room(here: World) -> None:
    critical: dict[str, Any] = {"priority": 2000000000, "priority_class_name": "system-cluster-critical"}
    await here.client.create(asking("least", "4"))
    await here.client.create(asking("most", "4", **critical))
    for name in ("least", "most"):
        await waits(here, name, "no nodes available to schedule pods")
    await here.node()
    assert await runs_on(here, "most") == "node-1"
    await waits(here, "least", FULL)
    # Room is made: the victim is told why, and the place is kept until it has gone.
    await here.node("node-2")
    assert await runs_on(here, "least") == "node-2"
    await here.client.create(asking("vip", "4", **critical))
    victim = await here.until(lambda: (pod := here.get(core.Pod, "least")) and pod.metadata.deletion_timestamp and pod)
    assert isinstance(victim, core.Pod)
    [told] = [one for one in victim.status.conditions if one.type == "DisruptionTarget"]
    assert (told.status, told.reason) == ("True", "PreemptionByScheduler")
    assert told.message == "default-scheduler: preempting to accommodate a higher priority pod"
    vip = await here.until(lambda: (pod := here.get(core.Pod, "vip")) and pod.status.nominated_node_name and pod)
    assert isinstance(vip, core.Pod) and vip.status.nominated_node_name == "node-2"
    await waits(here, "vip", "0/2 nodes are available: 2 Insufficient cpu.")
    await here.until(lambda: f"Preempted by pod {vip.metadata.uid} on node node-2" in here.events("Preempted"))
    await here.client.create(asking("thief", "4"))
    await here.until(lambda: scheduled(here, "thief"))
    await here.stopped(victim)
    assert await runs_on(here, "vip") == "node-2"
    thief = here.get(core.Pod, "thief")
    assert thief is not None and thief.spec.node_name == ""


async def test_who_makes_room_is_chosen_by_budgets(here: World) -> None:
    """Of two alike nodes the one whose pod nobody protects is emptied, though it was the other's turn by name."""
    await here.node("node-1")
    await here.client.create(asking("kept", "4"))
    assert await runs_on(here, "kept") == "node-1"
    await here.node("node-2")
    await here.client.create(asking("free", "4", labels={"app": "free"}))
    assert await runs_on(here, "free") == "node-2"
    kept = here.get(core.Pod, "kept")
    assert kept is not None
    await here.runs(kept)
    selector = meta.LabelSelector(match_labels=kept.metadata.labels)
    budget = policy.PodDisruptionBudget(
        metadata=meta.ObjectMeta(name="b", namespace="default"),
        spec=policy.PodDisruptionBudgetSpec(min_available=1, selector=selector),
    )
    await here.client.create(budget)
    await here.client.create(asking("vip", "4", priority_class_name="system-cluster-critical"))
    vip = await here.until(lambda: (pod := here.get(core.Pod, "vip")) and pod.status.nominated_node_name and pod)
    assert isinstance(vip, core.Pod) and vip.status.nominated_node_name == "node-2"
    victim = await here.until(lambda: (pod := here.get(core.Pod, "free")) and pod.metadata.deletion_timestamp)
    assert victim


async def test_bindings_under_way_are_counted() -> None:
    """The cache shows no binding at all, and still no node gets more than it has."""
    async with world.world(lagging=True) as here:
        assert isinstance(here.controllers, world.Lagging)
        for name in ("node-1", "node-2"):
            await here.node(name)
        await here.client.create(world.pod("first"))
        await runs_on(here, "first")
        for n in range(8):
            await here.client.create(asking(f"p{n}", "1500m"))
        here.controllers.hold(core.Pod)
        await here.until(lambda: len([one for one in here.all(core.Pod) if one.spec.node_name]) >= 1)
        here.controllers.release()
        await here.until(lambda: all(scheduled(here, f"p{n}") for n in range(8)))
        placed = [one.spec.node_name for one in here.all(core.Pod) if one.metadata.name.startswith("p")]
        assert sorted(filter(None, placed)) == ["node-1", "node-1", "node-2", "node-2"]
