"""Images taken out of a real store on a real disk, as several nodes share it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers import server
from tests.helpers.images import BuiltImage, Layer

from skerry.api.types import core, meta
from skerry.clock import FakeClock
from skerry.node.agent.health import Health
from skerry.node.agent.housekeeping import Housekeeping, listed, names_used
from skerry.node.images import removal
from skerry.node.images.garbage import Disk
from skerry.node.images.http import HttpClient
from skerry.node.images.manager import Images
from skerry.node.images.reference import parse
from skerry.node.images.registry import Registry
from skerry.node.images.store import Record, Store

FULL = Disk(1 << 40, 0)


def image(text: str) -> BuiltImage:
    base, own = Layer(), Layer()
    base.file("base", "shared by all")
    own.file("own", text * 1000)
    return BuiltImage([base.tar(), own.tar()], {})


class Node:
    """Housekeeping on a real store and a real API server."""

    def __init__(self, api: Any, root: Path) -> None:
        self.clock = FakeClock()
        self.client = api.client
        self.events: list[tuple[str, str]] = []
        self.root = root
        self.images = Images(Store(str(root)), Registry(HttpClient()), self.clock)
        services: Any = SimpleNamespace(
            name="node-1",
            client=api.client,
            clock=self.clock,
            images=self.images,
            data=root,
            health=Health(),
            cgroups=SimpleNamespace(verdict=lambda: (False, "", ""), sample=lambda: None),
            recorder=SimpleNamespace(event=lambda _, kind, reason, text: self.events.append((reason, text))),
        )
        self.services, self.keeping = services, Housekeeping(services)

    async def add(self, name: str, ago: float = 1000, *, loaded: bool = False) -> None:
        archive = self.root / "archive.tar"
        image(name).write_docker_archive(str(archive), name)
        await self.images.load(str(archive))
        archive.unlink()
        if not loaded:  # as if it had been pulled
            wanted = parse(name)
            record, _ = self.found(name)
            raw = self.images.store.config(record)
            self.images.store.put(wanted, Record(**{**vars_of(record), "loaded": False}), raw)
        self.used(name, ago)

    def found(self, name: str) -> Any:
        return self.images.store.find(parse(name))

    def used(self, name: str, ago: float) -> None:
        for one in self.images.store.names():
            if one.record.key == parse(name).key:
                os.utime(one.path, (self.clock.now() - ago,) * 2)

    async def pod(self, name: str, of: str, phase: str = "Running", node: str = "node-1") -> None:
        spec = core.PodSpec(containers=[core.Container(name="c", image=of)], node_name=node)
        await self.client.create(core.Pod(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=spec))
        change = {"status": {"phase": phase}}
        await self.client.patch(core.Pod, name, change, "default", type="strategic", subresource="status")

    def layers(self) -> int:
        return len(list((self.root / "layers").iterdir()))


def vars_of(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(await server.start(), tmp_path)
    yield made
    await made.images.close()


async def test_unused_images_go_and_their_layers_with_them(node: Node) -> None:
    for name in ("unused:1", "running:1", "elsewhere:1", "ended:1"):
        await node.add(name)
    await node.add("by-hand:1", loaded=True)
    await node.pod("a", "running:1")
    await node.pod("b", "elsewhere:1", node="node-2")  # another node shares the store
    await node.pod("c", "ended:1", phase="Succeeded")
    assert node.layers() == 6
    assert await node.keeping.collect(Disk(1000, 500)) == []  # there is room
    gone = await node.keeping.collect(FULL)
    assert sorted(one.names[0] for one in gone) == ["docker.io/library/ended:1", "docker.io/library/unused:1"]
    assert node.layers() == 4 and node.found("unused:1") is None
    assert all(node.found(name) for name in ("running:1", "elsewhere:1", "by-hand:1"))
    assert await node.keeping.collect(FULL) == []
    assert await node.keeping.collect(FULL) == []
    assert [reason for reason, _ in node.events] == ["FreeDiskSpaceFailed"]  # once, until it gets better
    assert node.events[0][1].startswith("Failed to garbage collect required amount of images. Attempted to free ")


async def test_what_is_asked_for_meanwhile_stays(node: Node) -> None:
    await node.add("a:1")
    found = removal.kept(node.images.store)
    await node.images.ensure("a:1", "IfNotPresent", lambda *_: None)
    removal.remove(node.images.store, found, node.clock.now())
    assert node.found("a:1") is not None


async def test_a_layer_that_is_being_fetched_stays(node: Node) -> None:
    await node.add("a:1")
    record, _ = node.found("a:1")
    async with node.images.store.locked(record.layers[1]):
        removal.remove(node.images.store, removal.kept(node.images.store), node.clock.now())
    assert node.images.store.has_layer(record.layers[1]) and not node.images.store.has_layer(record.layers[0])


async def test_what_no_name_leads_to_goes_after_an_hour(node: Node) -> None:
    await node.add("a:1")
    await node.add("b:1")
    for one in node.images.store.names():
        if one.record.key.endswith("/a:1"):
            os.unlink(one.path)
    now = max(os.stat(one).st_mtime for one in (node.root / "layers").iterdir())
    removal.sweep(node.images.store, now + 3599)
    assert node.layers() == 3
    removal.sweep(node.images.store, now + 3601)
    assert node.layers() == 2 and len(list((node.root / "blobs").iterdir())) == 1
    assert node.found("b:1") is not None and not list((node.root / "tmp").glob("*/*"))


async def test_the_node_tells_its_images(node: Node) -> None:
    await node.add("a:1")
    changes = []
    node.services.health.on_change = lambda: changes.append(1)
    keeping = asyncio.create_task(node.keeping.run())
    try:
        await until(lambda: len(node.services.health.images) == 1)
        await node.add("b:2", loaded=True)  # which sets `changed`
        await until(lambda: len(node.services.health.images) == 2)
        names = {name for one in node.services.health.images for name in one.names}
        assert names == {"docker.io/library/a:1", "docker.io/library/b:2"}
        assert len(changes) == 2 and all(one.size_bytes > 0 for one in node.services.health.images)
    finally:
        keeping.cancel()


async def until(check: Any) -> None:
    async with asyncio.timeout(10):
        while not check():  # noqa: ASYNC110 - a thread of the housekeeping's looks at the disk
            await asyncio.sleep(0.001)


async def test_the_largest_fifty_are_told(node: Node) -> None:
    store = node.images.store
    raw = b"{}"
    for number in range(60):
        key = f"docker.io/library/i{number}:1"
        store._write(store._ref(key), json_of(key, number))
    assert raw and [one.size_bytes for one in listed(store)] == list(range(59, 9, -1))
    shutil.rmtree(node.root / "refs")
    (node.root / "refs").mkdir()
    assert listed(store) == []


def json_of(key: str, size: int) -> bytes:
    import json

    return json.dumps(
        {"key": key, "name": key, "digest": "", "config": f"sha256:{size}", "layers": [], "size": size}
    ).encode()


def test_which_names_a_pod_uses() -> None:
    pod = core.Pod(spec=core.PodSpec(containers=[core.Container(image="a:1"), core.Container(image="host")]))
    pod.status.container_statuses = [core.ContainerStatus(image_id="docker.io/library/a@sha256:" + "0" * 64)]
    assert names_used(pod) == {
        "docker.io/library/a:1",
        "docker.io/library/host:latest",
        "docker.io/library/a@sha256:" + "0" * 64,
    }
