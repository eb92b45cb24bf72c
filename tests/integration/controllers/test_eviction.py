"""Evictions and their budgets, with the real API server and the real controllers."""

from __future__ import annotations

import pytest
from tests.integration.controllers.world import World, changed, deployment, pod

from skerry.api import status
from skerry.api.types import core, meta, policy


def budget(name: str = "b", app: str = "web", **spec: int | str) -> policy.PodDisruptionBudget:
    selector = meta.LabelSelector(match_labels={"app": app})
    return policy.PodDisruptionBudget(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=policy.PodDisruptionBudgetSpec(selector=selector, **spec),  # type: ignore[arg-type]
    )


async def evict(here: World, pod: core.Pod, **options: object) -> None:
    made = policy.Eviction(
        metadata=meta.ObjectMeta(name=pod.metadata.name, namespace="default"),
        delete_options=meta.DeleteOptions(**options),  # type: ignore[arg-type]
    )
    await here.client.post(core.Pod, pod.metadata.name, "eviction", made, "default")


async def settled(here: World, name: str, allowed: int) -> policy.PodDisruptionBudget:
    """The budget, once its controller has said that so many may go."""
    async for event in here.client.watch(policy.PodDisruptionBudget, "default", resource_version="0"):
        found = event.object
        if event.type != "BOOKMARK" and found.metadata.name == name:
            said = found.status
            if said.observed_generation == found.metadata.generation and said.disruptions_allowed == allowed:
                return found
    raise AssertionError


async def running(here: World, replicas: int = 3) -> list[core.Pod]:
    await here.node()
    await here.client.create(deployment(replicas=replicas))
    pods = await here.until(lambda: len(here.pods(app="web")) == replicas and here.pods(app="web"))
    for one in pods:
        await here.until(lambda one=one: here.get(core.Pod, one.metadata.name).spec.node_name)  # type: ignore[misc, union-attr]
    return [await here.runs(one) for one in pods]


async def refusal(here: World, pod: core.Pod) -> status.ApiError:
    with pytest.raises(status.ApiError) as caught:
        await evict(here, pod)
    return caught.value


async def test_a_budget_lets_one_go_and_then_nobody_until_there_is_another(here: World) -> None:
    pods = await running(here)
    await here.client.create(budget(min_available=2))
    await settled(here, "b", 1)
    await evict(here, pods[0])
    going = await here.client.get(core.Pod, pods[0].metadata.name, "default")
    assert going.metadata.deletion_timestamp
    (why,) = (one for one in going.status.conditions if one.type == "DisruptionTarget")
    assert (why.status, why.reason, why.message) == ("True", "EvictionByEvictionAPI", "Eviction API: evicting")
    error = await refusal(here, pods[1])
    assert (error.code, error.reason) == (429, "TooManyRequests")
    assert error.message == "Cannot evict pod as it would violate the pod's disruption budget."
    causes = (error.details or {})["causes"]
    assert causes[0]["reason"] == "DisruptionBudget"
    assert causes[0]["message"].startswith("The disruption budget b needs 2 healthy pods and has ")
    await here.stopped(going)
    new = await here.until(
        lambda: [one for one in here.pods(app="web") if one.metadata.name not in {each.metadata.name for each in pods}]
    )
    await here.until(lambda: here.get(core.Pod, new[0].metadata.name).spec.node_name)  # type: ignore[union-attr]
    await here.runs(new[0])
    found = await settled(here, "b", 1)
    assert found.status.disrupted_pods == {} and found.status.current_healthy == 3
    await evict(here, pods[1])


async def test_two_evictions_at_once_do_not_share_one_permission(here: World) -> None:
    import asyncio

    pods = await running(here, 4)
    await here.client.create(budget(max_unavailable=1))
    await settled(here, "b", 1)
    results = await asyncio.gather(*(evict(here, one) for one in pods), return_exceptions=True)
    refused = [one for one in results if isinstance(one, status.ApiError)]
    assert len(refused) == 3 and {one.code for one in refused} == {429}
    assert len(here.pods(app="web")) >= 3


async def test_a_percentage_follows_the_scale_of_the_deployment(here: World) -> None:
    await running(here, 3)
    await here.client.create(budget(max_unavailable="50%"))
    found = await settled(here, "b", 2)
    assert (found.status.expected_pods, found.status.desired_healthy) == (3, 1)
    made = await here.client.get(type(deployment()), "web", "default")
    await here.client.update(changed(made, replicas=1))
    found = await settled(here, "b", 1)
    assert (found.status.expected_pods, found.status.desired_healthy) == (1, 0)


async def test_pods_that_nobody_made_have_no_scale_but_can_be_counted(here: World) -> None:
    await here.node()
    await here.runs(await here.client.create(pod("alone", {"app": "alone"}, node_name="node-1")))
    await here.client.create(budget("counted", "alone", min_available=0))
    await settled(here, "counted", 1)


async def test_who_is_not_ready_may_go_by_the_chosen_policy(here: World) -> None:
    pods = await running(here, 2)
    broken = await here.runs(pods[0], ready=False)
    await here.client.create(budget(min_available=2))
    await settled(here, "b", 0)
    assert (await refusal(here, broken)).code == 429
    made = await here.client.get(policy.PodDisruptionBudget, "b", "default")
    made.spec.unhealthy_pod_eviction_policy = "AlwaysAllow"
    await here.client.update(made)
    await evict(here, broken)
    assert (await refusal(here, pods[1])).code == 429


async def test_two_budgets_for_one_pod_are_refused(here: World) -> None:
    pods = await running(here, 2)
    await here.client.create(budget("one", min_available=0))
    await here.client.create(budget("two", min_available=0))
    error = await refusal(here, pods[0])
    assert error.code == 500
    assert error.message == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


async def test_a_dry_eviction_takes_nothing(here: World) -> None:
    pods = await running(here, 2)
    await here.client.create(budget(min_available=1))
    await settled(here, "b", 1)
    await evict(here, pods[0], dry_run=["All"])
    found = await here.client.get(policy.PodDisruptionBudget, "b", "default")
    assert found.status.disruptions_allowed == 1 and not found.status.disrupted_pods
    assert not (await here.client.get(core.Pod, pods[0].metadata.name, "default")).metadata.deletion_timestamp


async def test_an_eviction_without_a_budget_is_a_deletion(here: World) -> None:
    pods = await running(here, 1)
    made = policy.Eviction(metadata=meta.ObjectMeta(name="other", namespace="default"))
    with pytest.raises(status.ApiError, match="name in URL does not match name in Eviction object"):
        await here.client.post(core.Pod, pods[0].metadata.name, "eviction", made, "default")
    with pytest.raises(status.ApiError, match="UID in precondition: other"):
        await evict(here, pods[0], preconditions=meta.Preconditions(uid="other"))
    await evict(here, pods[0], grace_period_seconds=7)
    going = await here.client.get(core.Pod, pods[0].metadata.name, "default")
    assert going.metadata.deletion_grace_period_seconds == 7


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"min_available": 1, "max_unavailable": 1}, "minAvailable and maxUnavailable cannot be both set"),
        ({"min_available": -1}, "must be greater than or equal to 0"),
        ({"max_unavailable": "x"}, "a valid percent string must be"),
        ({"min_available": "101%"}, "must not be greater than 100%"),
        ({"min_available": 1, "unhealthy_pod_eviction_policy": "Never"}, 'supported values: "AlwaysAllow", "IfHealthy'),
    ],
)
async def test_a_bad_budget_is_refused(here: World, spec: dict[str, int | str], says: str) -> None:
    with pytest.raises(status.ApiError) as caught:
        await here.client.create(budget(**spec))
    assert caught.value.code == 422 and says in caught.value.message
