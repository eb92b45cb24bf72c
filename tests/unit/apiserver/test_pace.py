"""Many watchers are written to in rounds, few at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

from tests.helpers import server as helper

from skerry.api.types import core, meta
from skerry.api.wire import Request
from skerry.apiserver.pace import FEW, TURN, Pace
from skerry.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"


async def begun(server: helper.ApiServer) -> AsyncIterator[bytes]:
    """A watch that has sent its header."""
    query = {"watch": "true", "sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
    body = cast(AsyncIterator[bytes], (await server.app(Request("GET", MAPS, query, user=helper.ADMIN))).body)
    assert await anext(body) == b""
    return body


async def make(server: helper.ApiServer, *names: str) -> None:
    for name in names:
        await server.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default")))


async def test_few_watchers_get_each_event_at_once() -> None:
    server = await helper.start(FakeClock())
    body = await begun(server)
    for name in ("a", "b"):
        await make(server, name)
        assert (await asyncio.wait_for(anext(body), 5)).count(b"\n") == 1
    await server.store.close()


async def test_many_watchers_get_together_what_came_during_a_round() -> None:
    clock = FakeClock()
    server = await helper.start(clock)
    bodies = [await begun(server) for _ in range(FEW + 1)]
    waiting = [asyncio.create_task(anext(one)) for one in bodies]  # type: ignore[arg-type]
    await clock.settle()
    await make(server, "a")
    assert [one.count(b"\n") for one in await asyncio.wait_for(asyncio.gather(*waiting), 5)] == [1] * len(bodies)
    second = asyncio.create_task(anext(bodies[0]))  # type: ignore[arg-type]
    await make(server, "b", "c")
    await clock.settle()
    assert not second.done()
    await clock.advance(TURN * (FEW + 1))
    assert (await asyncio.wait_for(second, 5)).count(b"\n") == 2
    await server.store.close()


def test_who_has_gone_is_not_waited_for() -> None:
    pace = Pace()
    with pace.watcher():
        for _ in range(FEW):
            with pace.watcher():
                pass
        assert pace.pause == 0
