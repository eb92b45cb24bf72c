"""From pipes to files to readers, with real pipes and files."""

from __future__ import annotations

import asyncio
import os

import pytest

from skerry.clock import FakeClock
from skerry.node.logs.reader import Options, read
from skerry.node.logs.writer import ContainerLog, older


class Pipes:
    """A container's output."""

    def __init__(self, path, **more):
        self.clock = FakeClock()
        self.log = ContainerLog(path, self.clock, **more)
        out, self.out = os.pipe()
        err, self.err = os.pipe()
        for fd in (out, err):
            os.set_blocking(fd, False)
        self.log.attach(out, err)

    async def print(self, data, fd=None):
        """Writes, and waits until it is in the file."""
        before = self.log.written
        os.write(fd or self.out, data)
        await asyncio.wait_for(self.log.changed(before), 5)

    async def end(self):
        os.close(self.out)
        os.close(self.err)
        await asyncio.wait_for(self.log.finished(), 5)


async def text(path, live=None, **options):
    return b"".join([piece async for piece in read(path, Options(**options), live)])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "web" / "0.log"


async def test_what_was_printed_is_read_back(path):
    pipes = Pipes(path)
    await pipes.print(b"a\nb\n")
    await pipes.print(b"e\n", pipes.err)
    await pipes.print(b"c\nno end")
    await pipes.end()
    assert await text(path) == b"a\nb\ne\nc\nno end"
    assert await text(path, tail=2) == b"c\nno end"
    assert await text(path, tail=0) == b""
    assert await text(path, tail=99) == b"a\nb\ne\nc\nno end"
    assert await text(path, limit=3) == b"a\nb"
    assert await text(path, tail=1, timestamps=True) == b"2026-01-01T00:00:00.000000000Z no end"


async def test_since(path):
    pipes = Pipes(path)
    await pipes.print(b"early\n")
    await pipes.clock.advance(10)
    await pipes.print(b"late\n")
    await pipes.end()
    assert await text(path, since=pipes.clock.now() - 5) == b"late\n"


async def test_no_log_yet(path):
    with pytest.raises(FileNotFoundError):
        await text(path)


async def test_following_ends_with_the_container(path):
    pipes = Pipes(path)
    await pipes.print(b"a\n")
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def follow():
        async for piece in read(path, Options(follow=True), pipes.log):
            seen.put_nowait(piece)

    task = asyncio.create_task(follow())
    assert await asyncio.wait_for(seen.get(), 5) == b"a\n"
    await pipes.print(b"b\n")
    assert await asyncio.wait_for(seen.get(), 5) == b"b\n"
    assert not task.done()
    os.write(pipes.out, b"last\n")
    await pipes.end()
    await asyncio.wait_for(task, 5)
    assert seen.get_nowait() == b"last\n"


async def test_rotation_keeps_two_files_and_followers_follow(path):
    pipes = Pipes(path, rotate_at=2000)
    got = []

    async def follow():
        got.extend([piece async for piece in read(path, Options(follow=True), pipes.log)])

    task = asyncio.create_task(follow())
    for number in range(200):
        await pipes.print(b"line %d\n" % number)
        await asyncio.sleep(0)
    await pipes.end()
    await asyncio.wait_for(task, 5)
    assert b"".join(got).splitlines() == [b"line %d" % number for number in range(200)]
    assert older(path).stat().st_size <= 2000 and path.stat().st_size <= 2000
    kept = (await text(path)).splitlines()
    assert kept[-1] == b"line 199" and 40 < len(kept) < 100
    assert (await text(path, tail=len(kept) - 3)).splitlines() == kept[3:]
    assert (await text(path, tail=2)).splitlines() == kept[-2:]


async def test_a_tail_over_many_blocks(path):
    pipes = Pipes(path)
    for _ in range(40):
        await pipes.print(b"".join(b"%0100d\n" % number for number in range(100)))
    await pipes.end()
    whole = (await text(path)).splitlines()
    assert len(whole) == 4000
    for count in (1, 1500, 3999, 4000, 5000):
        assert (await text(path, tail=count)).splitlines() == whole[-count:]


async def test_a_full_disk_does_not_stop_the_container(path, monkeypatch):
    pipes = Pipes(path)
    await pipes.print(b"a\n")
    real = os.write

    def full(fd, data):
        if fd == pipes.log._file:
            raise OSError(28, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr("skerry.node.logs.writer.os.write", full)
    real(pipes.out, b"lost\n")
    await pipes.end()
    assert await text(path) == b"a\n"
