"""Events are written once and then counted."""

from __future__ import annotations

from tests.helpers import server as helper

from skerry.api.types import core, meta
from skerry.client.events import Recorder
from skerry.clock import FakeClock


async def test_a_repeated_event_is_counted() -> None:
    clock = FakeClock()
    server = await helper.start(clock)
    about = await server.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="a", namespace="default")))
    recorder = Recorder(server.client, "tester", "here", clock=clock)
    recorder.event(about, "Warning", "Bad", "it broke")
    await recorder.flush()
    await clock.advance(60)
    recorder.event(about, "Warning", "Bad", "it broke")
    recorder.event(about, "Normal", "Good", "it works")
    await recorder.flush()
    found = sorted((await server.client.list(core.Event, "default")).items, key=lambda one: one.reason)
    assert [(one.type, one.reason, one.count) for one in found] == [("Warning", "Bad", 2), ("Normal", "Good", 1)]
    assert found[0].source == core.EventSource(component="tester", host="here")
    assert (found[0].first_timestamp, found[0].last_timestamp) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")
    assert found[0].involved_object.uid == about.metadata.uid


async def test_the_same_of_two_containers_is_two_events() -> None:
    clock = FakeClock()
    server = await helper.start(clock)
    about = await server.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="a", namespace="default")))
    recorder = Recorder(server.client, "tester", clock=clock)
    for path in ("spec.containers{one}", "spec.containers{two}"):
        recorder.event(about, "Normal", "Started", "Container started", field_path=path)
    await recorder.flush()
    found = (await server.client.list(core.Event, "default")).items
    assert sorted((one.involved_object.field_path, one.count) for one in found) == [
        ("spec.containers{one}", 1),
        ("spec.containers{two}", 1),
    ]
