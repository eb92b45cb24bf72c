"""Clients that read slowly or not at all: they are cut off or told 410, memory stays bounded, others see everything."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.edge import MAPS, PATIENCE, USUAL, Served, edges

from skerry.api.types import core, meta
from skerry.api.wire import Request
from skerry.apiserver.connections import Limits


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Any]:
    async with edges(tmp_path) as make:
        yield make


def small(path: str) -> socket.socket:
    """A connection of a reader that takes almost nothing: its end of it has no room."""
    made = socket.socket(socket.AF_UNIX)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(path)
    return made


def config(name: str, size: int) -> core.ConfigMap:
    return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), data={"k": "x" * size})


async def test_a_reader_that_does_not_read_a_list_is_cut_off(serve: Any) -> None:
    served: Served = await serve(Limits(stalled=0.15))
    for number in range(5):
        await served.client.create(config(f"c{number}", 400_000))
    reader = small(served.path)
    reader.sendall(f"GET {MAPS} HTTP/1.1\r\n".encode() + USUAL + b"\r\n")
    await asyncio.to_thread(_until_cut, reader, 2_000_000)
    await served.fine()


async def test_many_who_do_not_read_a_long_list_hold_no_copies_of_it(serve: Any) -> None:
    served: Served = await serve()
    for number in range(100):
        await served.client.create(config(f"c{number:02}", 100_000))
    base, readers = _rss(), [small(served.path) for _ in range(20)]
    for one in readers:
        one.sendall(f"GET {MAPS} HTTP/1.1\r\n".encode() + USUAL + b"\r\n")
        assert (await asyncio.to_thread(one.recv, 4096)).startswith(b"HTTP/1.1 200")
    await served.fine()
    assert _rss() - base < 60_000  # KiB; 20 copies would be 200,000
    whole = await served.client.raw("GET", MAPS)
    assert [one["metadata"]["name"] for one in json.loads(whole)["items"]] == [f"c{n:02}" for n in range(100)]
    for one in readers:
        one.close()


def _until_cut(reader: socket.socket, whole_size: int) -> None:
    """Waits without reading for the end of the connection; then there is less than the answer."""
    poll = select.poll()
    poll.register(reader, 0)  # hang-ups are told unasked
    assert poll.poll(PATIENCE * 1000), "the connection was not ended"
    got = 0
    reader.setblocking(False)
    try:
        while piece := reader.recv(1 << 16):
            got += len(piece)
    except OSError:
        pass
    assert got < whole_size
    reader.close()


async def test_a_watcher_that_does_not_read_costs_no_memory_and_others_see_everything(serve: Any) -> None:
    """It is cut off when nothing was taken for a while; until then it holds a bounded batch, not what came since."""
    served: Served = await serve(Limits(stalled=1.0), window=64)
    await served.client.create(config("a", 10))
    slow = small(served.path)
    slow.sendall(
        f"GET {MAPS}?watch=1&resourceVersion={served.api.store.revision} HTTP/1.1\r\n".encode() + USUAL + b"\r\n"
    )
    seen, follows = 0, asyncio.Condition()

    async def read() -> None:
        nonlocal seen
        response = await served.transport(
            Request("GET", MAPS, {"watch": "1", "resourceVersion": str(served.api.store.revision)})
        )
        assert not isinstance(response.body, bytes)
        async for piece in response.body:
            seen += piece.count(b"MODIFIED")
            async with follows:
                follows.notify_all()
            if seen >= 300:
                return

    reading = asyncio.create_task(read())
    await served.fine()
    own = await served.api.client.get(core.ConfigMap, "a", "default")
    base = _rss()
    for number in range(300):
        own.data = {"k": f"{number}" + "y" * 300_000}
        own = await served.api.client.update(own)
        async with follows:
            await follows.wait_for(lambda: seen >= number - 8)  # noqa: B023 - it is asked in this turn alone
    assert _rss() - base < 60_000  # KiB, of 90,000 that were written; 64 events are the window's
    await asyncio.wait_for(reading, PATIENCE)
    await asyncio.to_thread(_until_cut, slow, 90_000_000)


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


async def test_a_watcher_that_reads_again_too_late_is_told_410(serve: Any) -> None:
    served: Served = await serve(window=8)
    await served.client.create(config("a", 10))
    slow = small(served.path)
    slow.sendall(
        f"GET {MAPS}?watch=1&resourceVersion={served.api.store.revision} HTTP/1.1\r\n".encode() + USUAL + b"\r\n"
    )
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        said = await loop.sock_recv(slow, 4096)  # the head: it watches
    own = await served.api.client.get(core.ConfigMap, "a", "default")
    for number in range(40):
        own.data = {"k": f"{number}" + "y" * 100_000}
        own = await served.api.client.update(own)
        await served.fine()
    async with asyncio.timeout(PATIENCE):
        while b'"code":410' not in said[-2000:] and (piece := await loop.sock_recv(slow, 1 << 20)):
            said += piece
    slow.close()
    assert b'"type":"ERROR"' in said and b'"reason":"Expired"' in said
