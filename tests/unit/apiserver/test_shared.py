"""Objects that are passed as they are inside the server's process: one object for server, writer and watcher."""

from __future__ import annotations

import gc

import pytest
from tests.helpers import server

from skerry.api.types import core, meta
from skerry.apiserver import known
from skerry.apiserver.app import in_process
from skerry.client.client import Client
from skerry.store.base import Record


def _endpoints(ip: str) -> core.Endpoints:
    subset = core.EndpointSubset(addresses=[core.EndpointAddress(ip=ip)], ports=[core.EndpointPort(port=80)])
    return core.Endpoints(metadata=meta.ObjectMeta(name="web", namespace="default"), subsets=[subset])


async def test_writer_and_watcher_get_the_same_object() -> None:
    api = await server.start()
    client = Client(in_process(api.app, server.ADMIN), shared=True)
    given = _endpoints("10.0.0.1")
    made = await client.create(given)
    watch = client.watch(core.Endpoints, "default", resource_version=str(int(made.metadata.resource_version) - 1))
    assert (await anext(watch)).object is made
    assert made.subsets[0].addresses[0] is given.subsets[0].addresses[0]
    assert (given.metadata.uid, given.metadata.resource_version) == ("", "")
    assert made.metadata.resource_version == str(api.store.revision)
    await watch.aclose()
    assert (await api.client.get(core.Endpoints, "web", "default")) == made


async def test_a_record_keeps_no_typed_object_alive() -> None:
    api = await server.start()
    await api.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name="one", namespace="default")))
    record = await api.store.get("/core/configmaps/default/one")
    assert record is not None and known.alive(record) is not None
    api.app.server.fresh = known.Fresh()
    gc.collect()
    assert known.alive(record) is None


async def test_what_was_just_written_stays_alive_for_a_moment() -> None:
    api, now = await server.start(), 100.0
    api.app.server.fresh = known.Fresh(lambda: now)

    async def written(name: str) -> Record:
        await api.client.create(core.ConfigMap(metadata=meta.ObjectMeta(name=name, namespace="default")))
        record = await api.store.get(f"/core/configmaps/default/{name}")
        assert record is not None
        return record

    first, found = await written("one"), []
    for name in ("two", "three", "four"):
        now += 0.006
        await written(name)
        gc.collect()
        found.append(known.alive(first) is not None)
    assert found == [True, True, True]
    now += 1
    await written("five")
    assert known.alive(await written("six")) is not None
    gc.collect()
    assert known.alive(first) is None


async def test_whoever_changes_a_shared_object_is_noticed_in_tests() -> None:
    api = await server.start()
    client = Client(in_process(api.app, server.ADMIN), shared=True)
    made = await client.create(_endpoints("10.0.0.1"))
    made.metadata.labels["changed"] = "yes"
    record = await api.store.get("/core/endpoints/default/web")
    assert record is not None
    with pytest.raises(AssertionError, match="somebody has changed the shared object"):
        known.alive(record)
