"""Volumes against a real API server, with time handed in: tokens are replaced in time, watches are shared and end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from tests.helpers import server as api

from skerry.api.types import core, meta
from skerry.clock import FakeClock
from skerry.node.agent.objects import Following, Objects, Ref, refs
from skerry.node.agent.podvolumes import PodVolumes


class Worker:
    """As much of a pod's worker as its volumes need."""

    def __init__(self, pod, directory):
        self.pod, self.files, self.said = pod, SimpleNamespace(volumes=directory, written=directory), []
        self.tasks = []

    def spawn(self, work):
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    def sources_changed(self):
        pass

    def say(self, kind, reason, message):
        self.said.append((reason, message))


async def made_volumes(server, clock, directory, volume):
    """The volumes of a pod that has this one, its worker, and the objects that are followed for it."""
    spec = core.PodSpec(
        containers=[core.Container(name="web", image="host")], volumes=[volume], automount_service_account_token=False
    )
    pod = await server.client.create(core.Pod(metadata=meta.ObjectMeta(name="p", namespace="default"), spec=spec))
    objects = Objects(server.client, clock)
    services = SimpleNamespace(client=server.client, clock=clock, ips=(), objects=objects, data=directory)
    worker = Worker(pod, directory)
    volumes = PodVolumes(services, worker)
    await volumes.make(["10.244.1.2"])
    return volumes, worker, objects


async def test_a_token_is_replaced_after_four_fifths_of_its_time(tmp_path) -> None:
    clock = FakeClock()
    server = await api.start(clock, accounts=True)
    await server.client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name="default", namespace="default")))
    token = core.ServiceAccountTokenProjection(path="token", audience="vault", expiration_seconds=1000)
    parts = [core.VolumeProjection(service_account_token=token)]
    volume = core.Volume(name="v", projected=core.ProjectedVolumeSource(sources=parts))
    volumes, worker, objects = await made_volumes(server, clock, tmp_path, volume)
    first = (tmp_path / "v" / "token").read_text()
    await clock.advance(799)
    assert not worker.tasks
    await clock.advance(1)
    await asyncio.gather(*worker.tasks)
    assert (tmp_path / "v" / "token").read_text() != first
    # When it cannot be had, the old one stays and it is tried again.
    await server.client.delete(core.ServiceAccount, "default", "default")
    worker.tasks.clear()
    await clock.advance(800)
    await asyncio.gather(*worker.tasks)
    second = (tmp_path / "v" / "token").read_text()
    await server.client.create(core.ServiceAccount(metadata=meta.ObjectMeta(name="default", namespace="default")))
    await clock.advance(10)
    await asyncio.gather(*worker.tasks)
    assert (tmp_path / "v" / "token").read_text() != second
    # What is on its way when the volumes go writes nothing and follows nobody.
    worker.tasks.clear()
    volumes.refresh()
    await volumes.end()
    assert worker.tasks[0].done() and not len(objects)
    await clock.advance(10_000)
    assert all(one.done() for one in worker.tasks)


async def test_a_pod_that_ends_asks_for_nothing_any_more(tmp_path) -> None:
    """Its namespace may be going: the node would be refused what the pod referred to, and say so in its log."""
    server, clock = await api.start(), FakeClock()
    made = await server.client.create(
        core.ConfigMap(metadata=meta.ObjectMeta(name="c", namespace="default"), data={"a": "1"})
    )
    volume = core.Volume(name="v", config_map=core.ConfigMapVolumeSource(name="c"))
    volumes, worker, objects = await made_volumes(server, clock, tmp_path, volume)
    made.data["a"] = "2"
    await server.client.update(made)
    volumes.sources_changed()
    await asyncio.gather(*worker.tasks)
    assert (tmp_path / "v" / "a").read_text() == "2"
    worker.tasks.clear()
    ending = meta.ObjectMeta(name="p", namespace="default", deletion_timestamp="2026-01-01T00:00:00Z")
    pod = worker.pod
    worker.pod = core.Pod(metadata=ending, spec=pod.spec)
    volumes.sources_changed()
    assert not worker.tasks
    # Nor does one whose object is gone without an end.
    worker.pod = pod
    volumes.close()
    volumes.sources_changed()
    assert not worker.tasks and not len(objects)
    await objects.close()


async def test_one_watch_an_object_for_as_long_as_somebody_cares() -> None:
    server = await api.start()
    objects = Objects(server.client, FakeClock())

    def config(name, **more):
        return core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default"), **more)

    for one in (config("a", data={"k": "1"}), config("fixed", immutable=True)):
        await server.client.create(one)
    heard: list[int] = []
    changed = asyncio.Event()

    def hear(number):
        def call():
            heard.append(number)
            changed.set()

        return call

    found = refs("default", ["a", "fixed", "none"], [])
    assert found == {Ref(core.ConfigMap, "default", name) for name in ("a", "fixed", "none")}
    first, second = Following(objects, hear(1)), Following(objects, hear(2))
    sources = await first.sources(found)
    assert sources.config_maps["a"].data == {"k": "1"} and sources.config_maps["none"] is None
    await second.sources(refs("default", ["a"], []))
    assert len(objects) == 2  # nobody watches what never changes
    first.close()
    assert len(objects) == 1
    await server.client.update(config("a", data={"k": "2"}))
    async with asyncio.timeout(5):
        await changed.wait()
    assert heard == [2]
    # What was read is not news, however late the watch tells of it.
    await second.sources(refs("default", ["a"], []))
    changed.clear()
    await server.client.update(config("a", data={"k": "3"}, immutable=True))
    async with asyncio.timeout(5):
        await changed.wait()
    assert heard == [2, 2]
    await second.sources(refs("default", ["a"], []))
    assert len(objects) == 0
    second.close()
    await objects.close()
