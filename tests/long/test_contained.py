"""Every process of a cluster killed at random moments of its start, its work and its end: the machine stays as it was.

The seed is printed; SKERRY_SEED=N plays the same choices again (the scheduling of processes stays chance).
"""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.e2e.test_contained import There, kill_all, nothing_runs, same
from tests.helpers.cluster import SKERRY
from tests.long.test_kill_loop import seeded

pytestmark = [pytest.mark.long, pytest.mark.rootless]

ROUNDS = 18
TRAFFIC = "while :; do curl -s -m 1 -o /dev/null http://127.0.0.1:30123/hostname; done"


def modules() -> set[str]:
    listed = Path("/proc/modules")  # a kernel may have none
    return {line.split()[0] for line in listed.read_text().splitlines()} if listed.exists() else set()


def cgroups(name: str) -> list[Path]:
    return sorted(Path("/sys/fs/cgroup").rglob(f"*{name}*"))


def disturb(there: There, chance: random.Random, moment: str) -> str:
    """Begins something and kills everything somewhere on its way; what was done."""
    wait = chance.random()
    verb = ("up", *there.cluster.options) if moment == "start" else ("delete",) if chance.random() < 0.3 else ("down",)
    if moment == "work":
        there.up()
        there.serve()
        there.machine.sh(f"({TRAFFIC}) >/dev/null 2>&1 & sleep {wait}")
        kill_all(there.machine)
        return f"at work, after {wait:.3f} s of traffic"
    if moment == "end":
        there.up()
        there.serve()
        wait /= 2
    exports = "".join(f"export {key}={shlex.quote(value)};" for key, value in there.cluster.environment.items())
    command = shlex.join([*SKERRY, verb[0], "--name", there.cluster.name, *verb[1:]])
    there.machine.sh(f"{exports} {command} >/dev/null 2>&1 & sleep {wait}")
    kill_all(there.machine)
    return f"{verb[0]}, after {wait:.3f} s"


def test_killed_at_any_moment_it_leaves_the_machine_as_it_was() -> None:
    skip_without_namespaces()
    chance = seeded()
    there = There("--nodes", "2")
    try:
        before = there.machine.look()
        loaded: set[str] = set()
        for number in range(ROUNDS):
            moment = ("start", "work", "end")[number % 3]
            print(f"round {number}: {disturb(there, chance, moment)}")
            nothing_runs(there.machine)
            same(there.machine.look(), before)
            if number == 2:
                loaded = modules()  # what the kernel loads when namespaces are first used stays
            assert number < 2 or modules() == loaded
        there.up()
        there.serve()
        assert there.skerry("delete").code == 0
        nothing_runs(there.machine)
        same(there.machine.look(), before)
        assert not there.cluster.data.exists()
        assert cgroups(there.cluster.name) == []
        assert "skerry-" not in there.cluster.kubeconfig.read_text()
        left = {path.name for path in there.cluster.home.iterdir()}
        assert left == {"data", "kubeconfig", "tmp", "web.json", ".kube"}  # the last one is kubectl's
    finally:
        there.close()
