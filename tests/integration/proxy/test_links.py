"""A pod's link carries from the first packet on: what a lost SYN costs is a second."""

from __future__ import annotations

import os
import socket

from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import new_netns

from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork, inside


@in_network_namespace
def test_nothing_is_lost_on_a_link_that_was_just_made() -> None:
    with Routes() as routes:
        routes.add_address(routes.index("lo"), "10.243.0.2/32")
    network = PodNetwork()
    for number in range(1, 101):  # without care, one in thirty is
        uid, ip, netns = f"pod-{number}", f"10.244.1.{number}", new_netns()
        with (
            inside(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind(("0.0.0.0", 9))
            server.settimeout(5)
            network.connect(uid, ip, netns)
            client.sendto(b"first", (ip, 9))
            assert server.recv(10) == b"first", number
        network.disconnect(uid)
        os.close(netns)
    network.close()
