"""Informers against the real server in this process, and against a transport that breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.helpers import server as helper

from skerry.api.status import ApiError
from skerry.api.types import core, meta
from skerry.apiserver.app import in_process
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.helpers.server import ApiServer

    from skerry.api.wire import Request, Response


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    made = await helper.start(window=16)
    yield made
    await made.store.close()


def config(name: str, **labels: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default", labels=labels))


class Log:
    """What a subscriber was told, and a way to wait for the next thing."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._more = asyncio.Event()

    def __call__(self, old: core.ConfigMap | None, new: core.ConfigMap | None) -> None:
        kind = "add" if old is None else "delete" if new is None else "change"
        obj = new or old
        assert obj is not None
        self.seen.append((kind, obj.metadata.name))
        self._more.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not done():
                self._more.clear()
                await self._more.wait()


async def test_it_follows_what_happens(server: ApiServer) -> None:
    await server.client.create(config("a"))
    informers = Informers(server.client)
    maps = informers.of(core.ConfigMap)
    assert informers.of(core.ConfigMap) is maps
    log = Log()
    maps.subscribe(log)
    await informers.start()
    await informers.synced()
    assert list(maps.items) == ["default/a"]
    await server.client.create(config("b"))
    await server.client.patch(core.ConfigMap, "b", {"data": {"k": "v"}}, "default")
    await server.client.delete(core.ConfigMap, "a", "default")
    await log.until(lambda: len(log.seen) == 4)
    assert log.seen == [("add", "a"), ("add", "b"), ("change", "b"), ("delete", "a")]
    late = Log()
    maps.subscribe(late)
    assert late.seen == [("add", "b")]
    await informers.stop()


async def test_indexes_follow_too(server: ApiServer) -> None:
    informers = Informers(server.client)
    maps = informers.of(core.ConfigMap)
    maps.add_index("app", lambda obj: [obj.metadata.labels[one] for one in ("app",) if one in obj.metadata.labels])
    log = Log()
    maps.subscribe(log)
    await informers.start()
    await server.client.create(config("a", app="x"))
    await log.until(lambda: len(log.seen) == 1)
    assert [one.metadata.name for one in maps.by_index("app", "x")] == ["a"]
    await server.client.patch(core.ConfigMap, "a", {"metadata": {"labels": {"app": "y"}}}, "default")
    await log.until(lambda: len(log.seen) == 2)
    assert maps.by_index("app", "x") == []
    assert [one.metadata.name for one in maps.by_index("app", "y")] == ["a"]
    await informers.stop()


async def test_after_an_outage_it_knows_what_happened_meanwhile(server: ApiServer) -> None:
    broken = False
    direct = in_process(server.app, helper.ADMIN)
    streams: list[asyncio.Event] = []
    watching = asyncio.Event()

    async def flaky(request: Request) -> Response:
        if broken:
            raise ApiError(503, "away")
        response = await direct(request)
        if not isinstance(response.body, bytes):
            inner, cut = response.body, asyncio.Event()
            streams.append(cut)
            watching.set()

            async def pieces() -> AsyncIterator[bytes]:
                ended = asyncio.ensure_future(cut.wait())
                while True:
                    piece = asyncio.ensure_future(anext(inner))
                    await asyncio.wait({piece, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if ended.done():
                        piece.cancel()
                        raise EOFError("cut")
                    yield piece.result()

            response.body = pieces()
        return response

    clock = FakeClock()
    informers = Informers(Client(flaky), clock)
    maps = informers.of(core.ConfigMap)
    log = Log()
    maps.subscribe(log)
    await server.client.create(config("a"))
    await informers.start()
    await informers.synced()
    await asyncio.wait_for(watching.wait(), 5)
    broken = True
    streams[-1].set()
    await server.client.delete(core.ConfigMap, "a", "default")
    for n in range(20):  # more than the window keeps: the watch cannot go on, the list must be read again
        await server.client.create(config(f"b{n}"))
    await clock.settle(50)
    await clock.advance(0.2)
    assert list(maps.items) == ["default/a"]
    broken = False
    await clock.advance(10)
    await log.until(lambda: len(log.seen) == 22)
    assert ("delete", "a") in log.seen
    assert len(maps.items) == 20
    await informers.stop()


async def test_a_subscriber_that_fails_does_not_stop_the_others(server: ApiServer) -> None:
    informers = Informers(server.client)
    maps = informers.of(core.ConfigMap)

    def bad(old: core.ConfigMap | None, new: core.ConfigMap | None) -> None:
        raise RuntimeError("mine")

    log = Log()
    maps.subscribe(bad)
    maps.subscribe(log)
    await informers.start()
    await server.client.create(config("a"))
    await log.until(lambda: len(log.seen) == 1)
    await informers.stop()
