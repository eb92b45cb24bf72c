"""Durable writes per second, and how many events a second one, a hundred and a thousand watchers get.

    python bench/watches.py [--quick]

Beside it in the same run: etcd, asked over the same HTTP/1.1 for the same: values of the same size, on disk before they
are acknowledged, to as many watchers. That is its JSON gateway; over gRPC, for which it is made, it is faster. The API
server is one process, with all its controllers; this one writes over 16 connections and counts the lines that come.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator

import controlplane
from common import etcd_port, table

CONNECTIONS = 16
TEXT = "x" * 800
PATH = "/api/v1/namespaces/default/configmaps"
Ask = Callable[[int], tuple[str, bytes]]


class Target:
    """A server's port, and what to ask of it: `write(n)` and `watch` are a path and a body each."""

    def __init__(self, port: int, write: Ask, watch: tuple[str, str, bytes], event: bytes, begun: bytes) -> None:
        self.port, self.write, self.watch, self.event, self.begun = port, write, watch, event, begun


def request(method: str, path: str, body: bytes) -> bytes:
    who = f"Authorization: Bearer {controlplane.TOKEN}\r\n" if path.startswith("/api") else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{who}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def writes(target: Target, numbers: Iterator[int]) -> None:
    """Takes numbers and writes their objects over one connection until there are none left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
    for number in numbers:
        path, body = target.write(number)
        writer.write(request("POST", path, body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith((b"http/1.1 200", b"http/1.1 201")), head
        if b"\r\ntransfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            while await reader.readline() != b"\r\n":
                pass  # trailers
        else:
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
    writer.close()


class Watcher(asyncio.Protocol):
    """Counts events in what a watch sends, however it is cut into pieces."""

    def __init__(self, target: Target, watchers: Watchers) -> None:
        self._target, self._watchers, self._rest, self._begun = target, watchers, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        method, path, body = self._target.watch
        transport.write(request(method, path, body))

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        if not self._begun and self._target.begun in whole:
            self._begun = True
            self._watchers.began()
        mark = self._target.event
        self._watchers.saw(whole.count(mark))
        last = whole.rfind(mark)
        keep = whole[last + len(mark) :] if last >= 0 else whole
        self._rest = keep[-len(mark) + 1 :]


class Watchers:
    def __init__(self, wanted: int) -> None:
        self.ready, self.done = asyncio.Event(), asyncio.Event()
        self._missing, self._events, self._wanted = wanted, 0, -1

    def expect(self, events: int) -> None:
        self._events, self._wanted = 0, events
        self.done.clear()

    def began(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.ready.set()

    def saw(self, events: int) -> None:
        self._events += events
        if self._events == self._wanted:
            self.done.set()


async def once(target: Target, watchers: int, count: int, first: int) -> tuple[float, float]:
    """Seconds until `count` writes were acknowledged, and until every watcher had seen them all."""
    watching = Watchers(watchers)
    loop = asyncio.get_running_loop()
    made = [
        (await loop.create_connection(lambda: Watcher(target, watching), "127.0.0.1", target.port))[0]
        for _ in range(watchers)
    ]
    if made:
        await asyncio.wait_for(watching.ready.wait(), 60)
    watching.expect(watchers * count)
    numbers = iter(range(first, first + count))
    begun = time.perf_counter()
    await asyncio.gather(*(writes(target, numbers) for _ in range(CONNECTIONS)))
    written = time.perf_counter() - begun
    if made:
        await asyncio.wait_for(watching.done.wait(), 120)
    seen = time.perf_counter() - begun
    for transport in made:
        transport.close()
    return written, seen


def skerry(port: int) -> Target:
    def write(number: int) -> tuple[str, bytes]:
        body = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": f"c-{number}"}, "data": {"text": TEXT}}
        return PATH, json.dumps(body).encode()

    # The headers of the answer are the sign that it watches.
    watch = f"{PATH}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    return Target(port, write, ("GET", watch, b""), b'"ADDED"', b"\r\n\r\n")


def etcd(port: int) -> Target:
    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    def write(number: int) -> tuple[str, bytes]:
        # Skerry's objects carry metadata besides: about this much more.
        return "/v3/kv/put", json.dumps({"key": coded(f"/c/{number}"), "value": coded(TEXT + "x" * 250)}).encode()

    asked = {"create_request": {"key": coded("/c/"), "range_end": coded("/c0")}}
    return Target(port, write, ("POST", "/v3/watch", json.dumps(asked).encode()), b'"mod_revision"', b'"created"')


async def measured(target: Target, sizes: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Writes a second, and events a second, for each (watchers, writes)."""
    found, first = [], 0
    await once(target, 0, 200, 1_000_000)
    for watchers, count in sizes:
        written, seen = await once(target, watchers, count, first)
        first += count
        found.append((count / written, watchers * count / seen))
    return found


async def compare(quick: bool) -> None:
    sizes = [(0, 500), (1, 500), (20, 50)] if quick else [(0, 3000), (1, 3000), (100, 500), (1000, 50)]
    async with controlplane.serving([]) as running:
        ours = await measured(skerry(running.port), sizes)
    theirs: list[tuple[float, float]] = []
    with etcd_port() as etcds:
        if etcds:
            theirs = await measured(etcd(etcds), sizes)
    rows = []
    for index, (watchers, count) in enumerate(sizes):
        writing, events = ours[index]
        row = [watchers, count, f"{writing:.0f}", f"{events:.0f}" if watchers else "-"]
        if theirs:
            other = theirs[index]
            row += [f"{other[0]:.0f}", f"{other[1]:.0f}" if watchers else "-", f"{writing / other[0]:.2f}"]
            row += [f"{events / other[1]:.2f}" if watchers else "-"]
        rows.append(row)
    head = ["watchers", "writes", "writes/s", "events/s"]
    table(
        head + ["etcd: writes/s", "etcd: events/s", "writes: of etcd's", "events: of etcd's"][: len(rows[0]) - 4], rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer writes and watchers, to see that it works")
    asyncio.run(compare(parser.parse_args().quick))


if __name__ == "__main__":
    main()
