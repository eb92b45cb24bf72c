"""The store of one machine: writes that reach the disk, heartbeats that need not, and opening a full one.

    python bench/store.py [--objects 100000]

Beside it in the same run: this disk's own fsync, which is what a single writer pays for. Each step must cost the same
however large the store has become: the last tenth of the writes is set against the first.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import NamedTuple

from common import table

from skerry.store.embedded import EmbeddedStore

PADDING = "x" * 1500
"""About what a Pod has."""


def value(name: str) -> bytes:
    return f'{{"kind":"Pod","metadata":{{"name":"{name}"}},"spec":"{PADDING}"}}'.encode()


def fsync(place: Path, times: int = 200) -> float:
    """Seconds of one append of a page and its fsync."""
    took = []
    with (place / "fsync").open("wb", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun)
    return statistics.median(took)


class Speed(NamedTuple):
    rate: float
    """A second."""
    cpu: float
    """Microseconds of this process each, which other programs' load changes little."""


async def measured(work: Awaitable[None], count: int) -> Speed:
    begun, used = time.perf_counter(), time.process_time()
    await work
    return Speed(count / (time.perf_counter() - begun), (time.process_time() - used) / count * 1e6)


async def writes(store: EmbeddedStore, first: int, count: int, at_once: int) -> None:
    """Creates, from `at_once` writers."""

    async def writer(number: int) -> None:
        for each in range(first + number, first + count, at_once):
            await store.create(f"/core/pods/default/{each:08}", value(str(each)))

    await asyncio.gather(*(writer(number) for number in range(at_once)))


async def heartbeats(store: EmbeddedStore, count: int) -> None:
    """Renewals of one Lease."""
    key = "/coordination.k8s.io/leases/kube-node-lease/node-1"
    lease = await store.get(key) or await store.create(key, value("0"))
    for each in range(count):
        lease = await store.update(key, value(str(each)), lease.revision, durable=False)


def row(what: str, runs: list[Speed]) -> tuple[str, str, str, str]:
    rate, cpu = statistics.median(one.rate for one in runs), statistics.median(one.cpu for one in runs)
    return what, f"{rate:.0f}", f"{cpu:.0f}", f"{runs[-1].cpu / runs[0].cpu:.2f}"


async def bench(objects: int, path: Path, sync: float) -> None:
    store = EmbeddedStore(str(path))
    one = [await measured(writes(store, step * 50, 50, 1), 50) for step in range(10)]
    tenth = objects // 10
    many = [await measured(writes(store, 1000 + step * tenth, tenth, 256), tenth) for step in range(10)]
    beats = [await measured(heartbeats(store, 6048), 6048) for _ in range(10)]
    await store.close()
    begun = time.process_time()
    again = EmbeddedStore(str(path))
    opened = time.process_time() - begun
    await again.close()
    rows = (
        row("creates on disk, one writer", one),
        row("creates on disk, 256 writers", many),
        row("heartbeats (60,480 a week and node)", beats),
    )
    table(("what", "a second", "CPU of one, µs", "of the last tenth, against the first"), rows)
    print(f"This disk's fsyncs: {1 / sync:.0f} a second. {objects} objects are opened in {opened:.2f} s of CPU.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        objects, path = parser.parse_args().objects, Path(directory, "store.db")
        asyncio.run(bench(objects, path, fsync(path.parent)))
        print(f"On disk they have {path.stat().st_size / objects / len(value('12345678')):.2f} times their own bytes.")


if __name__ == "__main__":
    main()
