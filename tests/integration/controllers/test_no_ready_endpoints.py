"""The Warning event of a Service without ready endpoints: a real API server, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.integration.controllers import world
from tests.integration.controllers.world import World

from skerry.api.types import core, meta
from skerry.client.informer import Informers
from skerry.clock import FakeClock
from skerry.controllers.manager import Manager
from skerry.explain.events import GRACE, LONGEST, NoReadyEndpoints


class Told:
    """A world with the controller, and what it has said."""

    def __init__(self, here: World, clock: FakeClock) -> None:
        self.here, self.clock = here, clock

    def __call__(self) -> list[tuple[str, int]]:
        found = [one for one in self.here.all(core.Event) if one.reason == "NoReadyEndpoints"]
        return [(one.message, one.count) for one in sorted(found, key=lambda one: one.first_timestamp or "")]

    async def later(self, seconds: float) -> list[tuple[str, int]]:
        """What was said by then."""
        await self.clock.advance(seconds)
        for _ in range(5):
            await self.clock.settle(100)
        return self()

    async def lack(self, *names: str) -> None:
        """Returns when the Services say of themselves that they have no ready endpoint; a new one needs a second."""
        await self.clock.advance(1)
        await self.here.until(lambda: all(self.ready(name) == "False" for name in names))

    def ready(self, name: str) -> str:
        one = self.here.get(core.Service, name)
        told = one.status.conditions if one is not None else []
        return next((each.status for each in told if each.type == "EndpointsReady"), "")


@pytest.fixture
async def told() -> AsyncIterator[Told]:
    clock = FakeClock()
    async with world.world(clock) as here:
        informers = Informers(here.client, clock)
        controller = Manager([NoReadyEndpoints(here.client, clock, informers)])
        await informers.start()
        await informers.synced()
        yield Told(here, clock)
        await controller.stop()
        await informers.stop()


async def test_it_is_said_after_a_while_and_repeated_ever_more_seldom(told: Told) -> None:
    await told.here.client.create(world.pod("web-1", {"app": "wep"}))
    made = await told.here.client.create(world.service())
    await told.lack("web")
    message = "Pod web-1 has app=wep; the selector wants app=web."
    assert await told.later(GRACE - 3) == []
    assert await told.later(4) == [(message, 1)]
    (one,) = [each for each in told.here.all(core.Event) if each.reason == "NoReadyEndpoints"]
    assert (one.type, one.involved_object.kind, one.involved_object.uid) == ("Warning", "Service", made.metadata.uid)
    assert await told.later(GRACE - 3) == [(message, 1)]
    assert await told.later(4) == [(message, 2)]
    assert await told.later(2 * GRACE - 6) == [(message, 2)]
    assert await told.later(7) == [(message, 3)]
    await told.later(20 * LONGEST)
    before = told()[0][1]
    assert (await told.later(2 * LONGEST))[0][1] == before + 2


async def test_what_becomes_ready_in_time_or_was_never_to_have_endpoints_is_not_mentioned(told: Told) -> None:
    client = told.here.client
    for one in (world.service("none", selector={}), world.service("soon")):
        await client.create(one)
    name = core.ServiceSpec(type="ExternalName", external_name="example.com")
    await client.create(core.Service(metadata=meta.ObjectMeta(name="alias", namespace="default"), spec=name))
    await told.here.node()
    await told.lack("soon", "none")
    assert await told.later(GRACE / 2) == []
    pod = await client.create(world.pod("soon-1", {"app": "soon"}, node_name="node-1"))
    await told.here.runs(pod)
    await told.here.until(lambda: told.ready("soon") == "True")
    assert await told.later(GRACE) == []
    await told.here.runs(pod, ready=False)
    await told.lack("soon")
    assert await told.later(GRACE - 3) == [], "the time begins anew"
    assert len(await told.later(4)) == 1
    assert told()[0][0] == "No node of the cluster is Ready.", "its node has not been heard of for a minute"
    await client.delete(core.Service, "soon", "default")
    await told.here.until(lambda: told.here.get(core.Service, "soon") is None)
    assert [count for _, count in await told.later(10 * GRACE)] == [1]


async def test_another_reason_is_another_event(told: Told) -> None:
    await told.here.client.create(world.service())
    await told.lack("web")
    assert [count for _, count in await told.later(GRACE + 1)] == [1]
    await told.here.client.create(world.pod("far", namespace="kube-system"))
    found = await told.later(GRACE + 1)
    assert len(found) == 2 and found[1][0].startswith("Pod far of namespace kube-system would match"), found


async def test_many_at_once_take_their_time(told: Told) -> None:
    for number in range(30):
        await told.here.client.create(world.service(f"s-{number}"))
    await told.lack(*(f"s-{number}" for number in range(30)))
    await told.later(GRACE + 1)
    assert 10 <= len(told()) <= 25, "ten in a second, for two seconds"
    assert len(await told.later(4)) == 30
