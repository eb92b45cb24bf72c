"""Events go an hour after they were last seen."""

from __future__ import annotations

import asyncio

from tests.helpers import server as helper

from skerry.api.types import core, meta
from skerry.client.events import Recorder
from skerry.clock import FakeClock
from skerry.controllers.eventage import EventAgeController


async def test_an_event_goes_when_it_has_not_been_seen_for_an_hour() -> None:
    clock = FakeClock()
    api = await helper.start(clock)
    pod = core.ConfigMap(metadata=meta.ObjectMeta(name="web", namespace="default", uid="u"))
    recorder = Recorder(api.client, "test", clock=clock)
    sweeping = asyncio.create_task(EventAgeController(api.client, clock).run())

    async def there() -> list[str]:
        return sorted(event.reason for event in (await api.client.list(core.Event)).items)

    recorder.event(pod, "Normal", "Once", "it happened")
    recorder.event(pod, "Warning", "Again", "and again")
    await recorder.flush()
    await clock.advance(3000)
    recorder.event(pod, "Warning", "Again", "and again")
    await recorder.flush()
    assert await there() == ["Again", "Once"]
    await clock.advance(1200)
    assert await there() == ["Again"]
    await clock.advance(3600)
    assert await there() == []
    recorder.event(pod, "Warning", "Again", "and again")  # what it is told next is a new one
    await recorder.flush()
    assert await there() == ["Again"]
    assert not sweeping.done()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    await api.store.close()
