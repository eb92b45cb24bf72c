"""What the benches share: processes of a cluster and their memory, etcd as something real to stand beside, tables."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


def descendants(pid: int) -> list[int]:
    """A process and everything it started."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def pss(pids: Iterable[int]) -> float:
    """Their proportional share of memory, in MB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that they have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def middle(values: Sequence[float]) -> str:
    """median (least-most)."""
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows as Markdown, ready for docs/benchmarks.md."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


@contextlib.contextmanager
def etcd() -> Iterator[tuple[int, float] | None]:
    """A real etcd on loopback: its pid and the seconds from its start to its first healthy answer; None if missing."""
    with _etcd() as found:
        yield found and found[:2]


@contextlib.contextmanager
def etcd_port() -> Iterator[int | None]:
    """A real etcd on loopback: the port that its clients use; None if missing."""
    with _etcd() as found:
        yield found and found[2]


@contextlib.contextmanager
def _etcd() -> Iterator[tuple[int, float, int] | None]:
    program = shutil.which("etcd")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        ports = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as probe:
                ports.append(probe.getsockname()[1])
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        command = [
            program, "--data-dir", directory, "--log-level", "error",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ]  # fmt: skip
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(client + "/health") as got:
                if got.status == 200:
                    break
            time.sleep(0.005)
        yield process.pid, time.monotonic() - begun, ports[0]
