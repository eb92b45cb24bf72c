"""The wait before a stop signal against a real API server and real connections; only the clock is the test's."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.helpers import server

from skerry.api import status
from skerry.api.types import core, discovery, meta, skerry
from skerry.client.informer import Informers
from skerry.clock import FakeClock
from skerry.node.agent.drains import Draining, Drains
from skerry.node.pods.drain import Behind, Report

MANAGED = "endpointslice-controller.k8s.io"
UID = "11111111-2222-3333-4444-555555555555"


class Here:
    """Stands for the runtime: the pod's network is the test's own."""

    def in_pod(self, uid, work):
        if uid != UID:
            raise KeyError(uid)
        return work()


class World:
    """Nodes, slices and acknowledgements of a real API; `drains` of node-1."""

    async def start(self, *nodes):
        self.clock = FakeClock()
        self.client = (await server.start(self.clock)).client
        self.informers = Informers(self.client, self.clock)
        self.running = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        for one in nodes:
            await self.node(one)
        self.drains = Drains(self.client, self.informers, self.clock, Here(), "node-1")
        await self.informers.start()
        await self.drains.start()
        self.running = True

    async def close(self):
        await self.drains.close()
        await self.informers.stop()
        self.listener.close()

    async def node(self, name, ready="True"):
        conditions = [core.NodeCondition(type="Ready", status=ready)]
        if self.informers.of(core.Node).get(name) is None:
            await self.client.create(core.Node(metadata=meta.ObjectMeta(name=name)))
        await self.client.patch(core.Node, name, {"status": {"conditions": conditions}}, subresource="status")
        if self.running:
            await self.seen(core.Node, lambda cache: name in cache and cache[name].status.conditions == conditions)

    async def seen(self, kind, check):
        """Returns when this process's cache is as `check` wants it."""
        news, cache = asyncio.Event(), self.informers.of(kind)
        cache.subscribe(lambda _old, _new: news.set())
        async with asyncio.timeout(5):
            while not check(cache.items):
                news.clear()
                await news.wait()

    async def slice(self, name="web-1", *, terminating=False, headless=False, managed=MANAGED):
        """Makes or changes a slice that names the pod; its revision."""
        labels = {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": managed}
        if headless:
            labels["service.kubernetes.io/headless"] = ""
        wanted = discovery.EndpointSlice(
            metadata=meta.ObjectMeta(name=name, namespace="default", labels=labels),
            address_type="IPv4",
            endpoints=[
                discovery.Endpoint(
                    addresses=["10.244.1.5"],
                    node_name="node-1",
                    conditions=discovery.EndpointConditions(
                        ready=not terminating, serving=True, terminating=terminating
                    ),
                    target_ref=core.ObjectReference(kind="Pod", uid=UID, name="p", namespace="default"),
                )
            ],
            ports=[discovery.EndpointPort(name="", protocol="TCP", port=self.port)],
        )
        key = f"default/{name}"
        if self.informers.of(discovery.EndpointSlice).get(key) is None:
            made = await self.client.create(wanted)
        else:
            made = await self.client.update(wanted)
        version = made.metadata.resource_version
        await self.seen(discovery.EndpointSlice, lambda c: key in c and c[key].metadata.resource_version == version)
        return int(version)

    async def acknowledge(self, node, revision, component="proxy"):
        name = f"{node}.{component}"
        said = skerry.AcknowledgementStatus(applied_revision=revision)
        try:
            await self.client.patch(skerry.Acknowledgement, name, {"status": said})
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
            spec = skerry.AcknowledgementSpec(node_name=node, component=component)
            made = skerry.Acknowledgement(metadata=meta.ObjectMeta(name=name), spec=spec, status=said)
            await self.client.create(made)

    async def delete(self, seconds=10.0, **how) -> tuple[Draining, asyncio.Task[Report]]:
        """A pod that a slice names is deleted, which the slice does not say yet."""
        await self.slice(**how)
        found = self.drains.of(UID, [], seconds)
        assert found is not None
        return found, asyncio.create_task(found.run())

    async def report(self, task) -> Report:
        return await asyncio.wait_for(task, 5)

    async def waits(self, task) -> None:
        """Nothing that came so far has ended it: all that is on its way is let through first."""
        probe = await self.client.create(core.Node(metadata=meta.ObjectMeta(generate_name="probe-")))
        await self.seen(core.Node, lambda cache: probe.metadata.name in cache)
        acknowledgements = self.drains._acknowledgements
        if acknowledgements is not None:
            newest = {one.metadata.name for one in (await self.client.list(skerry.Acknowledgement)).items}
            async with asyncio.timeout(5):
                while {one.metadata.name for one in acknowledgements.list()} != newest:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
        await self.clock.settle(50)
        assert not task.done()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(("127.0.0.1", self.port))
        return client, self.listener.accept()[0]


def in_world(*nodes):
    def wrap(work):
        def test():
            async def run():
                world = World()
                await world.start(*nodes)
                try:
                    await asyncio.wait_for(work(world), 20)
                finally:
                    await world.close()

            asyncio.run(run())

        test.__name__, test.__doc__ = work.__name__, work.__doc__
        return test

    return wrap


@in_world("node-1", "node-2")
async def test_every_proxy_has_to_acknowledge(world):
    first = await world.slice()
    for node in ("node-1", "node-2"):
        await world.acknowledge(node, first)
    _, task = await world.delete()
    await world.waits(task)  # the slice says nothing yet, whatever is acknowledged
    revision = await world.slice(terminating=True)
    await world.acknowledge("node-1", revision)
    await world.waits(task)
    await world.acknowledge("node-2", revision)
    found = await world.report(task)
    assert found.complete and (found.told, found.names, found.first) == (2, 0, 0)


@in_world("node-1", "node-2")
async def test_a_dead_node_holds_nothing_up(world):
    _, task = await world.delete()
    revision = await world.slice(terminating=True)
    await world.acknowledge("node-1", revision)
    await world.waits(task)
    await world.node("node-2", ready="Unknown")
    found = await world.report(task)
    assert found.complete and found.told == 1


@in_world("node-1", "node-2")
async def test_a_node_that_never_acknowledges_costs_the_bound(world):
    """A foreign kube-proxy does that: what helps is time, for each pod."""
    for _ in range(2):
        _, task = await world.delete()
        revision = await world.slice(terminating=True)
        await world.acknowledge("node-1", revision)
        await world.waits(task)
        await world.clock.advance(4.9)
        await world.waits(task)
        await world.clock.advance(0.1)
        found = await world.report(task)
        assert found.late == (Behind("node-2", "proxy"),) and found.acknowledged_after == pytest.approx(5.0)
        assert found.event().reason == "DrainTimedOut"


@in_world("node-1", "node-2")
async def test_a_node_that_is_stuck_costs_the_bound_once(world):
    first = await world.slice()
    await world.acknowledge("node-2", first)
    _, task = await world.delete()
    revision = await world.slice(terminating=True)
    await world.acknowledge("node-1", revision)
    await world.waits(task)
    await world.clock.advance(5)
    assert not (await world.report(task)).complete
    _, task = await world.delete()
    revision = await world.slice(terminating=True)
    await world.acknowledge("node-1", revision)
    assert (await world.report(task)).complete
    # It speaks again, so that it counts again.
    await world.acknowledge("node-2", revision - 1)
    _, task = await world.delete()
    revision = await world.slice(terminating=True)
    await world.acknowledge("node-1", revision)
    await world.waits(task)
    await world.acknowledge("node-2", revision)
    assert (await world.report(task)).complete


@in_world("node-1")
async def test_headless_services_wait_for_the_name_servers(world):
    await world.slice("web-2")
    _, task = await world.delete(headless=True)
    revision = await world.slice(terminating=True, headless=True)
    proxied = await world.slice("web-2", terminating=True)
    await world.acknowledge("node-1", proxied)
    await world.waits(task)
    await world.acknowledge("node-1", revision, "dns")
    found = await world.report(task)
    assert found.complete and (found.told, found.names) == (1, 1)


@in_world("node-1")
async def test_a_slice_that_goes_counts_as_news(world):
    _, task = await world.delete()
    await world.client.delete(discovery.EndpointSlice, "web-1", "default")
    await world.seen(discovery.EndpointSlice, lambda cache: "default/web-1" not in cache)
    await world.waits(task)
    await world.acknowledge("node-1", 10**6)
    assert (await world.report(task)).complete


@in_world("node-1")
async def test_slices_that_nobody_changes_cost_the_bound(world):
    _, task = await world.delete()
    await world.acknowledge("node-1", 10**6)
    await world.waits(task)
    await world.clock.advance(5)
    found = await world.report(task)
    assert found.still_sending and not found.complete


@in_world("node-1")
async def test_pods_behind_no_service_do_not_wait(world):
    assert world.drains.of(UID, [], 10.0) is None
    await world.slice(managed="somebody-else")
    assert world.drains.of(UID, [], 10.0) is None
    await world.slice("web-2")
    assert world.drains.of(UID, [], 10.0) is not None
    assert world.drains.of("another", [], 10.0) is None


async def acknowledged(world, seconds=10.0):
    """A deleted pod of which only the connections are left to wait for."""
    draining, task = await world.delete(seconds)
    await world.acknowledge("node-1", await world.slice(terminating=True))
    return draining, task


@in_world("node-1")
async def test_open_connections_are_waited_for(world):
    pairs = [world.connect() for _ in range(3)]
    _, task = await acknowledged(world)
    await world.waits(task)
    await world.clock.advance(0.5)
    assert not task.done()
    for client, ours in pairs[:2]:
        client.close()
        ours.close()
    await world.clock.advance(0.5)
    assert not task.done()
    client, ours = pairs[2]
    client.shutdown(socket.SHUT_WR)  # it has asked all it wants to, and still reads
    await world.clock.advance(0.2)
    assert not task.done()
    ours.close()
    await world.clock.advance(0.2)
    found = await world.report(task)
    client.close()
    assert found.complete and (found.first, found.left) == (3, 0)
    assert "3 open connections ended after" in found.event().message


@in_world("node-1")
async def test_connections_are_waited_for_only_so_long(world):
    client, ours = world.connect()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    _, task = await acknowledged(world, seconds=3.0)
    await world.waits(task)
    await world.clock.advance(2.9)
    assert not task.done()
    await world.clock.advance(0.1)
    found = await world.report(task)
    client.close()
    ours.close()
    assert (found.busy, found.first) == (1, 1) and found.event().reason == "DrainTimedOut"


@in_world("node-1")
async def test_patience_can_shorten(world):
    client, ours = world.connect()
    draining, task = await acknowledged(world)
    await world.waits(task)
    draining.hurry(1.0)
    await world.clock.advance(1.0)
    found = await world.report(task)
    client.close()
    ours.close()
    assert found.busy == 1 and found.ended_after < 1.01


@in_world("node-1")
async def test_a_connection_that_the_server_closed_is_done(world):
    """A pool that does not look at what it holds keeps it half open for as long as it likes."""
    client, ours = world.connect()
    ours.close()
    _, task = await acknowledged(world)
    found = await world.report(task)
    client.close()
    assert found.complete and found.first == 0


@in_world("node-1")
async def test_acknowledgements_are_watched_only_while_somebody_waits(world):
    assert world.drains._watch is None
    _, task = await acknowledged(world)
    await world.report(task)
    assert world.drains._watch is not None
    await world.clock.advance(59)
    _, task = await acknowledged(world)
    await world.report(task)
    await world.clock.advance(59)
    assert world.drains._watch is not None
    await world.clock.advance(1)
    assert world.drains._watch is None
