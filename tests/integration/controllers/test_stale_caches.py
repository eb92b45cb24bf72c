"""Controllers whose caches are behind: they decide on what they wrote themselves, and never on less (E46, L12)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.integration.controllers import world
from tests.integration.controllers.world import Lagging, World

from skerry.api import codec
from skerry.api.types import apps, core, discovery
from skerry.clock import FakeClock


@pytest.fixture
async def behind() -> AsyncIterator[World]:
    async with world.world(lagging=True) as made:
        yield made


def lag(here: World) -> Lagging:
    assert isinstance(here.controllers, Lagging)
    return here.controllers


async def test_pods_are_not_made_twice_while_their_events_are_late(behind: World) -> None:
    here = behind
    lag(here).hold(core.Pod)
    await here.client.create(world.deployment(replicas=3))
    await here.until(lambda: len(here.pods()) == 3)
    [one] = here.all(apps.ReplicaSet)
    for n in range(5):  # brings the ReplicaSet back again and again
        change = {"metadata": {"annotations": {"n": str(n)}}}
        await here.client.patch(apps.ReplicaSet, one.metadata.name, change, "default")
        await FakeClock.settle(100)
    assert len(here.all(core.Pod)) == 3
    await here.client.patch(apps.Deployment, "web", {"spec": {"replicas": 1}}, "default")
    await here.until(lambda: len(here.pods()) == 1)
    for n in range(5):
        change = {"metadata": {"annotations": {"m": str(n)}}}
        await here.client.patch(apps.ReplicaSet, one.metadata.name, change, "default")
        await FakeClock.settle(100)
    assert len(here.pods()) == 1
    assert len([one for one in lag(here).asked if one.startswith("DELETE")]) == 2
    lag(here).release()
    await here.until(lambda: (d := here.get(apps.Deployment, "web")) and d.status.replicas == 1)
    await FakeClock.settle(500)
    assert len(here.pods()) == 1


async def test_replica_sets_are_not_made_twice(behind: World) -> None:
    here = behind
    lag(here).hold(apps.ReplicaSet)
    await here.client.create(world.deployment(replicas=2))
    await here.until(lambda: here.all(apps.ReplicaSet))
    for n in range(5):
        await here.client.patch(apps.Deployment, "web", {"metadata": {"annotations": {"n": str(n)}}}, "default")
        await FakeClock.settle(100)
    assert len(here.all(apps.ReplicaSet)) == 1
    lag(here).release()
    await here.until(lambda: len(here.pods()) == 2)


async def test_endpoints_follow_while_the_events_of_their_own_writes_are_late(behind: World) -> None:
    here = behind
    await here.node()
    await here.client.create(world.service())
    pods = [await here.client.create(world.pod(f"web-{n}", node_name="node-1")) for n in range(3)]
    pods = [await here.runs(one) for one in pods]
    ips = sorted(one.status.pod_ip for one in pods)
    await here.until(lambda: here.addresses("web")[0] == ips == here.sliced("web")[0])
    lag(here).hold(core.Endpoints, discovery.EndpointSlice)
    for one in pods:
        await here.runs(one, ready=False)
        await here.until(lambda ip=one.status.pod_ip: ip in here.addresses("web")[1] and ip in here.sliced("web")[1])
    for one in pods:
        await here.runs(one)
        await here.until(lambda ip=one.status.pod_ip: ip in here.addresses("web")[0] and ip in here.sliced("web")[0])
    lag(here).release()
    await FakeClock.settle(500)
    assert here.addresses("web")[0] == ips == here.sliced("web")[0]


async def test_a_write_that_somebody_else_forestalled_waits_for_the_news(behind: World) -> None:
    here = behind
    await here.node()
    await here.client.create(world.service())
    one = await here.runs(await here.client.create(world.pod("web-1", node_name="node-1")))
    await here.until(lambda: here.addresses("web")[0] and here.sliced("web")[0])
    lag(here).hold(core.Endpoints, discovery.EndpointSlice)
    spoilt = codec.copy(await here.client.get(core.Endpoints, "web", "default"))
    spoilt.metadata.annotations["mine"] = "kept"
    await here.client.update(spoilt)
    [cut] = [codec.copy(each) for each in here.slices("web")]
    cut.endpoints = []
    await here.client.update(cut)
    await here.runs(one, ready=False)
    await lag(here).refused("endpoints", "endpointslices")
    await FakeClock.settle(500)
    # They were refused and know that they are behind: nothing is written, nothing polled.
    assert here.addresses("web") == ([one.status.pod_ip], [])
    asked = [each for each in lag(here).asked if "endpoint" in each]
    await here.clock.sleep(0.1)  # long enough for several retries
    assert [each for each in lag(here).asked if "endpoint" in each] == asked
    lag(here).release()
    await here.until(lambda: here.addresses("web") == ([], [one.status.pod_ip]) == here.sliced("web"))
    found = here.get(core.Endpoints, "web")
    assert found is not None and found.metadata.annotations["mine"] == "kept"
