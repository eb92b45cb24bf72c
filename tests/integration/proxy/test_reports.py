"""What a proxy tells in events, on a real API server: damage that it mended, health checks it cannot serve (P34)."""

from __future__ import annotations

import asyncio

from tests.helpers import server
from tests.unit.proxy.build import service

from skerry.api.types import core
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import SystemClock
from skerry.proxy.reports import Reports


async def test_p34_damage_and_health_checks_that_cannot_be_served_are_events() -> None:
    api = await server.start()
    await api.client.create(service("web"))
    informers = Informers(api.client)
    known = informers.of(core.Service)
    reports = Reports(Recorder(api.client, "skerry-proxy", "node-1", clock=SystemClock()), informers, "node-1")
    await informers.start()
    await known.synced()
    reports.repaired()
    reports.no_health_check("default/web", "node port 32123 cannot be listened on: Address already in use")
    reports.no_health_check("default/gone", "nobody is told of a Service that is not there")
    found: dict[str, core.Event] = {}
    async with asyncio.timeout(10):
        async for event in api.client.watch(core.Event, resource_version="0"):
            if event.type == "ADDED":
                found[event.object.reason] = event.object
            if len(found) == 2:
                break
    await informers.stop()
    damage, unserved = found["ServiceTableRepaired"], found["FailedToStartServiceHealthcheck"]
    assert (damage.type, damage.involved_object.kind, damage.involved_object.name) == ("Warning", "Node", "node-1")
    assert "somebody else had changed the kernel's service table of this node" in damage.message
    assert (unserved.type, unserved.involved_object.kind, unserved.involved_object.name) == (
        "Warning",
        "Service",
        "web",
    )
    assert unserved.message == "node port 32123 cannot be listened on: Address already in use"
