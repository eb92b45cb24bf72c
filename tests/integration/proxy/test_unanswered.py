"""Clients whose SYN a full listening socket dropped: only connection tracking knows of them."""

from __future__ import annotations

import asyncio
import socket

from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import Host, Network
from tests.unit.proxy.build import service

from skerry.netlink import diag, wire
from skerry.netlink.flows import unanswered

VIP = "10.96.0.9"


def knock(client: Host) -> socket.socket:
    made = client.socket()
    made.setblocking(False)
    made.connect_ex((VIP, 80))
    return made


@in_network_namespace
async def test_who_was_not_answered_is_known_until_that_happens() -> None:
    network = Network()
    client, pod, other = network.pod(), network.pod(), network.pod()
    listener = pod.socket()
    listener.bind((pod.ip, 8080))
    listener.listen(0)
    listener.setblocking(False)
    network.service(service(), pod)
    with wire.Socket(wire.NETFILTER) as tracking, pod.do(lambda: wire.Socket(wire.SOCK_DIAG)) as sockets:
        assert unanswered(tracking, pod.ip, {8080}, 4.5) == 0
        knocking = [knock(client) for _ in range(4)]
        async with asyncio.timeout(5):
            while len(diag.connections(sockets)) + unanswered(tracking, pod.ip, {8080}, 4.5) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert unanswered(tracking, pod.ip, {8080}, 4.5) > 0
        assert unanswered(tracking, pod.ip, {8081}, 4.5) == unanswered(tracking, other.ip, {8080}, 4.5) == 0
        assert unanswered(tracking, pod.ip, {8080}, -1.0) == 0  # none knocked after now
        listener.listen(16)  # there is room now for those who knock again
        async with asyncio.timeout(10):
            while unanswered(tracking, pod.ip, {8080}, 60):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert len(diag.connections(sockets)) == 4
    for one in (*knocking, listener):
        one.close()
    network.finish()
