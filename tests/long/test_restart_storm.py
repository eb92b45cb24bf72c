"""`skerry down` and `skerry up` again and again: pods come back each time and nothing piles up."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.cluster import Cluster
from tests.long import machine
from tests.long.test_kill_loop import WEB, nothing_left, web_answers

pytestmark = pytest.mark.long

ROUNDS = 10
SETTLED = 2
"""Restarts after which everything is there that a restarted cluster needs."""


def files(cluster: Cluster) -> dict[str, int]:
    """Every file of the cluster's data but logs, with its size; what is random in their names taken out."""
    found: dict[str, int] = {}
    for path in cluster.data.rglob("*"):
        name = str(path.relative_to(cluster.data))
        if path.is_symlink() or not path.is_file() or "log" in name:
            continue
        kept = re.sub(r"message-[0-9a-f]{12}$", "message", name)
        kept = re.sub(r"/\.\.[0-9]+/", "/..data/", kept)  # a volume's files, written anew when its pod starts again
        found[kept] = found.get(kept, 0) + path.stat().st_size
    return found


def entries(cluster: Cluster) -> int:
    """How many files, directories and links its data has, logs included."""
    return sum(1 for _ in cluster.data.rglob("*"))


def links(cluster: Cluster) -> list[str]:
    """The node's network interfaces, without numbers."""
    done = cluster.run("ip", "-o", "link")
    assert done.code == 0, done.err
    return sorted(re.sub(r"[0-9a-f]{8}$", "", line.split(": ")[1].split("@")[0]) for line in done.out.splitlines())


def test_ten_restarts_leave_things_as_after_the_second(new_cluster: Callable[..., Cluster]) -> None:
    skip_without_namespaces()
    before = machine.host()
    cluster = new_cluster("--nodes", "1", *machine.api_port())
    cluster.up()
    cluster.kubectl()("apply", "-f", "-", stdin=WEB.replace("NAME", cluster.name))
    web_answers(cluster)
    settled_files: dict[str, int] = {}
    settled_entries = 0
    links_then = links(cluster)
    processes_then = len(machine.processes(cluster.name))
    for number in range(ROUNDS):
        cluster.down()
        nothing_left(cluster, before)
        if number == SETTLED:
            settled_files, settled_entries = files(cluster), entries(cluster)
        cluster.up()
        web_answers(cluster)
        assert links(cluster) == links_then, f"restart {number}"
        assert len(machine.processes(cluster.name)) == processes_then, machine.processes(cluster.name)
        pods = cluster.kubectl().json("get", "pods", "-l", "app=web")["items"]
        restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods]
        print(f"restart {number}: {entries(cluster)} files, restarts {restarts}")
    cluster.down()
    assert set(files(cluster)) == set(settled_files)
    grown = {
        name: (settled_files[name], size)
        for name, size in files(cluster).items()
        if size > settled_files[name] + 4096 and not Path(name).name.startswith("store.db")
    }
    assert not grown
    assert entries(cluster) == settled_entries, sorted(cluster.data.rglob("*"))
    assert (cluster.data / "store.db").stat().st_size < 1 << 20
    nothing_left(cluster, before)
