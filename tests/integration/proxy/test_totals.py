"""Connections per endpoint stay counted while its elements move, go and are adopted."""

from __future__ import annotations

import collections

from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import NODE, Network
from tests.unit.proxy.build import service

from skerry.clock import FakeClock, SystemClock
from skerry.proxy.nftables.backend import LINGER, Nftables

VIP = "10.96.0.9"


@in_network_namespace
async def test_counts_follow_a_backend_through_every_place_that_it_has() -> None:
    await counts_follow("None")


@in_network_namespace
async def test_p23_clients_that_stay_are_counted_too() -> None:
    await counts_follow("ClientIP")


async def counts_follow(affinity: str) -> None:
    clock = FakeClock()
    network = Network(clock)
    clients = [network.pod() for _ in range(3)]
    pods = [network.pod() for _ in range(4)]
    for pod in pods:
        await pod.serve()
    network.service(service(session_affinity=affinity), *pods)
    had: collections.Counter[str] = collections.Counter()
    for chosen in (pods, pods[1:], pods[3:], pods, pods[1:3], [*pods[:1], *pods[2:]], pods):
        network.endpoints(*chosen)
        for client in clients:
            had += await client.spread(VIP, 80, 8)
        there = {one.backend.address: one.total for one in network.kernel.connections()}
        assert {ip for ip in there if there[ip]} <= set(had)
        for pod in chosen:
            assert there[pod.ip] == had[pod.ip]
        for gone in set(pods) - set(chosen):
            await clock.advance(LINGER)
            network.kernel.connections()
            had[gone.ip] = 0  # who comes back begins anew
    (name,) = {(one.service, one.port, one.protocol) for one in network.kernel.connections()}
    assert name == ("default/web", "", "TCP")
    network.kernel.close()
    network.kernel = Nftables(NODE, SystemClock())
    network.kernel.start(network.brain.table)
    assert sum(one.total for one in network.kernel.connections()) > 0  # adopted with what the elements had counted
    network.finish()
