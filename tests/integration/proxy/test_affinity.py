"""Session affinity (P23) with real packets: who stays where, for how long, and what ends it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import FAMILIES, IPV6, NODE_IP, Host, Network, both_back_ends, eventually, nft_program
from tests.unit.proxy.build import endpoint, port, service, slice_of

from skerry.api.types import core, discovery
from skerry.clock import SystemClock
from skerry.netlink import nft, nft_set
from skerry.proxy.nftables.backend import Nftables

VIP = "10.96.0.9"


def sticky(seconds: int | None = None, *ports: core.ServicePort, **spec: object) -> core.Service:
    config = None
    if seconds is not None:
        config = core.SessionAffinityConfig(client_ip=core.ClientIPConfig(timeout_seconds=seconds))
    return service("web", VIP, *ports, session_affinity="ClientIP", session_affinity_config=config, **spec)


async def serving_pods(network: Network, count: int) -> list[Host]:
    pods = [network.pod() for _ in range(count)]
    for pod in pods:
        await pod.serve()
    return pods


def remembered(network: Network) -> int:
    with nft.Nft(network.kernel_family) as kernel:
        return len(nft_set.dump_elements(kernel, "skerry", "affinity"))


def chains(network: Network) -> set[str]:
    with nft.Nft(network.kernel_family) as kernel:
        return {one for one in kernel.chains("skerry") if one.startswith("keep-")}


@both_back_ends
@in_network_namespace
async def test_p23_each_client_stays_with_one_backend_whichever_address_it_uses(mode: str) -> None:
    network = Network(mode=mode)
    clients = [network.pod() for _ in range(8)]
    pods = await serving_pods(network, 4)
    network.service(sticky(None, port(80, node_port=30080), type="NodePort"), *pods)
    found = {}
    for client in [*clients, network.outside, network.node]:
        (found[client.ip],) = await client.spread(VIP, 80, 12)
        assert set(await client.spread(NODE_IP, 30080, 12)) == {found[client.ip]}
    assert len(set(found.values())) > 1  # one in 65,000: all eight pods were sent to the same backend
    assert network.mode == "userspace" or chains(network) == {"keep-10800"}
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p23_clients_of_a_backend_that_leaves_choose_anew_and_nobody_else_does(mode: str) -> None:
    network = Network(mode=mode)
    clients = [network.pod() for _ in range(6)]
    pods = await serving_pods(network, 3)
    network.service(sticky(), *pods)
    before = {client.ip: (await client.connect(VIP, 80))[0] for client in clients}
    gone = next(one for one in pods if one.ip == before[clients[0].ip])
    left = [one for one in pods if one is not gone]
    network.endpoints(*left)
    after = {client.ip: (await client.connect(VIP, 80))[0] for client in clients}
    for client in clients:
        assert after[client.ip] in {one.ip for one in left}
        if before[client.ip] != gone.ip:
            assert after[client.ip] == before[client.ip]
    network.endpoints(*pods)  # it comes back: nobody is torn away for it, also not those that it once had
    for client in clients:
        assert set(await client.spread(VIP, 80, 6)) == {after[client.ip]}
    network.endpoints()
    network.endpoints(*pods)
    assert len(await clients[0].spread(VIP, 80, 6)) == 1
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p23_the_time_out_counts_from_the_last_new_connection(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    pods = await serving_pods(network, 2)
    network.service(sticky(2), *pods)
    loop = asyncio.get_running_loop()
    (first,) = await client.spread(VIP, 80, 1)
    until = loop.time() + 3  # longer than the time-out: only the connections in between keep it alive
    while loop.time() < until:
        asked = loop.time()
        answered = (await client.connect(VIP, 80))[0]
        if loop.time() - asked < 0.5:  # else the machine slept
            assert answered == first
        await asyncio.sleep(0.2)
    if mode == "nftables":
        assert remembered(network) == 1
        await eventually(lambda: remembered(network) == 0)
    assert set(await client.spread(VIP, 80, 6)) <= {one.ip for one in pods}
    network.finish()


@in_network_namespace
async def test_p23_one_chain_a_time_out_and_none_when_nobody_has_it() -> None:
    network = Network(linger=0.001)
    client = network.pod()
    pods = await serving_pods(network, 3)
    network.service(sticky(7), *pods)
    await client.connect(VIP, 80)
    assert chains(network) == {"keep-7"}
    network.service(sticky(9), *pods)
    assert len(await client.spread(VIP, 80, 8)) == 1
    network.service(service(), *pods)
    assert len(await client.spread(VIP, 80, 60)) == 3  # nobody is held any more
    await eventually(lambda: not chains(network))
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p23_udp_and_policy_local_share_what_is_known_of_a_client(mode: str) -> None:
    network = Network(mode=mode)
    client, one, two = (network.pod() for _ in range(3))
    for pod in (one, two):
        await pod.serve_udp(5353)
    found = sticky(None, port(53, "dns", "UDP", 30053), type="NodePort", external_traffic_policy="Local")
    network.service(found)
    network.endpoints(one, two, ports=[discovery.EndpointPort(name="dns", protocol="UDP", port=5353)])
    answers = {(await client.ask(VIP, 53))[0] for _ in range(8)}
    answers |= {(await client.ask(NODE_IP, 30053))[0] for _ in range(8)}
    assert len(answers) == 1
    outside = {(await network.outside.ask(NODE_IP, 30053))[0] for _ in range(8)}  # over the list of local ones ...
    assert outside == {(await network.outside.ask(VIP, 53))[0]}  # ... and over that of all
    network.finish()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("why", ["another version's", "damaged"])
@in_network_namespace
async def test_p23_a_table_that_is_replaced_hands_on_who_has_which_backend_and_for_how_long(
    why: str, family: str
) -> None:
    network = Network(mode=f"nftables {family}")
    clients = [network.pod() for _ in range(5)]
    pods = await serving_pods(network, 4)
    network.put_service(service("first", "10.96.0.8"))  # so that numbers differ in the new table, where it has gone
    network.put_slice(slice_of(endpoint("10.244.9.9"), of="first", name="first-1"))
    network.put_service(sticky(600, port(80, node_port=30080), type="NodePort", external_traffic_policy="Local"))
    network.endpoints(*pods)
    before = {client.ip: (await client.connect(VIP, 80))[0] for client in clients}
    before[network.outside.ip] = (await network.outside.connect(NODE_IP, 30080))[0]
    counted = {one.backend: one.total for one in network.kernel.connections() if one.total}
    old = records(network)
    assert len(old) == len(before)
    node = network.here
    network.kernel.close()
    network.brain.apply_service("default/first", None)
    if why == "damaged":
        nft_program(f"add rule {'ip6' if family == IPV6 else 'ip'} skerry balance drop")
    else:
        node = replace(node, pod_cidrs=())
    network.kernel = Nftables(node, SystemClock())
    network.kernel.start(network.brain.table)
    new = records(network)
    assert len(new) == len(old)
    assert 500_000 < min(new) <= max(new) <= max(old)
    if why == "damaged":
        assert network.kernel.rebuilds == 1
    assert {one.backend: one.total for one in network.kernel.connections() if one.total} == counted
    for client in clients:
        assert set(await client.spread(VIP, 80, 6)) == {before[client.ip]}
    assert set(await network.outside.spread(NODE_IP, 30080, 6)) == {before[network.outside.ip]}
    network.endpoints(*(one for one in pods if one.ip != before[clients[0].ip]))
    assert (await clients[0].connect(VIP, 80))[0] != before[clients[0].ip]
    network.finish(mended=True)


def records(network: Network) -> list[int]:
    """The milliseconds that what is known of each client has left."""
    with nft.Nft(network.kernel_family) as kernel:
        return [one.expires for one in nft_set.dump_elements(kernel, "skerry", "affinity")]
