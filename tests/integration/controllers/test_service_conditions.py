"""Service conditions against the real API server: the test plays pods and nodes, acknowledging as nodes do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.helpers.server import ADMIN
from tests.integration.controllers import world
from tests.integration.controllers.world import Lagging, World

from skerry.api import status
from skerry.api.types import core, discovery, meta, skerry
from skerry.apiserver.app import App, in_process
from skerry.apiserver.verbs import Server
from skerry.client.acknowledge import Acknowledger
from skerry.client.client import Client
from skerry.clock import SystemClock
from skerry.controllers.serviceconditions.controller import GRACE, REFRESH
from skerry.store.embedded import EmbeddedStore


class Component:
    """The proxy or DNS of one node, as far as it is acknowledged: everything at once, until it is stuck."""

    def __init__(self, here: World, node: str, component: str) -> None:
        self.ack = Acknowledger(here.client, here.caches, here.clock, node, component)
        self._slices, self._services = here.caches.of(discovery.EndpointSlice), here.caches.of(core.Service)
        self._revisions = [0, 0]
        self.stuck = False
        self._slices.subscribe(lambda old, new: self._saw(0, new or old))
        self._services.subscribe(lambda old, new: self._saw(1, new or old))
        self._saw(0, None)

    def _saw(self, which: int, one: discovery.EndpointSlice | core.Service | None) -> None:
        revision = int(one.metadata.resource_version) if one is not None else int(self._slices.resource_version)
        self._revisions[which] = max(self._revisions[which], revision)
        self.tell()

    def tell(self) -> None:
        if not self.stuck:
            self.ack.applied(*self._revisions)


@contextlib.asynccontextmanager
async def nodes(here: World, *names: str) -> AsyncIterator[dict[str, Component]]:
    """Ready nodes, each with proxy and DNS: by `node.component`."""
    for name in names:
        await here.node(name)
    made = {f"{name}.{what}": Component(here, name, what) for name in names for what in ("proxy", "dns")}
    tasks = [asyncio.create_task(one.ack.run()) for one in made.values()]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def says(here: World, name: str = "web") -> dict[str, tuple[str, str]]:
    service = here.get(core.Service, name)
    return {one.type: (one.status, one.reason) for one in service.status.conditions} if service else {}


def condition(here: World, kind: str, name: str = "web") -> meta.Condition:
    service = here.get(core.Service, name)
    assert service is not None
    return next(one for one in service.status.conditions if one.type == kind)


AVAILABLE, EMPTY = ("True", "EndpointsAvailable"), ("False", "NoEndpoints")
DONE = ("True", "Programmed")


async def test_from_nothing_to_ready_and_back(here: World) -> None:
    async with nodes(here, "node-1", "node-2") as parts:
        await here.client.create(world.service())
        await here.until(lambda: says(here) == {"EndpointsReady": EMPTY, "Programmed": DONE})
        since = condition(here, "Programmed").last_transition_time
        assert since is not None
        pod = await here.runs(await here.client.create(world.pod("a", node_name="node-1")), ready=False)
        await here.until(lambda: says(here)["EndpointsReady"] == ("False", "NoReadyEndpoints"))
        await here.runs(pod)
        await here.until(lambda: says(here)["EndpointsReady"] == AVAILABLE)
        assert condition(here, "EndpointsReady").message == "The only endpoint is ready."
        # What others say of the Service stays, and what the node has to know is not what the Service says of itself.
        mine = {"type": "example.com/Mine", "status": "True", "reason": "Why", "lastTransitionTime": since}
        change = {"status": {"conditions": [mine]}}
        await here.client.patch(core.Service, "web", change, "default", type="strategic", subresource="status")
        await here.until(lambda: len(says(here)) == 3)
        # A proxy that is stuck is named; a node that is lost holds nothing up.
        parts["node-2.proxy"].stuck = True
        await here.client.patch(core.Service, "web", {"spec": {"sessionAffinity": "ClientIP"}}, "default")
        await here.until(lambda: says(here)["Programmed"] == ("False", "ProxyBehind"))
        assert condition(here, "Programmed").message == (
            "The proxies of these nodes do not know the newest state of the Service yet: node-2."
        )
        node = await here.client.get(core.Node, "node-2")
        lost = core.NodeStatus(conditions=[core.NodeCondition(type="Ready", status="Unknown")])
        await here.client.update(msgspec.structs.replace(node, status=lost), subresource="status")
        await here.until(lambda: says(here)["Programmed"] == DONE)
        parts["node-2.proxy"].stuck = False
        parts["node-2.proxy"].tell()
        await here.client.delete(core.Pod, "a", "default", grace_period_seconds=0)
        await here.until(lambda: says(here)["EndpointsReady"] == EMPTY)
        assert says(here)["example.com/Mine"] == ("True", "Why")


async def test_a_headless_service_is_a_matter_of_dns(here: World) -> None:
    async with nodes(here, "node-1") as parts:
        parts["node-1.proxy"].stuck = True
        await here.client.create(world.service("headless", cluster_ip="None"))
        await here.client.create(world.service("alias", type="ExternalName", external_name="a.example", selector={}))
        await here.until(lambda: says(here, "headless").get("Programmed") == DONE)
        await here.until(
            lambda: says(here, "alias") == {"EndpointsReady": ("True", "ExternalName"), "Programmed": DONE}
        )
        parts["node-1.dns"].stuck = True
        await here.client.patch(core.Service, "headless", {"spec": {"publishNotReadyAddresses": True}}, "default")
        await here.until(lambda: says(here, "headless")["Programmed"] == ("False", "DNSBehind"))


async def test_without_nodes_nobody_has_it(here: World) -> None:
    await here.client.create(world.service())
    await here.until(lambda: says(here) == {"EndpointsReady": EMPTY, "Programmed": ("False", "NoReadyNodes")})


async def test_ordinary_changes_write_nothing() -> None:
    """While nodes follow, a Service is written for what matters only, and its numbers now and then."""
    async with world.world(lagging=True) as here:
        assert isinstance(here.controllers, Lagging)
        asked = here.controllers.asked
        async with nodes(here, "node-1"):
            await here.client.create(world.service())
            first = await here.runs(await here.client.create(world.pod("p0", node_name="node-1")))
            await here.until(lambda: says(here) == {"EndpointsReady": AVAILABLE, "Programmed": DONE})
            asked.clear()
            for n in range(1, 8):
                await here.runs(await here.client.create(world.pod(f"p{n}", node_name="node-1")))
            await here.until(lambda: len(here.sliced("web")[0]) == 8)
            await here.runs(first, ready=False)
            await here.until(lambda: len(here.sliced("web")[0]) == 7)
            slices = here.caches.of(discovery.EndpointSlice)
            newest = max(int(one.metadata.resource_version) for one in slices.list())
            acks = here.caches.of(skerry.Acknowledgement)
            await here.until(lambda: all(one.status.applied_revision >= newest for one in acks.list()))
            assert [one for one in asked if "/services/" in one] == []
            assert GRACE < REFRESH


async def test_acknowledgements_are_few_and_belong_to_their_node(here: World) -> None:
    async with nodes(here, "node-1") as parts:
        acks = here.caches.of(skerry.Acknowledgement)
        await here.until(lambda: len(acks.list()) == 2)
        assert {one.metadata.name for one in acks.list()} == {"node-1.proxy", "node-1.dns"}
        seen: list[int] = []

        def note(_: skerry.Acknowledgement | None, new: skerry.Acknowledgement | None) -> None:
            if new is not None and new.spec.component == "proxy":
                seen.append(new.status.applied_revision)

        acks.subscribe(note)
        seen.clear()
        parts["node-1.proxy"].stuck = True  # from here on the test speaks for it
        for n in range(200):
            parts["node-1.proxy"].ack.applied(1000 + n, 0)
            if n % 20 == 0:
                await asyncio.sleep(0)
        await here.until(lambda: 1199 in seen)
        assert len(seen) <= 4, "news that come together are written together"
        assert seen == sorted(seen)
        # A volatile write: watchers see the newest, and it is one small object with its owner.
        [mine] = [one for one in acks.list() if one.spec.component == "proxy"]
        node = await here.client.get(core.Node, "node-1")
        assert [one.uid for one in mine.metadata.owner_references] == [node.metadata.uid]
        with pytest.raises(status.ApiError) as refused:
            await here.client.create(
                skerry.Acknowledgement(
                    metadata=meta.ObjectMeta(name="other"),
                    spec=skerry.AcknowledgementSpec(node_name="node-1", component="dns"),
                )
            )
        assert 'must be "node-1.dns": the node and the component' in str(refused.value)
        await here.client.delete(core.Node, "node-1")
        await here.until(lambda: not acks.list())


def _size(directory: Path) -> int:
    return sum(one.stat().st_size for one in directory.iterdir())


async def test_acknowledgements_leave_nothing_on_disk(tmp_path: Path) -> None:
    """Watchers see each of them; the file has the first one only, and does not grow."""
    store = EmbeddedStore(str(tmp_path / "state.db"))
    client = Client(in_process(App(Server(store, SystemClock()), lambda _: None), ADMIN))
    made = skerry.Acknowledgement(
        metadata=meta.ObjectMeta(name="node-1.dns"),
        spec=skerry.AcknowledgementSpec(node_name="node-1", component="dns"),
    )
    first = await client.create(made)
    size = _size(tmp_path)
    for number in range(1, 301):
        last = await client.patch(skerry.Acknowledgement, "node-1.dns", {"status": {"appliedRevision": number}})
    assert _size(tmp_path) == size
    seen = client.watch(skerry.Acknowledgement, resource_version=first.metadata.resource_version)
    async with contextlib.aclosing(seen):
        assert [(await anext(seen)).object.status.applied_revision for _ in range(300)] == list(range(1, 301))
    assert (await client.get(skerry.Acknowledgement, "node-1.dns")).metadata == last.metadata
    await store.close()
    again = EmbeddedStore(str(tmp_path / "state.db"))
    kept = await again.get("/skerry.dev/acknowledgements/node-1.dns")
    await again.close()
    assert kept is not None and kept.revision == int(first.metadata.resource_version)
