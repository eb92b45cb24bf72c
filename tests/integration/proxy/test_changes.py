"""Changes while packets flow: no connection may notice that its Service's endpoints are being changed."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import Host, Network, both_back_ends, over
from tests.unit.proxy.build import endpoint, port, service, slice_of

from skerry.api.types import discovery
from skerry.clock import FakeClock, SystemClock
from skerry.netlink import nft, nft_set
from skerry.proxy.conntrack import Conntrack
from skerry.proxy.nftables.backend import LINGER, Nftables

VIP = "10.96.0.9"


class Flood:
    """New UDP flows from a pod to the VIP, as fast as one process can (a thread would share our interpreter's lock)."""

    def __init__(self, host: Host, count: int) -> None:
        made = host.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
        self._process = os.fork()
        if self._process == 0:
            for number in range(count):
                made.sendto(struct.pack("!HHHH", 1024 + number % 64000, 80, 8, 0), (VIP, 0))
            os._exit(0)
        made.close()

    def ended(self) -> bool:
        return os.waitpid(self._process, os.WNOHANG)[0] != 0


@in_network_namespace
async def test_no_new_flow_misses_while_endpoints_come_and_go() -> None:
    network = Network(linger=0.001)  # as soon as that: else indexes are taken back before they are swept
    client = network.pod()
    pods = [network.pod() for _ in range(5)]
    network.service(service("web", VIP, port(80, "u", "UDP")))
    ports = [discovery.EndpointPort(name="u", protocol="UDP", port=8080)]
    network.endpoints(*pods, ports=ports)
    flood = Flood(client, 60_000)
    chance = random.Random(7)
    changes = 0
    while not flood.ended():
        network.endpoints(*chance.sample(pods, chance.randint(1, 5)), ports=ports)
        changes += 1
        await asyncio.sleep(0.002)
    assert changes > 100
    network.finish()


@both_back_ends
@in_network_namespace
async def test_no_connection_fails_while_endpoints_come_and_go(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    pods = [network.pod() for _ in range(4)]
    for pod in pods:
        await pod.serve()
    network.service(service(), *pods)
    done = asyncio.Event()

    async def change() -> None:
        chance = random.Random(3)
        while not done.is_set():
            network.endpoints(*chance.sample(pods, chance.randint(1, 4)))
            await asyncio.sleep(0)

    changing = asyncio.create_task(change())
    found = await client.spread(VIP, 80, 500)
    done.set()
    await changing
    assert set(found) == {one.ip for one in pods}
    network.finish()


@both_back_ends
@in_network_namespace
async def test_who_left_gets_no_new_connection(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    pods = [network.pod() for _ in range(3)]
    for pod in pods:
        await pod.serve()
    network.service(service(), *pods)
    for gone in pods:
        network.endpoints(*[one for one in pods if one is not gone])
        assert gone.ip not in await client.spread(VIP, 80, 40)
    network.finish()


@pytest.mark.parametrize("mode", ["nftables", "nftables IPv6"])
@in_network_namespace
async def test_p33_udp_flows_leave_a_backend_that_has_gone(mode: str) -> None:
    network = Network(mode=mode)
    conntrack = Conntrack()
    client, one, two = network.pod(), network.pod(), network.pod()
    for pod in (one, two):
        await pod.serve_udp(5353)
    found = service("web", VIP, port(53, "dns", "UDP"))
    network.service(found)
    ports = [discovery.EndpointPort(name="dns", protocol="UDP", port=5353)]
    network.endpoints(one, ports=ports)
    with client.socket(socket.SOCK_DGRAM) as ours:
        await asyncio.get_running_loop().sock_connect(ours, (over(client.family, VIP), 53))
        assert (await client.ask(VIP, 53, ours))[0] == one.ip
        network.endpoints(one, two, ports=ports)
        changed = set(network.brain.table.frontends)
        assert conntrack.heal(changed, network.brain.table) == 0
        network.endpoints(two, ports=ports)
        assert (await client.ask(VIP, 53, ours))[0] == one.ip  # conntrack holds on to it ...
        assert conntrack.heal(changed, network.brain.table) == 1
        assert (await client.ask(VIP, 53, ours))[0] == two.ip  # ... until it is made to forget
        network.brain.apply_service("default/web", None)
        assert conntrack.heal(changed, network.brain.table) == 1
    conntrack.close()
    network.finish()


@pytest.mark.parametrize("mode", ["nftables", "nftables IPv6"])
@in_network_namespace
async def test_p33_what_changed_while_no_proxy_ran_is_healed_by_the_next_one(mode: str) -> None:
    network = Network(mode=mode)
    family = network.families[0]
    conntrack = Conntrack()
    client, one, two = network.pod(), network.pod(), network.pod()
    for pod in (one, two):
        await pod.serve_udp(5353)
    ports = [discovery.EndpointPort(name="dns", protocol="UDP", port=5353)]
    network.service(service("web", VIP, port(53, "dns", "UDP")))
    network.endpoints(one, ports=ports)
    with client.socket(socket.SOCK_DGRAM) as ours, client.socket(socket.SOCK_DGRAM) as direct:
        for sender, address, number in ((ours, VIP, 53), (direct, one.ip, 5353)):
            await asyncio.get_running_loop().sock_connect(sender, (over(family, address), number))
            assert (await client.ask(address, number, sender))[0] == one.ip
        network.kernel.close()
        there = slice_of(endpoint(over(family, two.ip), node="a"), ports=ports, kind=family)
        network.brain.apply_slice("default/web-1", there)
        network.kernel = Nftables(network.here, SystemClock())
        network.kernel.start(network.brain.table)
        assert conntrack.reconcile(network.brain.table, network.here.service_cidrs) == 1
        assert (await client.ask(VIP, 53, ours))[0] == two.ip
        assert conntrack.reconcile(network.brain.table, network.here.service_cidrs) == 0
        network.kernel.program(network.brain.table, network.brain.apply_service("default/web", None))
        assert conntrack.reconcile(network.brain.table, network.here.service_cidrs) == 1  # nobody's; not the direct one
    conntrack.close()
    network.finish()


@in_network_namespace
async def test_what_a_packet_may_still_be_on_its_way_to_stays_for_fifty_milliseconds() -> None:
    """The time that a packet may take from its first lookup to its last: a stalled CPU must not lose it."""
    clock = FakeClock()
    network = Network(clock)
    pods = [network.pod() for _ in range(3)]
    network.service(service(), *pods)
    network.endpoints(*pods[:1])
    with nft.Nft() as kernel:
        await clock.advance(0.049)
        assert len(nft_set.dump_elements(kernel, "skerry", "endpoints")) == 3
        network.kernel.program(network.brain.table, network.brain.apply_service("default/web", None))
        await clock.advance(0.002)  # the sweep of the first change leaves what the second one left behind
        assert len(nft_set.dump_elements(kernel, "skerry", "endpoints")) == 1
        assert len(nft_set.dump_elements(kernel, "skerry", "lists")) == 1
        await clock.advance(0.048)
        assert len(nft_set.dump_elements(kernel, "skerry", "lists")) == 1
        await clock.advance(0.05)
        assert nft_set.dump_elements(kernel, "skerry", "endpoints") == []
        assert nft_set.dump_elements(kernel, "skerry", "lists") == []
    network.finish()


@in_network_namespace
async def test_the_kernel_holds_what_the_planner_thinks_and_after_the_sweep_no_more() -> None:
    clock = FakeClock()
    network = Network(clock)
    pods = [network.pod() for _ in range(3)]
    network.service(service("web", VIP, port(80, node_port=30080), type="NodePort"), *pods)
    network.endpoints(pods[0])
    with nft.Nft() as kernel:
        assert len(nft_set.dump_elements(kernel, "skerry", "endpoints")) == 3
        await clock.advance(LINGER)
        assert len(nft_set.dump_elements(kernel, "skerry", "endpoints")) == 1
        assert len(nft_set.dump_elements(kernel, "skerry", "counts")) == 2
        assert len(nft_set.dump_elements(kernel, "skerry", "masqueraded")) == 1
    network.finish()
