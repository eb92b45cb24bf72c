"""Two announcers, each with a clock of its own, at the two ends of a cable; who answers for which address there."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import server
from tests.helpers.namespaces import in_network_namespace
from tests.unit.proxy.build import endpoint, service

from skerry.api.types import core, discovery, meta
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import FakeClock, SystemClock
from skerry.metrics import Registry
from skerry.netlink.route import Routes
from skerry.proxy.announce import frames
from skerry.proxy.announce.announcer import Announcer
from skerry.proxy.announce.holders import SILENT, holder
from skerry.proxy.announce.services import EXCLUDED

NAMES = ("a", "b")
BOTH = {"default/web": ["192.168.7.200", "fd00:7::200"]}


class Machine:
    """A node, its end of the cable, and its announcer. One whose clock is not advanced is dead, or hung."""

    def __init__(self, api: server.ApiServer, name: str) -> None:
        self.name, self._api = name, api
        self.clock = FakeClock()
        self.registry = Registry()
        self.healthy = True

    async def begin(self) -> None:
        self.informers = Informers(self._api.client, SystemClock())
        await self.informers.start()
        node = await self._api.client.get(core.Node, self.name)
        recorder = Recorder(self._api.client, "skerry-proxy", self.name, clock=SystemClock())
        self.announcer = Announcer(
            *(self.informers, self.clock, recorder, node, [f"eth-{self.name}"], self.registry),
            lambda: self.healthy,
        )
        await self.announcer.start()

    @property
    def held(self) -> frozenset[str]:
        return self.announcer.held(f"eth-{self.name}")

    async def end(self) -> None:
        self.announcer.stop()
        await self.informers.stop()


class World:
    async def __aenter__(self) -> World:
        self.api = await server.start()
        with Routes() as routes:
            routes.add_veth("eth-a", "eth-b", mac="0a:00:00:00:00:01", peer_mac="0a:00:00:00:00:02")
            for number, name in enumerate(NAMES, 11):
                link = routes.index(f"eth-{name}")
                routes.set_link(link, up=True)
                routes.add_address(link, f"192.168.7.{number}/24")
                routes.add_address(link, f"fd00:7::{number}/64")
        for name in NAMES:
            await self.api.client.create(core.Node(metadata=meta.ObjectMeta(name=name)))
        self.a, self.b = self.machines = [Machine(self.api, name) for name in NAMES]
        for one in self.machines:
            await one.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self.machines:
            await one.end()

    async def passes(self, seconds: float, *alive: Machine) -> None:
        """Time passes in small steps, for these machines, or for both."""
        for _ in range(round(seconds / 0.1)):
            for one in alive or self.machines:
                await one.clock.advance(0.1)
            await asyncio.sleep(0.001)

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for what the API's watches bring."""
        async with asyncio.timeout(10):
            while True:
                if true():
                    return
                await asyncio.sleep(0.001)

    async def balancer(self, name: str = "web", *ips: str, **spec: Any) -> None:
        spec.setdefault("type", "LoadBalancer")
        made = service(name, "", **spec)
        await self.api.client.create(made)
        ingress = [{"ip": ip, "ipMode": "VIP"} for ip in ips]
        await self.api.client.patch(
            *(core.Service, name, {"status": {"loadBalancer": {"ingress": ingress}}}, "default"), subresource="status"
        )

    async def endpoints(self, *nodes: str) -> None:
        """The Service `web` has ready endpoints on these nodes."""
        client = self.api.client
        with contextlib.suppress(Exception):
            await client.delete(discovery.EndpointSlice, "web-1", "default")
        await client.create(
            discovery.EndpointSlice(
                metadata=meta.ObjectMeta(
                    name="web-1", namespace="default", labels={"kubernetes.io/service-name": "web"}
                ),
                address_type="IPv4",
                endpoints=[endpoint(f"10.244.{n}.9", node=node) for n, node in enumerate(nodes, 1)],
                ports=[discovery.EndpointPort(port=8080, name="", protocol="TCP")],
            )
        )

    def share(self, name: str, found: list[str]) -> set[str]:
        return {one for one in found if holder(one, NAMES) == name}


def many() -> list[str]:
    return [f"192.168.7.{n}" for n in range(200, 210)] + [f"fd00:7::{n}" for n in range(200, 206)]


@in_network_namespace
async def test_each_address_has_one_holder_and_a_dead_ones_move_within_two_seconds() -> None:
    async with World() as w:
        await w.balancer("web", *many())
        await w.passes(SILENT - 0.2)
        assert not w.a.held and not w.b.held  # they listen first
        await w.passes(0.5)
        await w.until(lambda: w.a.held == w.share("a", many()) and w.b.held == w.share("b", many()))
        assert w.a.held and w.b.held

        await w.passes(1.9, w.a)  # b is silent
        assert w.a.held == set(many())

        # b was only hung. It finds that, listens, and they share as before.
        await w.b.clock.advance(5)
        await w.passes(1.0)
        assert (w.a.held, w.b.held) == (w.share("a", many()), w.share("b", many()))

        # One that ends says so, and nobody waits.
        w.b.announcer.stop()
        await w.until(lambda: w.a.held == set(many()))


@in_network_namespace
async def test_what_is_announced_is_told_in_events_and_metrics() -> None:
    async with World() as w:
        await w.balancer("web", *BOTH["default/web"])
        await w.passes(1.5)
        for address in BOTH["default/web"]:
            machine = w.a if holder(address, NAMES) == "a" else w.b
            await w.until(lambda machine=machine, address=address: address in machine.held)  # type: ignore[misc]
            labels = f'service="default/web",protocol="layer2",node="{machine.name}",ip="{address}"'
            assert f"metallb_speaker_announced{{{labels}}} 1" in machine.registry.text()
            assert f'metallb_layer2_gratuitous_sent{{ip="{address}"}}' in machine.registry.text()
            text = f'announcing from node "{machine.name}" with protocol "layer2"'
            events: list[core.Event] = []
            async with asyncio.timeout(10):
                while not any((one.reason, one.message) == ("nodeAssigned", text) for one in events):
                    events = (await w.api.client.list(core.Event, "default")).items
        await w.api.client.delete(core.Service, "web", "default")
        await w.until(lambda: not w.a.held and not w.b.held)
        assert "metallb_speaker_announced{" not in w.a.registry.text() + w.b.registry.text()


@in_network_namespace
async def test_b6_excluded_nodes_unhealthy_proxies_and_addresses_of_other_networks() -> None:
    async with World() as w:
        await w.balancer("web", *many(), "203.0.113.9", "192.168.7.12")  # one is not here, one is b's own
        await w.passes(1.5)
        await w.until(lambda: w.a.held | w.b.held == set(many()))
        await w.api.client.patch(core.Node, "b", {"metadata": {"labels": {EXCLUDED: ""}}})
        await w.until(lambda: w.a.held == set(many()) and not w.b.held)
        await w.api.client.patch(core.Node, "b", {"metadata": {"labels": {EXCLUDED: None}}})
        await w.until(lambda: len(w.b.announcer._members) == len(w.a.announcer._members) == 2)
        await w.passes(0.7)
        assert w.b.held == w.share("b", many())
        w.b.healthy = False
        await w.passes(0.7)
        assert w.a.held == set(many()) and not w.b.held


@in_network_namespace
async def test_with_policy_local_only_nodes_with_endpoints_hold_the_address() -> None:
    async with World() as w:
        address = "192.168.7.200"
        await w.balancer("web", address, external_traffic_policy="Local")
        await w.passes(1.5)
        for nodes, wanted in (("b", "b"), ("a", "a"), ("ab", holder(address, "ab"))):
            await w.endpoints(*nodes)
            other = w.a if wanted == "b" else w.b
            machine = w.b if wanted == "b" else w.a
            await w.until(lambda m=machine, o=other: address in m.held and not o.held)  # type: ignore[misc]
        await w.endpoints()
        await w.until(lambda: not w.a.held and not w.b.held)


@in_network_namespace
async def test_a_false_claim_is_answered() -> None:
    async with World() as w:
        address = next(one for one in many() if holder(one, NAMES) == "a")
        await w.balancer("web", address)
        await w.passes(4)
        assert address in w.a.held
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(frames.ARP)) as wire:
            wire.bind(("eth-b", frames.ARP))
            wire.send(frames.claim(address, b"\x0a\0\0\0\0\x66"))
            await w.passes(0.5)
            assert frames.read(wire.recv(2048), b"\x0a\0\0\0\0\x66") == frames.Claimed(address, b"\x0a\0\0\0\0\x01")
            with pytest.raises(BlockingIOError):
                wire.recv(2048)


@in_network_namespace
async def test_a_machine_without_an_address_in_a_network_leaves_all_of_it_to_others() -> None:
    async with World() as w:
        await w.balancer("web", *many())
        await w.passes(2)
        with Routes() as routes:
            routes.delete_address(routes.index("eth-b"), "fd00:7::12/64")
        await w.passes(0.5)
        assert w.a.held == w.share("a", many()) | {one for one in many() if ":" in one}
        assert w.b.held == {one for one in w.share("b", many()) if ":" not in one}


@in_network_namespace
async def test_the_address_of_a_machine_is_never_announced() -> None:
    async with World() as w:
        status = {"addresses": [{"type": "InternalIP", "address": "192.168.7.77"}]}
        await w.balancer("web", "192.168.7.77", "192.168.7.200")
        await w.api.client.patch(core.Node, "a", {"status": status}, subresource="status")
        await w.until(lambda: all("192.168.7.77" in one.announcer._taken for one in w.machines))
        await w.passes(2)
        assert w.a.held | w.b.held == {"192.168.7.200"}


@in_network_namespace
async def test_an_interface_that_goes_and_comes_back() -> None:
    async with World() as w:
        await w.balancer("web", *many())
        await w.passes(1.5)
        with Routes() as routes:
            routes.set_link(routes.index("eth-a"), up=False)
            routes.set_link(routes.index("eth-a"), name="elsewhere")
            await w.passes(1.5)
            assert not w.a.held and w.b.held == set(many())
            routes.set_link(routes.index("elsewhere"), name="eth-a")
            routes.set_link(routes.index("eth-a"), up=True)
            routes.add_address(routes.index("eth-a"), "fd00:7::11/64")  # which the kernel took when it went down
        await w.passes(1.5)
        assert (w.a.held, w.b.held) == (w.share("a", many()), w.share("b", many()))
