"""The slice of kube-dns on a real API server: the DNS of nodes that are ready, and of no others."""

from __future__ import annotations

import asyncio

from tests.helpers import server as helper

from skerry.api.types import core, discovery, meta
from skerry.apiserver import bootstrap
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import SystemClock
from skerry.cluster.clusterdns import ClusterDns


def node(name: str, ready: str) -> core.Node:
    status = core.NodeStatus(conditions=[core.NodeCondition(type="Ready", status=ready)])
    return core.Node(metadata=meta.ObjectMeta(name=name), status=status)


async def listed(client: Client, *wanted: str) -> discovery.EndpointSlice:
    """The slice, once it has these addresses."""
    async with asyncio.timeout(10):
        async for event in client.watch(discovery.EndpointSlice, "kube-system", resource_version="0"):
            named = event.type != "BOOKMARK" and event.object.metadata.name == "kube-dns"
            if named and [one.addresses[0] for one in event.object.endpoints] == list(wanted):
                return event.object
    raise AssertionError


async def test_nodes_that_are_down_are_not_listed() -> None:
    api = await helper.start()
    informers = Informers(api.client)
    await informers.start()
    await bootstrap.dns(api.client, cluster_ips=["10.96.0.10"])
    addresses = {"node-1": ("10.243.0.2",), "node-2": ("10.243.0.3",)}
    dns = ClusterDns(api.client, SystemClock(), informers.of(core.Node), addresses)
    running = asyncio.create_task(dns.run())
    try:
        await listed(api.client)
        for one in (node("node-1", "True"), node("node-2", "True"), node("theirs", "True")):
            await api.client.create(one)
        await listed(api.client, "10.243.0.2", "10.243.0.3")
        await api.client.update(node("node-1", "Unknown"), subresource="status")
        await listed(api.client, "10.243.0.3")
        await api.client.delete(core.Node, "node-2")
        await listed(api.client)
        await api.client.update(node("node-1", "True"), subresource="status")
        found = await listed(api.client, "10.243.0.2")
        assert found.endpoints[0].conditions.ready is True
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await informers.stop()
        await api.store.close()
