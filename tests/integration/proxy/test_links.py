"""A pod's link carries from the first packet on: what a lost SYN costs is a second."""

from __future__ import annotations

import asyncio
import os
import socket

from tests.helpers.namespaces import in_network_namespace

from skerry.netlink import namespace
from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork


@in_network_namespace
def test_nothing_is_lost_on_a_link_that_was_just_made() -> None:
    with Routes() as routes:
        routes.add_address(routes.index("lo"), "10.243.0.2/32")
    network = PodNetwork()
    for number in range(1, 101):  # without care, one in thirty is
        uid, ip, netns = f"pod-{number}", f"10.244.1.{number}", namespace.new()
        with (
            inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind(("0.0.0.0", 9))
            server.settimeout(5)
            network.connect(uid, [ip], netns)
            client.sendto(b"first", (ip, 9))
            assert server.recv(10) == b"first", number
        os.close(netns)
    asyncio.run(_disconnect(network, [f"pod-{number}" for number in range(1, 101)]))
    network.close()


async def _disconnect(network: PodNetwork, uids: list[str]) -> None:
    await asyncio.gather(*(network.disconnect(uid) for uid in uids))


@in_network_namespace
def test_many_links_go_together_and_the_event_loop_goes_on_meanwhile() -> None:
    network = PodNetwork()
    uids = [f"pod-{number}" for number in range(20)]
    for number, uid in enumerate(uids):
        network.connect(uid, [f"10.244.1.{number + 2}"], namespace.new())

    async def work() -> None:
        ended = asyncio.create_task(_disconnect(network, [*uids, "unknown", uids[0]]))
        turns = 0
        while not ended.done():
            await asyncio.sleep(0)
            turns += 1
        await ended
        assert turns > 100  # the kernel takes tens of milliseconds

    with Routes() as routes:
        assert len(routes.links()) == 1 + len(uids)
        asyncio.run(work())
        assert [one.name for one in routes.links()] == ["lo"]
    network.close()
