"""Who works now when many pods begin at once."""

from __future__ import annotations

import asyncio

from skerry.clock import FakeClock
from skerry.node.agent.turns import PATIENCE, Turns


class Works:
    """Pieces of work that say when they begin, and end when they are told."""

    def __init__(self, at_once: int) -> None:
        self.clock = FakeClock()
        self.turns = Turns(self.clock, at_once)
        self.begun: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def add(self, *names: str, urgent: bool = False) -> None:
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._work(name, urgent))
        await self.clock.settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.clock.settle()

    async def _work(self, name: str, urgent: bool) -> None:
        async with self.turns.turn(urgent=urgent):
            self.begun.append(name)
            await self._ends[name].wait()


async def test_a_few_at_a_time_and_the_urgent_first() -> None:
    works = Works(2)
    await works.add("a", "b", "c", "d")
    assert works.begun == ["a", "b"]
    await works.add("container", urgent=True)
    await works.end("b")
    assert works.begun == ["a", "b", "container"]
    await works.end("a")
    await works.end("container")
    assert works.begun == ["a", "b", "container", "c", "d"]


async def test_who_gives_up_takes_no_turn_away() -> None:
    works = Works(1)
    await works.add("a", "b", "c")
    works.tasks["b"].cancel()  # while it waits
    await works.end("a")
    assert works.begun == ["a", "c"]
    await works.add("d", "e")
    works.tasks["c"].cancel()  # while it works
    await works.clock.settle()
    assert works.begun == ["a", "c", "d"]
    await works.end("d")
    assert works.begun == ["a", "c", "d", "e"]


async def test_one_cancelled_in_the_moment_it_was_given_its_turn_hands_it_on() -> None:
    works = Works(1)
    async with works.turns.turn():
        await works.add("b", "c")
    works.tasks["b"].cancel()  # it has its turn, and has not run since
    await works.clock.settle()
    assert works.begun == ["c"]


async def test_who_takes_long_does_not_hold_the_others_up() -> None:
    works = Works(1)
    await works.add("stuck", "next")
    assert works.begun == ["stuck"]
    await works.clock.advance(PATIENCE)
    assert works.begun == ["stuck", "next"]
    await works.add("last")
    await works.end("stuck")  # whose turn was over: nobody begins for it
    assert works.begun == ["stuck", "next"]
    await works.end("next")
    assert works.begun == ["stuck", "next", "last"]
