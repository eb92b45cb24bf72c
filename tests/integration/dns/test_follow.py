"""The records follow the API: what is created, changed and deleted there is answered here."""

from __future__ import annotations

import asyncio

from tests.helpers import server

from skerry.api.types import core, discovery, meta
from skerry.client.informer import Informers
from skerry.dns.follow import follow
from skerry.dns.records import Records


def data(records, name, qtype="A"):
    found = records.answer(name, qtype)
    return found.rcode, sorted(str(record.data) for record in found.answers)


async def until(records, name, expected):
    async with asyncio.timeout(5):
        while data(records, name) != expected:  # noqa: ASYNC110 - the informers' tasks are all there is to wait for
            await asyncio.sleep(0)


async def test_records_follow_the_api():
    api = await server.start()
    informers, records = Informers(api.client), Records()
    assert data(records, "kubernetes.default.svc.cluster.local")[0] == "SERVFAIL"
    following = asyncio.create_task(follow(informers, records))
    await asyncio.sleep(0)
    await informers.start()
    try:
        await asyncio.wait_for(following, 5)
        assert data(records, "kubernetes.default.svc.cluster.local") == ("NOERROR", ["10.96.0.1"])
        spec = core.ServiceSpec(cluster_ip="None", ports=[core.ServicePort(port=80)])
        named = meta.ObjectMeta(name="db", namespace="default")
        await api.client.create(core.Service(metadata=named, spec=spec))
        labelled = meta.ObjectMeta(name="db-1", namespace="default", labels={"kubernetes.io/service-name": "db"})
        made = await api.client.create(
            discovery.EndpointSlice(
                metadata=labelled, address_type="IPv4", endpoints=[discovery.Endpoint(addresses=["10.244.1.9"])]
            )
        )
        name = "db.default.svc.cluster.local"
        await until(records, name, ("NOERROR", ["10.244.1.9"]))
        made.endpoints[0].conditions.ready = False
        await api.client.update(made)
        await until(records, name, ("NXDOMAIN", []))
        await api.client.delete(core.Service, "kubernetes", "default")
        await until(records, "kubernetes.default.svc.cluster.local", ("NXDOMAIN", []))
    finally:
        await informers.stop()
