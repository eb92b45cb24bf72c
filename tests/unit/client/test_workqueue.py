"""The work queue: once at a time, again when asked meanwhile, later after failures."""

from __future__ import annotations

import asyncio

from skerry.api.status import ApiError
from skerry.client import controller
from skerry.client.workqueue import Queue
from skerry.clock import FakeClock


async def test_a_key_is_worked_on_once_at_a_time() -> None:
    queue = Queue(FakeClock())
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_waiting_worker_is_woken() -> None:
    queue = Queue(FakeClock())
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 5) == "a"


async def test_later_means_later_and_the_earlier_wish_counts() -> None:
    clock = FakeClock()
    queue = Queue(clock)
    queue.add_after("a", 5)
    queue.add_after("a", 2)
    queue.add_after("a", 9)
    await clock.advance(1.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert len(queue) == 1
    await clock.advance(20)
    assert len(queue) == 1


async def test_failures_wait_twice_as_long_each_time() -> None:
    clock = FakeClock()
    queue = Queue(clock, base=1, limit=4)
    for pause in (1, 2, 4, 4):
        queue.retry("a")
        await clock.advance(pause - 0.1)
        assert len(queue) == 0
        await clock.advance(0.2)
        assert await queue.get() == "a"
        queue.done("a")
    queue.forget("a")
    queue.retry("a")
    await clock.advance(1.1)
    assert len(queue) == 1


async def test_the_loop_tries_again_until_it_works() -> None:
    clock = FakeClock()
    queue = Queue(clock, base=1)
    outcomes: list[Exception | None] = [ApiError(409, "again"), RuntimeError("odd"), None]
    done: list[str] = []

    async def sync(key: str) -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        done.append(key)

    running = asyncio.ensure_future(controller.run(queue, sync, workers=2))
    queue.add("a")
    await clock.advance(10)
    assert done == ["a"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
