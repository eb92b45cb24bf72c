"""A disk without room: writes are refused and say why, reads go on, nothing acknowledged is lost, and it recovers.

The data lies on a tmpfs of a few megabytes, mounted in a mount namespace that only a shell of this test and the
cluster started from it live in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.cluster import SKERRY, Cluster
from tests.helpers.kubectl import Done
from tests.long import machine
from tests.long.load import Book, connect, write

from skerry.api.types import core

pytestmark = [pytest.mark.long, pytest.mark.rootless]

MEGABYTES = 6
FILL = """\
import os, sys
with open(sys.argv[1], "wb", buffering=0) as file:
    for size in (65536, 4096):
        try:
            while True:
                file.write(b"x" * size)
        except OSError:
            pass
"""


class SmallDisk:
    """A shell in a mount namespace with a small tmpfs at `place`; a command line goes in, its exit code comes out."""

    def __init__(self, place: Path) -> None:
        self.place = place
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        self._shell = subprocess.Popen([*own, "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/")
        if self.sh(f"mount -t tmpfs -o size={MEGABYTES}m,mode=0700 tmpfs {shlex.quote(str(place))}").code != 0:
            self.close()
            pytest.skip("no tmpfs can be mounted in a mount namespace of our own here")

    def sh(self, line: str) -> Done:
        """Runs the line to its end; what it writes lies on the big disk."""
        stdin, stdout = self._shell.stdin, self._shell.stdout
        assert stdin and stdout
        with tempfile.TemporaryDirectory() as directory:
            stdin.write(f"( {line} ) </dev/null >{directory}/out 2>{directory}/err; echo $?\n")
            stdin.flush()
            code = int(stdout.readline() or -1)
            return Done(code, Path(directory, "out").read_text(), Path(directory, "err").read_text())

    @property
    def root(self) -> Path:
        """The place as it is in there, seen from here."""
        return Path(f"/proc/{self._shell.pid}/root{self.place}")

    def fill(self) -> None:
        """Until no byte goes in any more."""
        done = self.sh(f"{shlex.quote(SKERRY[0])} -S -c {shlex.quote(FILL)} {shlex.quote(str(self.place / 'filler'))}")
        assert done.code == 0, done.err

    def empty(self) -> None:
        assert self.sh(f"rm {shlex.quote(str(self.place / 'filler'))}").code == 0

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._shell.communicate("exit\n", timeout=10)


class OnSmallDisk(Cluster):
    """A cluster whose data, but not its kubeconfig, lies on a small disk."""

    def __init__(self) -> None:
        super().__init__("--nodes", "0", *machine.api_port())
        Path(self.environment["XDG_DATA_HOME"]).mkdir()
        self.disk = SmallDisk(Path(self.environment["XDG_DATA_HOME"]))

    def verb(self, verb: str, *arguments: str) -> Done:
        words = [*SKERRY, verb, "--name", self.name, *arguments]
        environment = [f"{key}={value}" for key, value in self.environment.items()]
        return self.disk.sh(shlex.join(["env", "-i", *environment, *words]))


@pytest.fixture
def cluster() -> Iterator[OnSmallDisk]:
    made = OnSmallDisk()
    yield made
    made.verb("delete")
    made.disk.close()
    subprocess.run(["rm", "-rf", str(made.home)], check=True)


def one_sentence(text: str) -> str:
    """What a person sees of a failure: one line that begins with the program's name, no traceback."""
    lines = text.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("skerry: "), text
    assert "Traceback" not in text
    return lines[0]


async def test_writes_are_refused_reads_go_on_and_it_recovers(cluster: OnSmallDisk) -> None:
    started = cluster.verb("up", *cluster.options)
    assert started.code == 0, started.err
    client, transport = connect(cluster.kubeconfig)
    book = Book()
    writers = [asyncio.create_task(write(client, book, number, random.Random(number))) for number in range(4)]
    try:
        for _ in range(3):
            await asyncio.wait_for(book.reach(book.acknowledged + 200), 60)
            refused = len(book.refused)
            await asyncio.to_thread(cluster.disk.fill)
            await asyncio.wait_for(book.reach_refusals(refused + 50), 60)
            # Reads go on, and show what was acknowledged.
            assert (await client.get(core.Service, "kubernetes", "default")).spec.cluster_ip == "10.96.0.1"
            assert (await client.list(core.ConfigMap, "default")).items
            await asyncio.to_thread(cluster.disk.empty)
        await asyncio.wait_for(book.reach(book.acknowledged + 200), 60)
    finally:
        book.stopping = True
        await asyncio.wait_for(asyncio.gather(*writers), 30)
    for error in book.refused:
        assert error.code == 507, error
        assert "the object was not stored" in error.message and "free some space on the disk" in error.message
    await book.verify(client)
    await transport.close()
    assert cluster.verb("down").code == 0
    started = cluster.verb("up")
    assert started.code == 0, started.err
    client, transport = connect(cluster.kubeconfig)
    await book.verify(client)
    await transport.close()


async def test_it_survives_a_kill_while_the_disk_is_full_and_starts_when_there_is_room(cluster: OnSmallDisk) -> None:
    assert cluster.verb("up", *cluster.options).code == 0
    client, transport = connect(cluster.kubeconfig)
    book = Book()
    writers = [asyncio.create_task(write(client, book, number, random.Random(number))) for number in range(4)]
    await asyncio.wait_for(book.reach(300), 60)
    await asyncio.to_thread(cluster.disk.fill)
    await asyncio.wait_for(book.reach_refusals(20), 60)
    pid = int((cluster.disk.root / "skerry" / cluster.name / "lock").read_text().split()[0])
    os.kill(pid, 9)
    await asyncio.wait_for(asyncio.gather(*writers), 30)
    await transport.close()
    refused = await asyncio.to_thread(cluster.verb, "up")
    if refused.code != 0:
        assert refused.code == 1
        assert "disk is full" in one_sentence(refused.err)
    else:
        assert cluster.verb("down").code == 0  # what is there can be read without writing: that is as good
    await asyncio.to_thread(cluster.disk.empty)
    started = cluster.verb("up")
    assert started.code == 0, started.err
    client, transport = connect(cluster.kubeconfig)
    await book.verify(client)
    await transport.close()


def test_a_new_cluster_on_a_full_disk_is_one_plain_sentence(cluster: OnSmallDisk) -> None:
    cluster.disk.fill()
    refused = cluster.verb("up", *cluster.options)
    assert refused.code == 1
    assert "disk is full" in one_sentence(refused.err)
    cluster.disk.empty()
    assert cluster.verb("up", *cluster.options).code == 0


@pytest.mark.parametrize("kilobytes", [4, 16, 40, 80, 160])
def test_a_new_cluster_on_an_almost_full_disk_starts_or_says_why(cluster: OnSmallDisk, kilobytes: int) -> None:
    cluster.disk.fill()
    filler = shlex.quote(str(cluster.disk.place / "filler"))
    assert cluster.disk.sh(f"truncate -s -{kilobytes}K {filler}").code == 0
    done = cluster.verb("up", *cluster.options)
    if done.code == 0:
        return
    assert done.code == 1
    assert "disk is full" in one_sentence(done.err)
    cluster.disk.empty()
    again = cluster.verb("up", *cluster.options)
    assert again.code == 0, again.err


def test_kubectl_prints_the_refusal(cluster: OnSmallDisk) -> None:
    assert cluster.verb("up", *cluster.options).code == 0
    kubectl = cluster.kubectl()
    cluster.disk.fill()
    for number in range(2000):  # SQLite may have some room in its own files
        done = kubectl.run("create", "configmap", f"full-{number}", "--from-literal=text=" + "x" * 50_000)
        if done.code != 0:
            break
    assert done.code == 1
    assert "the object was not stored" in done.err and "free some space" in done.err
    assert kubectl("get", "configmap", f"full-{number}", "--ignore-not-found") == ""
    cluster.disk.empty()
    kubectl("create", "configmap", f"full-{number}")
