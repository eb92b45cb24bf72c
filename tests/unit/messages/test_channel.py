"""Questions and answers over a socketpair."""

from __future__ import annotations

import asyncio
import os

import pytest

from skerry import packets
from skerry.channel import Channel
from skerry.packets import Message


def refuse(message: Message, fds: list[int]) -> None:
    raise AssertionError(message)


async def test_answers_find_their_questions_in_any_order() -> None:
    here, there = packets.pair()
    asked: list[Message] = []

    def receive(message: Message, fds: list[int]) -> None:
        asked.append(message)
        if len(asked) == 2:
            null = os.open(os.devnull, os.O_RDONLY)
            for question in reversed(asked):
                server.answer(question, {"got": question["word"]}, [null])
            os.close(null)

    server = Channel(there, receive)
    client = Channel(here, refuse)
    answers = await asyncio.gather(client.ask({"word": "one"}), client.ask({"word": "two"}))
    assert [answer["got"] for answer, _ in answers] == ["one", "two"]
    for _, fds in answers:
        assert len(fds) == 1
        os.close(fds[0])
    client.close()
    server.close()


async def test_what_nobody_waits_for_any_more_is_closed() -> None:
    here, there = packets.pair()
    client = Channel(here, refuse)
    asking = asyncio.create_task(client.ask({}))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    before = len(os.listdir("/proc/self/fd"))
    null = os.open(os.devnull, os.O_RDONLY)
    packets.send(there, {"answer": 1}, [null])
    os.close(null)
    packets.send(there, {"hello": 1})
    heard = asyncio.Event()
    client._receive = lambda message, fds: heard.set()
    await asyncio.wait_for(heard.wait(), 5)
    assert len(os.listdir("/proc/self/fd")) == before
    client.close()
    there.close()


async def test_more_than_the_socket_holds_waits_for_its_turn() -> None:
    here, there = packets.pair()
    client = Channel(here, refuse)
    for number in range(2000):
        client.tell({"number": number, "fill": "x" * 1000})
    got: list[int] = []
    done = asyncio.Event()

    def receive(message: Message, fds: list[int]) -> None:
        got.append(message["number"])
        if len(got) == 2000:
            done.set()

    server = Channel(there, receive)
    await asyncio.wait_for(done.wait(), 10)
    assert got == list(range(2000))
    client.close()
    server.close()


async def test_the_other_ends_death_is_noticed() -> None:
    here, there = packets.pair()
    gone = asyncio.Event()
    client = Channel(here, refuse, gone.set)
    asking = asyncio.create_task(client.ask({}))
    await asyncio.sleep(0)
    there.close()
    with pytest.raises(ConnectionError):
        await asking
    assert gone.is_set()
    with pytest.raises(ConnectionError):
        await client.ask({})
    client.tell({})
