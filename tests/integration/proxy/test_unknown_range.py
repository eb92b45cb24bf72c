"""The kernel's table where nobody says which range cluster IPs come from: those in use are known, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import NODE, NODE_IP, Network
from tests.unit.proxy.build import port, service

from skerry.clock import SystemClock
from skerry.proxy.brain import Brain
from skerry.proxy.nftables.backend import Nftables

VIP, EMPTY = "10.96.0.9", "10.96.0.11"


@in_network_namespace
async def test_services_work_and_other_addresses_are_left_alone() -> None:
    network = Network()
    network.kernel.remove()
    network.kernel.close()
    node = dataclasses.replace(NODE, service_cidrs=("0.0.0.0/0",))
    network.brain = Brain(node)
    network.kernel = Nftables(node, SystemClock())
    network.kernel.start(network.brain.table)
    client, pod, foreign = network.pod(), network.pod(), network.pod()
    for one in (pod, foreign):
        await one.serve()
    network.service(service("web", VIP, port(80, node_port=30080), type="NodePort"), pod)
    assert await client.connect(VIP, 80) == (pod.ip, client.ip)
    assert (await network.node.connect(VIP, 80))[0] == pod.ip
    assert await network.outside.connect(VIP, 80) == (pod.ip, NODE_IP)  # P17: no pod of ours, masqueraded
    assert await network.outside.connect(NODE_IP, 30080) == (pod.ip, NODE_IP)
    assert await client.connect(foreign.ip, 8080) == (foreign.ip, client.ip)
    network.kernel.program(network.brain.table, network.brain.apply_service("default/empty", service("empty", EMPTY)))
    for address, number in ((VIP, 81), (EMPTY, 80)):  # P25, P11
        with pytest.raises(ConnectionRefusedError):
            await client.connect(address, number)
    network.finish()
