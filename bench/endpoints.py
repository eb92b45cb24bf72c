"""From a pod that gets ready to Endpoints and EndpointSlices that say so: how long, and what makes it longer.

    python bench/endpoints.py [--quick] [--plot docs/images/endpoints.png]

Real parts: API server, store on disk and all controllers in one process, asked over HTTP from this one. Beside it in
the same run: etcd, written and watched twice in a row, which is the least that any design over etcd has to do (a pod's
status, its watcher, the endpoints, their watcher).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import controlplane
import msgspec
from common import etcd_port, table
from controlplane import Running

from skerry.api import codec
from skerry.api.types import core, discovery
from skerry.controllers.endpoints import members
from skerry.controllers.endpoints.placement import Placement

SERVICE = "kubernetes.io/service-name"


class Watching:
    """What a watcher of Endpoints and EndpointSlices has seen."""

    def __init__(self, running: Running) -> None:
        self.client = running.client
        self.changed = asyncio.Event()
        self.endpoints: dict[str, core.Endpoints] = {}
        self.slices: dict[str, dict[str, discovery.EndpointSlice]] = {}  # by Service
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Watching:
        for kind in (core.Endpoints, discovery.EndpointSlice):
            found = await self.client.list(kind, "default")
            for one in found.items:
                self._see(one, gone=False)
            task = asyncio.create_task(self._watch(kind, found.resource_version))
            task.add_done_callback(lambda _: self.changed.set())
            self.tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _watch(self, kind: Any, version: str) -> None:
        async for event in self.client.watch(kind, "default", resource_version=version):
            if event.type != "BOOKMARK":
                self._see(event.object, gone=event.type == "DELETED")

    def _see(self, one: Any, *, gone: bool) -> None:
        known = self.endpoints
        if isinstance(one, discovery.EndpointSlice):
            known = self.slices.setdefault(one.metadata.labels[SERVICE], {})
        if gone:
            known.pop(one.metadata.name, None)
        else:
            known[one.metadata.name] = one
        self.changed.set()

    async def until(self, say: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not say():
                for task in self.tasks:
                    if task.done():
                        task.result()  # a watch that ended says why
                self.changed.clear()
                await self.changed.wait()

    def says(self, service: str, pod: str, ready: bool, *, in_endpoints: bool) -> bool:
        """Whether both objects show a pod as ready or not."""
        shown = any(
            one.conditions.ready is ready
            for each in self.slices[service].values()
            for one in each.endpoints
            if one.target_ref and one.target_ref.name == pod
        )
        if not shown or not in_endpoints:
            return shown
        group = "addresses" if ready else "not_ready_addresses"
        return any(
            one.target_ref is not None and one.target_ref.name == pod
            for each in self.endpoints[service].subsets
            for one in getattr(each, group)
        )

    def ready(self, service: str) -> tuple[int, int]:
        """Ready addresses in the Endpoints, ready endpoints in the slices."""
        return (
            sum(len(one.addresses) for one in self.endpoints[service].subsets),
            sum(bool(one.conditions.ready) for each in self.slices[service].values() for one in each.endpoints),
        )


def with_ready(pod: core.Pod, ready: bool) -> core.Pod:
    conditions = [
        msgspec.structs.replace(one, status=str(ready)) if one.type == "Ready" else one for one in pod.status.conditions
    ]
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, conditions=conditions))


def share(values: list[float], of: float) -> float:
    """A percentile, in milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(of * len(values)))]


def seed(services: int, pods: int, *, waiting: int = 1) -> list[Any]:
    """Services with pods, of which the first few are not ready."""
    made: list[Any] = [controlplane.node(), *(controlplane.service(f"web-{n}") for n in range(services))]
    for n in range(services):
        made += [controlplane.pod(f"web-{n}-{i}", f"web-{n}", n * pods + i, ready=i >= waiting) for i in range(pods)]
    return made


async def one_change(services: int, pods: int, rounds: int) -> tuple[list[float], list[float]]:
    """(a) Seconds from a pod's Ready being sent, and from its being stored, until both objects were seen."""
    sent, stored = [], []
    async with controlplane.serving(seed(services, pods)) as running, Watching(running) as watching:
        for number in range(rounds + 5):
            service = f"web-{number * 7919 % services}"
            name = f"{service}-0"
            pod = await running.client.get(core.Pod, name, "default")
            want = not members.is_ready(pod)
            begun = time.perf_counter()
            await running.client.update(with_ready(pod, want), subresource="status")
            answered = time.perf_counter()
            await watching.until(
                lambda: watching.says(service, name, want, in_endpoints=pods <= 1000)  # noqa: B023  (called at once)
            )
            end = time.perf_counter()
            if number >= 5:
                sent.append(end - begun)
                stored.append(end - answered)
            await asyncio.sleep(0.01)
    return sent, stored


async def all_at_once(pods: int, rounds: int) -> tuple[list[float], list[float], list[int]]:
    """(b) Seconds until all pods of a Service are in, from the first status sent and the last one stored; writes."""
    whole, after, writes = [], [], []
    for _ in range(rounds):
        async with controlplane.serving(seed(1, pods, waiting=pods)) as running, Watching(running) as watching:
            waiting = [with_ready(one, True) for one in (await running.client.list(core.Pod, "default")).items]
            before = int(watching.endpoints["web-0"].metadata.resource_version)
            places = asyncio.Semaphore(16)

            async def tell(pod: core.Pod, running: Running = running, places: asyncio.Semaphore = places) -> None:
                async with places:
                    await running.client.update(pod, subresource="status")

            begun = time.perf_counter()
            await asyncio.gather(*(tell(one) for one in waiting))
            told = time.perf_counter()
            await watching.until(lambda: watching.ready("web-0") == (pods, pods))
            end = time.perf_counter()
            whole.append(end - begun)
            after.append(end - told)
            writes.append(int(watching.endpoints["web-0"].metadata.resource_version) - before - pods)
    return whole, after, writes


def _first_sync(services: int, tell: Any) -> None:
    tell.send(asyncio.run(controlplane.first_sync(seed(services, 10))))


def first_sync(services: int) -> dict[str, float]:
    """(c), (d) In a process of its own, so that memory can be told apart."""
    context = multiprocessing.get_context("fork")
    told, tell = context.Pipe()
    child = context.Process(target=_first_sync, args=(services, tell))
    child.start()
    found: dict[str, float] = told.recv()
    child.join()
    return found


class Rolling:
    """(e) Writes and bytes of a rolling update, decided by the real core, against the fewest that could do.

    Every pod that is replaced makes three changes: the new one ready, the old one terminating, the old one gone. What
    comes together needs at least the slices that hold one of the pods that change (or one, if all are new).
    """

    def __init__(self, pods: int) -> None:
        self.service = controlplane.service("web-0")
        self.node = controlplane.node()
        self.kept = Placement(self.service)
        self.slices: dict[str, discovery.EndpointSlice] = {}
        self.changes = self.writes = self.bytes = self.least_writes = self.least_bytes = self.revision = 0
        for n in range(pods):
            self.put(controlplane.pod(f"old-{n}", "web-0", n, ready=True))
        self.sync([])
        self.changes = self.writes = self.bytes = self.least_writes = self.least_bytes = 0

    def put(self, pod: core.Pod) -> None:
        self.kept.put(pod, self.node)

    def sync(self, names: list[str]) -> None:
        plan = self.kept.plan(list(self.slices.values()))
        held = [
            one
            for one in self.slices.values()
            if any(each.target_ref and each.target_ref.name in names for each in one.endpoints)
        ]
        self.least_writes += max(1, len(held))
        self.least_bytes += sum(len(codec.encode(one)) for one in held) or 400
        self.changes += len(names)
        for one in (*plan.create, *plan.update):
            self.revision += 1
            one.metadata.name = one.metadata.name or f"s-{self.revision}"
            one.metadata.resource_version = str(self.revision)
            self.slices[one.metadata.name] = one
            self.bytes += len(codec.encode(one))
        for one in plan.delete:
            del self.slices[one.metadata.name]
        self.writes += len(plan.create) + len(plan.update) + len(plan.delete)

    def run(self, pods: int, together: int) -> Rolling:
        for first in range(0, pods, together):
            batch = range(first, min(pods, first + together))
            for n in batch:
                self.put(controlplane.pod(f"new-{n}", "web-0", pods + n, ready=True))
            self.sync([f"new-{n}" for n in batch])
            for n in batch:
                old = controlplane.pod(f"old-{n}", "web-0", n, ready=True)
                old.metadata.deletion_timestamp = controlplane.CREATED
                self.put(old)
            self.sync([f"old-{n}" for n in batch])
            for n in batch:
                self.kept.remove(f"default/old-{n}")
            self.sync([f"old-{n}" for n in batch])
        return self


def flush_times() -> list[float]:
    """Seconds that writing 4 KB through to the disk takes."""
    times = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - begun)
    return times


class Etcd:
    """Two hops through a real etcd: a put, its watcher's put, the watcher of that."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.put_to = http.client.HTTPConnection("127.0.0.1", port)
        self.seen = threading.Event()
        for key, then in ((b"first", self._second), (b"second", self.seen.set)):
            started = threading.Event()
            threading.Thread(target=self._watch, args=(key, then, started), daemon=True).start()
            started.wait()

    def _watch(self, key: bytes, then: Callable[[], None], started: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        asked = {"create_request": {"key": base64.b64encode(key).decode()}}
        connection.request("POST", "/v3/watch", json.dumps(asked))
        answer = connection.getresponse()
        self.chain = http.client.HTTPConnection("127.0.0.1", self.port)
        while line := answer.readline():
            if b'"created"' in line:
                started.set()
            elif b'"events"' in line:
                then()

    def _second(self) -> None:
        self._put(self.chain, b"second")

    def _put(self, connection: http.client.HTTPConnection, key: bytes) -> None:
        asked = {"key": base64.b64encode(key).decode(), "value": base64.b64encode(b"x" * 1000).decode()}
        connection.request("POST", "/v3/kv/put", json.dumps(asked))
        connection.getresponse().read()

    def round(self) -> float:
        self.seen.clear()
        begun = time.perf_counter()
        self._put(self.put_to, b"first")
        assert self.seen.wait(10)
        return time.perf_counter() - begun


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    many = ((100, 3), (1000, 3), (10_000, 3)) if not args.quick else ((50, 3),)
    large = ((20, 10), (20, 100), (20, 1000), (4, 5000)) if not args.quick else ((5, 100),)
    rows = []
    for services, pods in (*many, *large):
        sent, stored = await one_change(services, pods, args.rounds)
        rows.append((services, pods, *(share(values, of) for values in (sent, stored) for of in (0.5, 0.99))))
    print("(a) One pod gets ready: until Endpoints and EndpointSlice were seen, ms")
    head = ("services", "pods each", "sent -> seen p50", "p99", "stored -> seen p50", "p99")
    table(head, [(*row[:2], *(f"{one:.1f}" for one in row[2:])) for row in rows])
    found["services"], found["pods"] = rows[: len(many)], rows[len(many) :]
    print(f"Growth from {many[0][0]} to {many[-1][0]} services: {rows[len(many) - 1][4] / rows[0][4]:.2f} times.")
    flushes = flush_times()
    print(f"A flush of this disk, of which sent -> seen has two: p50 {share(flushes, 0.5):.1f} ms.")
    with etcd_port() as port:
        if port:
            hops = Etcd(port)
            times = [hops.round() for _ in range(args.rounds)]
            print(
                f"Two hops through etcd, same run: p50 {share(times, 0.5):.1f} ms, p99 {share(times, 0.99):.1f} ms;"
                f" Skerry, sent -> seen with {many[0][0]} services: {rows[0][2] / share(times, 0.5):.2f} of it.\n"
            )
    pods = 500 if not args.quick else 50
    whole, after, writes = await all_at_once(pods, 3)
    print(
        f"(b) {pods} pods of a Service ready at once, ms until all were seen: {share(whole, 0.5):.0f} from the first"
        f" status sent (16 at a time), {share(after, 0.5):.0f} after the last was stored, in {min(writes)} to"
        f" {max(writes)} writes.\n"
    )
    rows = []
    for services in (100, 1000, 10_000) if not args.quick else (100,):
        one = first_sync(services)
        rows.append(one | {"services": services})
    print("(c), (d) First sync of Services with 10 endpoints each, one core")
    table(
        ("services", "CPU s", "ms a Service", "of writing the same objects", "of encoding them", "bytes an endpoint"),
        [
            (
                one["services"], f"{one['sync']:.2f}", f"{1000 * one['sync'] / one['services']:.2f}",
                f"{one['sync'] / one['write']:.2f}", f"{one['sync'] / one['encode']:.0f}",
                f"{one['bytes'] / one['services'] / 10:.0f}",
            )
            for one in rows
        ],
    )  # fmt: skip
    found["first"] = rows
    pods = 1000 if not args.quick else 200
    print(f"(e) Rolling update of {pods} pods: slice writes and bytes, against the fewest possible")
    rows = []
    for together in (1, 10, 25):
        done = Rolling(pods).run(pods, together)
        rows.append(
            (
                together, done.changes, done.writes, f"{done.writes / done.least_writes:.2f}",
                f"{done.bytes / 1e6:.1f}", f"{done.bytes / done.least_bytes:.2f}", len(done.slices),
            )
        )  # fmt: skip
    table(("pods at a time", "changes", "writes", "of the fewest", "MB", "of the fewest", "slices in the end"), rows)
    return found


def plot(found: dict[str, Any], path: str) -> None:
    """Cost against size. Needs matplotlib (`pip install --group plots`)."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.6), constrained_layout=True)
    for axis, key, column, label in ((axes[0], "services", 0, "Services"), (axes[1], "pods", 1, "pods in the Service")):
        sizes = [row[column] for row in found[key]]
        axis.plot(sizes, [row[4] for row in found[key]], "o-", label="p50")
        axis.plot(sizes, [row[5] for row in found[key]], "o--", label="p99")
        axis.set(xscale="log", xlabel=label, ylabel="ms", ylim=(0, None), title="pod stored as ready -> both seen")
        axis.legend()
    sizes = [row["services"] for row in found["first"]]
    axes[2].plot(sizes, [row["sync"] for row in found["first"]], "o-", label="first sync")
    axes[2].plot(sizes, [row["write"] for row in found["first"]], "o--", label="writing the same objects alone")
    axes[2].set(xscale="log", yscale="log", xlabel="Services of 10 endpoints", ylabel="CPU s", title="first full sync")
    axes[2].legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--plot", metavar="PNG")
    args = parser.parse_args()
    if args.quick:
        args.rounds = min(args.rounds, 20)
    found = asyncio.run(measure(args))
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
