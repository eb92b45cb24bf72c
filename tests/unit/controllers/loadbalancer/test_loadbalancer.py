"""Services of type LoadBalancer get an address and give it back: over a real API server in memory. Rules B1 to B7."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.helpers import server

from skerry.api.types import core, meta
from skerry.client.informer import Informers
from skerry.clock import SystemClock
from skerry.controllers.loadbalancer.controller import LoadBalancerController
from skerry.controllers.loadbalancer.decide import EXCLUDED, FINALIZER, PORTS_CONDITION, Block


class World:
    """An API server, the controller, and one node unless `nodes` says otherwise."""

    def __init__(self, api: server.ApiServer, cluster: str | None, without_pools: str = "") -> None:
        self.cluster, self.without_pools = cluster, without_pools
        self.api, self.client = api, api.client
        self.task: asyncio.Task[None] | None = None
        self.informers: Informers | None = None

    async def begin(self) -> None:
        self.informers = Informers(self.client)
        clock, said = SystemClock(), self.without_pools
        self.controller = LoadBalancerController(self.client, clock, self.informers, self.cluster, without_pools=said)
        await self.informers.start()
        self.task = asyncio.create_task(self.controller.run())

    async def end(self) -> None:
        assert self.task is not None
        assert self.informers is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.informers.stop()

    async def create(self, name: str = "web", port: int = 80, **spec: Any) -> core.Service:
        spec.setdefault("type", "LoadBalancer")
        made = core.ServiceSpec(ports=[core.ServicePort(port=port, name="http")], **spec)
        metadata = meta.ObjectMeta(name=name, namespace="default")
        return await self.client.create(core.Service(metadata=metadata, spec=made))

    async def get(self, name: str = "web") -> core.Service:
        return await self.client.get(core.Service, name, "default")

    async def address(self, name: str = "web", *, other: str = "") -> str:
        """The address that a Service gets, another one than `other`."""
        async with asyncio.timeout(5):
            while True:
                found = (await self.get(name)).status.load_balancer.ingress
                if found and found[0].ip != other:
                    assert found[0].ip_mode == "Proxy"
                    return found[0].ip
                await asyncio.sleep(0)

    async def events(self, *reasons: str, about: str = "web") -> list[tuple[str, str, str]]:
        """All events about a Service, as soon as those with these reasons are there."""
        async with asyncio.timeout(5):
            while True:
                found = [
                    one
                    for one in (await self.client.list(core.Event, "default")).items
                    if one.involved_object.name == about and one.source.component == "service-controller"
                ]
                told = [(one.type, one.reason, one.message) for one in sorted(found, key=lambda e: e.metadata.name)]
                if set(reasons) <= {reason for _, reason, _ in told}:
                    return told
                await asyncio.sleep(0)

    async def times(self, reason: str, least: int) -> int:
        """How often something was told, as soon as it is so often."""
        async with asyncio.timeout(5):
            while True:
                found = await self.client.list(core.Event, "default")
                count = sum(one.count for one in found.items if one.reason == reason)
                if count >= least:
                    return count
                await asyncio.sleep(0)

    async def patch(self, change: dict[str, Any], name: str = "web") -> None:
        await self.client.patch(core.Service, name, change, "default")


@contextlib.asynccontextmanager
async def world(*nodes: str, cluster: str | None = "test", without_pools: str = "") -> AsyncIterator[World]:
    api = await server.start()
    made = World(api, cluster, without_pools)
    for name in nodes or ("node-1",):
        await api.client.create(core.Node(metadata=meta.ObjectMeta(name=name)))
    await made.begin()
    try:
        yield made
    finally:
        await made.end()


async def test_b3_a_service_gets_an_address_a_finalizer_and_events() -> None:
    async with world() as w:
        await w.create()
        assert await w.address() == str(Block("test").first)
        told = await w.events("EnsuredLoadBalancer")
        assert told == [
            ("Normal", "EnsuringLoadBalancer", "Ensuring load balancer"),
            ("Normal", "EnsuredLoadBalancer", "Ensured load balancer"),
        ]
        assert (await w.get()).metadata.finalizers == [FINALIZER]


async def test_b1_services_with_a_class_and_b7_others_are_left_alone() -> None:
    async with world() as w:
        await w.create("classy", load_balancer_class="example.com/lb")
        await w.create("plain", type="ClusterIP")
        await w.create("web")
        await w.address("web")
        for name in ("classy", "plain"):
            found = await w.get(name)
            assert not found.status.load_balancer.ingress and not found.metadata.finalizers


async def test_every_service_has_an_address_of_its_own_and_keeps_it_over_a_restart() -> None:
    async with world() as w:
        for name in ("a", "b", "c"):
            await w.create(name)
        before = [await w.address(name) for name in ("a", "b", "c")]
        assert len(set(before)) == 3
        await w.end()
        await w.client.delete(core.Service, "a", "default")
        await w.create("d")
        await w.begin()
        await w.address("d")
        assert [await w.address(name) for name in ("b", "c")] == before[1:]
        assert await w.address("d") not in before[1:]
        told = await w.events(about="b")
        assert len(told) == 2, "what is as it should be is not told again"


async def test_b4_deletion_is_cleaned_up_and_the_address_is_free_again() -> None:
    async with world() as w:
        await w.create()
        first = await w.address()
        await w.client.delete(core.Service, "web", "default")
        told = await w.events("DeletedLoadBalancer")
        assert told[2:] == [
            ("Normal", "DeletingLoadBalancer", "Deleting load balancer"),
            ("Normal", "DeletedLoadBalancer", "Deleted load balancer"),
        ]
        with pytest.raises(Exception, match="not found"):
            await w.get()
        await w.create("next")
        assert await w.address("next") == first


async def test_b4_a_service_that_is_no_balancer_any_more() -> None:
    async with world() as w:
        made = await w.create()
        await w.address()
        says = {"type": PORTS_CONDITION, "status": "True", "reason": "Open", "message": "x"}
        says["lastTransitionTime"] = made.metadata.creation_timestamp
        change = {"status": {"conditions": [says]}}
        await w.client.patch(core.Service, "web", change, "default", type="strategic", subresource="status")
        await w.patch({"spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": None}})
        await w.events("DeletedLoadBalancer")
        found = await w.get()
        assert not found.metadata.finalizers and not found.status.load_balancer.ingress
        assert not found.status.conditions


async def test_b5_changes_are_told_by_the_name_of_the_field() -> None:
    async with world() as w:
        await w.create()
        await w.address()
        await w.events("EnsuredLoadBalancer")
        await w.patch({"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"], "externalTrafficPolicy": "Local"}})
        told = await w.events("LoadBalancerSourceRanges", "ExternalTrafficPolicy", "HealthCheckNodePort")
        assert ("Normal", "LoadBalancerSourceRanges", "[] -> [10.0.0.0/8]") in told
        assert ("Normal", "ExternalTrafficPolicy", "Cluster -> Local") in told
        await w.patch({"metadata": {"labels": {"nothing": "to-follow"}}})
        await w.patch({"spec": {"ports": [{"name": "http", "port": 81}]}})
        assert await w.times("EnsuredLoadBalancer", 3) == 3


async def test_an_address_that_is_asked_for() -> None:
    async with world() as w:
        await w.create("web", load_balancer_ip="127.9.9.9")
        assert await w.address() == "127.9.9.9"
        await w.create("beside", port=81, load_balancer_ip="127.9.9.9")
        assert await w.address("beside") == "127.9.9.9"
        await w.patch({"spec": {"loadBalancerIP": "127.9.9.10"}})
        assert await w.address(other="127.9.9.9") == "127.9.9.10"
        assert ("Normal", "LoadbalancerIP", "127.9.9.9 -> 127.9.9.10") in await w.events("LoadbalancerIP")


async def test_b3_an_address_that_cannot_be_had_is_told_and_given_when_it_is_free() -> None:
    async with world() as w:
        await w.create("first", load_balancer_ip="127.9.9.9")
        await w.address("first")
        await w.create("web", load_balancer_ip="127.9.9.9")
        told = await w.events("SyncLoadBalancerFailed")
        text = "Error syncing load balancer: failed to ensure load balancer: "
        why = "loadBalancerIP 127.9.9.9: port 80/TCP is that of Service default/first"
        assert told == [("Warning", "SyncLoadBalancerFailed", text + why)]
        await w.client.delete(core.Service, "first", "default")
        assert await w.address() == "127.9.9.9"
        await w.create("far", load_balancer_ip="192.0.2.1")
        (_, _, message), *_ = await w.events("SyncLoadBalancerFailed", about="far")
        assert "is not in 127.0.0.0/8" in message


async def test_b6_nodes_that_balancers_may_not_use() -> None:
    async with world("node-1", "node-2") as w:
        await w.create()
        await w.events("EnsuredLoadBalancer")
        await w.client.patch(core.Node, "node-1", {"metadata": {"labels": {EXCLUDED: "true"}}})
        told = await w.events("UpdatedLoadBalancer")
        assert told[-1] == ("Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
        await w.client.patch(core.Node, "node-2", {"spec": {"taints": [taint]}})
        told = await w.events("UnAvailableLoadBalancer")
        assert told[-1][::2] == ("Warning", "There are no available nodes for LoadBalancer")


def test_blocks_are_in_the_loopback_range_and_have_no_awkward_addresses() -> None:
    for name in ("default", "a", "b"):
        found = Block(name).addresses()
        first = [next(found) for _ in range(600)]
        assert len(set(first)) == 600
        assert all(one.startswith("127.") and one.split(".")[3] not in ("0", "255") for one in first)
    assert Block("a").first != Block("b").first
