"""The API server under load: writes that are on disk, reads, lists and watches, over TLS from another process.

    python bench/api.py [--quick] [--plot docs/images/api.png]

Beside it in the same run: etcd for writes (its JSON gateway, over plain HTTP, values of the same size), and a bare
handler behind the same edge, which stores what it is sent and answers with ready bytes. The server is one process
without controllers; pods are of 2.7 KB. CPU is the server's own and moves less than seconds do when the machine has
other work.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import controlplane
import msgspec
import uvloop
from common import cpu_seconds, etcd_port, pss, table
from controlplane import Running

from skerry.api import codec
from skerry.api.types import core
from skerry.api.types.meta import ObjectMeta

PODS = "/api/v1/namespaces/default/pods"
WATCH = f"{PODS}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
CONNECTIONS = 32
Ask = tuple[str, str, bytes]  # method, path, body


def pod(name: str, number: int) -> core.Pod:
    """2.7 KB as it is stored, the usual size of one; every one of 5,000 has a label of its own."""
    made = controlplane.pod(name, f"app-{number % 5000}", number, ready=True)
    made.spec.containers[0].env = [core.EnvVar(name=f"VARIABLE_{n}", value="x" * 40) for n in range(16)]
    made.metadata.annotations = {"example.com/made-by": "bench", "example.com/note": "x" * 200}
    return made


def create(prefix: str, number: int) -> Ask:
    made = pod(f"{prefix}-{number}", number)
    made = msgspec.structs.replace(made, status=core.PodStatus())
    made.spec.node_name = ""
    said = made.metadata
    made.metadata = ObjectMeta(name=said.name, labels=said.labels, annotations=said.annotations)
    return "POST", PODS, codec.encode(made)


def get(prefix: str, number: int) -> Ask:
    return "GET", f"{PODS}/{prefix}-{number}", b""


def delete(prefix: str, number: int) -> Ask:
    return "DELETE", f"{PODS}/{prefix}-{number}", b""


def ready(prefix: str, number: int) -> Ask:
    """What a node says when a probe has changed its mind."""
    change = {"status": {"conditions": [{"type": "Ready", "status": str(number % 2 == 0)}]}}
    return "PATCH", f"{PODS}/{prefix}-{number}/status", json.dumps(change).encode()


def message(ask: Ask) -> bytes:
    method, path, body = ask
    kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
    who = f"Authorization: Bearer {controlplane.TOKEN}\r\n" if path.startswith("/api") else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{who}"
        f"Accept: application/json\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Asker(asyncio.Protocol):
    """Sends one request after another over its connection; `done` says how long each took."""

    def __init__(self, messages: Iterator[bytes], times: list[float]) -> None:
        self._messages, self._times = messages, times
        self._missing, self._head, self._begun = 0, b"", 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self) -> None:
        one = next(self._messages, None)
        if one is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self._begun = time.perf_counter()
        self._transport.write(one)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._head[:end].lower()
            if head[9:10] != b"2":
                self.done.set_exception(AssertionError(self._head.decode()))
                return
            at = head.find(b"content-length: ")
            if at >= 0:
                self._missing = int(head[at + 16 :].partition(b"\r")[0]) - (len(self._head) - end - 4)
            elif not (b"\r\n0\r\n" in self._head and self._head.endswith(b"\r\n\r\n")):
                return  # etcd's chunks, and what it sends behind them
            self._head = b""
        if not self._missing:
            self._times.append(time.perf_counter() - self._begun)
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or EOFError("the server closed the connection"))


@dataclass
class Measured:
    """What so many requests took: seconds, the server's CPU seconds, and each one's seconds."""

    count: int
    seconds: float
    cpu: float
    times: list[float]

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def row(self, what: str) -> list[str]:
        slow = sorted(self.times)[int(0.99 * len(self.times))]
        middle = sorted(self.times)[len(self.times) // 2]
        cost = f"{1e6 * self.cpu / self.count:.0f}"
        return [what, f"{self.count:,}", f"{self.rate:,.0f}", f"{1000 * middle:.1f}", f"{1000 * slow:.1f}", cost]


async def load(port: int, tls: Any, pid: int, asks: Sequence[Ask], connections: int = CONNECTIONS) -> Measured:
    """Sends all requests, one at a time over each connection."""
    loop = asyncio.get_running_loop()
    messages, times = iter([message(one) for one in asks]), list[float]()
    name = "localhost" if tls else None
    made = []
    for _ in range(connections):
        _, asker = await loop.create_connection(
            lambda: Asker(messages, times), "127.0.0.1", port, ssl=tls, server_hostname=name
        )
        made.append(asker)
    before, begun = cpu_seconds([pid]), time.perf_counter()
    for one in made:
        one.send()
    await asyncio.gather(*(one.done for one in made))
    return Measured(len(asks), time.perf_counter() - begun, cpu_seconds([pid]) - before, times)


def to(running: Running, asks: Sequence[Ask], connections: int = CONNECTIONS) -> Any:
    return load(running.port, running.tls, running.pid, asks, connections)


class Watcher(asyncio.Protocol):
    """Counts events in what a watch sends, however it is cut into pieces."""

    def __init__(self, path: str, watchers: Watchers) -> None:
        self._path, self._watchers, self._rest, self._begun = path, watchers, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(message(("GET", self._path, b"")))

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        if not self._begun and b"\r\n\r\n" in whole:  # headers are the sign that it watches
            self._begun = True
            self._watchers.began()
        mark = b'{"type":"'
        self._watchers.saw(whole.count(mark))
        last = whole.rfind(mark)
        keep = whole[last + len(mark) :] if last >= 0 else whole
        self._rest = keep[-len(mark) + 1 :]


class Watchers:
    """Open watches, and how many events they have seen together."""

    def __init__(self, wanted: int) -> None:
        self.ready, self.done = asyncio.Event(), asyncio.Event()
        self._missing, self._events, self.wanted = wanted, 0, -1

    def began(self) -> None:
        self._missing -= 1
        if not self._missing:
            self.ready.set()

    def saw(self, events: int) -> None:
        self._events += events
        if self._events == self.wanted:
            self.done.set()


@asynccontextmanager
async def watching(running: Running, count: int) -> AsyncIterator[Watchers]:
    """So many watches of all pods, that have begun."""
    loop, watchers = asyncio.get_running_loop(), Watchers(count)
    made = []
    for _ in range(count):
        transport, _ = await loop.create_connection(
            lambda: Watcher(WATCH, watchers), "127.0.0.1", running.port, ssl=running.tls, server_hostname="localhost"
        )
        made.append(transport)
    async with asyncio.timeout(60):
        await watchers.ready.wait()
    yield watchers
    for one in made:
        one.abort()


async def fan_out(running: Running, watchers: int, writes: int) -> tuple[float, float]:
    """Events a second, and CPU of the server in µs an event, to so many watchers while so many pods are made."""
    async with watching(running, watchers) as seen:
        seen.wanted = watchers * 200
        await to(running, [create("warm", n) for n in range(200)])
        await seen.done.wait()
        seen.done.clear()
        seen.wanted += watchers * writes
        before, begun = cpu_seconds([running.pid]), time.perf_counter()
        await to(running, [create("watched", n) for n in range(writes)])
        async with asyncio.timeout(120):
            await seen.done.wait()
        events, cpu = watchers * writes, cpu_seconds([running.pid]) - before
        return events / (time.perf_counter() - begun), 1e6 * cpu / events


async def ours(size: int, count: int) -> tuple[dict[str, Measured], float, int]:
    """Each verb with so many pods in the store; the server's memory in MB with them, and the size of their list."""
    found: dict[str, Measured] = {}
    async with controlplane.serving([pod(f"pod-{n}", n) for n in range(size)], tls=True, controllers=False) as running:
        memory = pss([running.pid])
        await to(running, [create("warm", n) for n in range(200)])
        found["create"] = await to(running, [create("new", n) for n in range(count)])
        found["get"] = await to(running, [get("pod", n % size) for n in range(2 * count)])
        found["status patch"] = await to(running, [ready("pod", n % size) for n in range(count)])
        found["delete"] = await to(running, [delete("new", n) for n in range(count)])
        await to(running, [delete("warm", n) for n in range(200)])
        listed = len(await running.client.raw("GET", PODS))
        found["list, all"] = await to(running, [("GET", PODS, b"")] * max(3, 50_000 // size), 1)
        found["list, a page of 500"] = await to(running, [("GET", f"{PODS}?limit=500", b"")] * 50, 1)
        some = [("GET", f"{PODS}?labelSelector=app%3Dapp-{n}", b"") for n in range(400)]
        found["list, by a label"] = await to(running, some, 1)  # the first two look at everything
    return found, memory, listed


async def bare(size: int, count: int) -> Measured:
    """The same edge over a handler that has its answer ready, of so many bytes."""
    async with controlplane.serving([], tls=True, bare=size) as running:
        await to(running, [get("pod", n) for n in range(200)])
        return await to(running, [get("pod", n) for n in range(count)], CONNECTIONS if size < 1 << 16 else 1)


async def bare_creates(count: int) -> Measured:
    """The same edge over a handler that stores what it is sent, as durably, and looks at nothing."""
    async with controlplane.serving([], tls=True, bare=1) as running:
        await to(running, [create("warm", n) for n in range(200)])
        return await to(running, [create("new", n) for n in range(count)])


async def etcd(count: int) -> tuple[Measured, Measured] | None:
    """Puts and deletes of values of the same size."""

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    def put(number: int) -> Ask:
        body = {"key": coded(f"/pods/{number}"), "value": base64.b64encode(codec.encode(pod("pod", number))).decode()}
        return "POST", "/v3/kv/put", json.dumps(body).encode()

    def drop(number: int) -> Ask:
        return "POST", "/v3/kv/deleterange", json.dumps({"key": coded(f"/pods/{number}")}).encode()

    with etcd_port() as port:
        if port is None:
            return None
        await load(port, None, 0, [put(1_000_000 + n) for n in range(200)])
        return (
            await load(port, None, 0, [put(n) for n in range(count)]),
            await load(port, None, 0, [drop(n) for n in range(count)]),
        )


def _ratio(one: Measured, other: Measured | None) -> str:
    return f"{one.rate / other.rate:.2f}" if other is not None else "-"


async def measure(quick: bool) -> dict[int, dict[str, Measured]]:
    sizes = (1000, 5000) if quick else (1000, 5000, 20_000, 100_000)
    count = 500 if quick else 4000
    found: dict[int, dict[str, Measured]] = {}
    memory: dict[int, float] = {}
    listed = 0
    for size in sizes:
        found[size], memory[size], length = await ours(size, count)
        listed = length if size == 5000 else listed
    beside = await etcd(count)
    floor = {
        "create": await bare_creates(count),
        "get": await bare(len(codec.encode(pod("pod", 1))), 2 * count),
        "list, all": await bare(listed, 10),
    }
    puts, drops = beside or (None, None)
    etcds = {"create": puts, "delete": drops}
    print(f"5,000 pods in the store, {CONNECTIONS} connections (lists: one)")
    head = ("what", "how many", "a second", "p50, ms", "p99, ms", "server's CPU, µs", "of etcd", "of a bare handler")
    rows = [
        [*one.row(what), _ratio(one, etcds.get(what)), _ratio(one, floor.get(what))]
        for what, one in found[5000].items()
    ]
    rows += [[*one.row(f"a bare handler: {what}"), "-", "-"] for what, one in floor.items()]
    rows += [[*one.row(f"etcd: {what}")[:-1], "-", "-", "-"] for what, one in etcds.items() if one is not None]
    table(head, rows)
    print(f"The list of 5,000 pods has {listed / 1e6:.1f} MB.\n")
    print("Server's CPU, µs each, with so many pods in the store")
    rows = [[what, *(found[size][what].row("")[-1] for size in sizes)] for what in found[5000]]
    table(("what", *(f"{size:,}" for size in sizes)), rows)
    table(("pods", "memory of the server, MB"), [(f"{size:,}", f"{one:.0f}") for size, one in memory.items()])
    async with controlplane.serving([], tls=True, controllers=False) as running:
        rate, cost = await fan_out(running, 20 if quick else 100, 100 if quick else 1000)
    print(f"Watch events to {20 if quick else 100} watchers: {rate:,.0f} a second, {cost:.1f} µs of CPU each.")
    watches = 100 if quick else 1000
    async with controlplane.serving([], tls=True, controllers=False) as running:
        before = pss([running.pid])
        async with watching(running, watches):
            each = 1024 * (pss([running.pid]) - before) / watches
    print(f"{watches:,} idle watches: {each:.0f} KB each.")
    return found


def plot(found: dict[int, dict[str, Measured]], path: str) -> None:
    """Cost against size. Needs matplotlib (`pip install --group plots`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.6), constrained_layout=True)
    for axis, names, unit in (
        (axes[0], ("create", "delete", "status patch", "get"), 1e6),
        (axes[1], ("list, all", "list, a page of 500", "list, by a label"), 1e3),
    ):
        for name in names:
            values = [unit * one[name].cpu / one[name].count for one in found.values()]
            axis.plot(list(found), values, "o-", label=name)
        axis.set(xscale="log", xlabel="pods in the store", ylabel=f"server's CPU, {'µs' if unit == 1e6 else 'ms'}")
        axis.legend()
    axes[0].set(ylim=(0, None))
    axes[1].set(yscale="log")
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--plot", metavar="PNG")
    args = parser.parse_args()
    found = uvloop.run(measure(args.quick))
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
