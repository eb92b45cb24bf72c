"""Real packets through both back ends: rules P8-P25 of the service proxy.

In user space all clients have the node's address (`Network.seen`); what else differs stands beside the row.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import (
    NODE_IP,
    OUTSIDE_IP,
    Host,
    Network,
    any_server,
    both_back_ends,
    nft_program,
    over,
)
from tests.unit.proxy.build import endpoint, port, service, slice_of, terminating

from skerry.api.types import core, discovery
from skerry.netlink import nft
from skerry.proxy.nftables.backend import LINGER

VIP = "10.96.0.9"


async def serving_pods(network: Network, count: int) -> list[Host]:
    pods = [network.pod() for _ in range(count)]
    for pod in pods:
        await pod.serve()
    return pods


@both_back_ends
@in_network_namespace
async def test_p14_connections_are_split_evenly_and_clients_in_pods_keep_their_address(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    pods = await serving_pods(network, 3)
    network.service(service(), *pods)
    found = await client.spread(VIP, 80, 300)
    assert set(found) == {one.ip for one in pods}
    assert all(60 <= count <= 140 for count in found.values()), found  # five standard deviations
    assert (await client.connect(VIP, 80))[1] == network.seen(client)  # P17: no masquerade for this node's pods
    assert sum(one.total for one in network.kernel.connections()) == 301
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p17_clients_that_are_no_pods_reach_a_cluster_ip_masqueraded(mode: str) -> None:
    network = Network(mode=mode)
    pods = await serving_pods(network, 2)
    network.service(service(), *pods)
    assert set(await network.node.spread(VIP, 80, 30)) == {one.ip for one in pods}
    assert (await network.outside.connect(VIP, 80))[1] == NODE_IP
    network.finish()


@both_back_ends
@in_network_namespace
async def test_udp(mode: str) -> None:
    network = Network(mode=mode)
    client, pod = network.pod(), network.pod()
    await pod.serve_udp(5353)
    network.service(service("web", VIP, port(53, "dns", "UDP")))
    ports = [discovery.EndpointPort(name="dns", protocol="UDP", port=5353)]
    network.endpoints(pod, ports=ports)
    assert await client.ask(VIP, 53) == (pod.ip, network.seen(client))
    assert (await network.node.ask(VIP, 53))[0] == pod.ip
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p18_a_backend_reaches_itself_through_its_service(mode: str) -> None:
    network = Network(mode=mode)
    (pod,) = await serving_pods(network, 1)
    await pod.serve_udp()
    network.service(service("web", VIP, port(80), port(80, "u", "UDP")))
    network.endpoints(
        pod,
        ports=[
            discovery.EndpointPort(name="", protocol="TCP", port=8080),
            discovery.EndpointPort(name="u", protocol="UDP", port=8080),
        ],
    )
    assert await pod.connect(VIP, 80) == (pod.ip, NODE_IP)
    assert await pod.ask(VIP, 80) == (pod.ip, NODE_IP)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p11_without_endpoints_a_connection_is_refused_at_once(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    network.service(service("web", VIP, port(node_port=30080), port(53, "dns", "UDP", 30053), type="NodePort"))
    for _ in range(20):  # more than the kernel sends ICMP errors in a second
        for host, address, number in (
            (client, VIP, 80),
            (network.node, VIP, 80),
            (network.outside, VIP, 80),
            (client, NODE_IP, 30080),
            (network.node, NODE_IP, 30080),
            (network.outside, NODE_IP, 30080),
        ):
            with pytest.raises(ConnectionRefusedError):
                await host.connect(address, number, seconds=0.9)
    for host in (client, network.outside):
        with pytest.raises(ConnectionRefusedError):
            await host.ask(VIP, 53)
    # What a sender on the machine that rejects gets; in user space the machine beside it does.
    with pytest.raises(PermissionError if network.mode == "nftables" else ConnectionRefusedError):
        await network.node.ask(VIP, 53)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p12_p13_connections_are_dropped_where_all_endpoints_are_elsewhere(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    found = service(
        "web",
        VIP,
        port(node_port=30080),
        type="NodePort",
        internal_traffic_policy="Local",
        external_traffic_policy="Local",
    )
    network.service(found)
    remote = slice_of(discovery.Endpoint(addresses=["10.244.2.2"], node_name="b"))
    network.put_slice(remote)
    for host, address, number in ((client, VIP, 80), (network.node, VIP, 80), (network.outside, NODE_IP, 30080)):
        with pytest.raises(TimeoutError):
            await host.connect(address, number, seconds=0.3)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p25_unknown_ports_are_refused_and_unused_addresses_dropped(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    network.service(service(), *await serving_pods(network, 1))
    for host in (client, network.node):
        with pytest.raises(ConnectionRefusedError):
            await host.connect(VIP, 81)
        with pytest.raises(TimeoutError):
            await host.connect("10.96.7.7", 80, seconds=0.3)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p15_p22_node_ports_answer_on_the_node_and_hide_the_client(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    pods = await serving_pods(network, 2)
    network.service(service("web", VIP, port(node_port=30080), type="NodePort"), *pods)
    for host in (network.outside, client, network.node):
        assert set(await host.spread(NODE_IP, 30080, 30)) == {one.ip for one in pods}
    assert (await network.outside.connect(NODE_IP, 30080))[1] == NODE_IP
    network.service(service("web", VIP, port(), type="ClusterIP"), *pods)
    with pytest.raises(ConnectionRefusedError):
        await network.outside.connect(NODE_IP, 30080)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p16_policy_local_keeps_the_clients_address(mode: str) -> None:
    network = Network(mode=mode)
    pods = await serving_pods(network, 2)
    found = service("web", VIP, port(node_port=30080), type="NodePort", external_traffic_policy="Local")
    network.service(found, *pods)
    assert (await network.outside.connect(NODE_IP, 30080))[1] == network.seen(network.outside)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p13_p16_policy_local_drops_clients_outside_and_takes_those_here_to_other_nodes(mode: str) -> None:
    """The only endpoint is on another node, which is the outside."""
    network = Network(mode=mode)
    client = network.pod()
    await network.outside.serve()
    found = service(
        "web",
        VIP,
        port(node_port=30080),
        type="LoadBalancer",
        external_traffic_policy="Local",
        external_i_ps=["203.0.113.5"],
        ingress=[core.LoadBalancerIngress(ip="203.0.113.6", ip_mode="VIP")],
    )
    network.service(found)
    remote = slice_of(discovery.Endpoint(addresses=[OUTSIDE_IP], node_name="b"))
    network.put_slice(remote)
    for address in ("203.0.113.5", "203.0.113.6"):
        network.outside.route(address, NODE_IP)
    for address, number in ((NODE_IP, 30080), ("203.0.113.5", 80), ("203.0.113.6", 80)):
        assert await client.connect(address, number) == (OUTSIDE_IP, network.seen(client))  # not masqueraded
        assert await network.node.connect(address, number) == (OUTSIDE_IP, NODE_IP)
        with pytest.raises(TimeoutError):
            await network.outside.connect(address, number, seconds=0.3)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p20_source_ranges_close_the_balancers_address_and_nothing_else(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    pods = await serving_pods(network, 2)

    def open_to(*ranges: str) -> None:
        found = service(
            "web",
            VIP,
            port(node_port=30080),
            type="LoadBalancer",
            external_i_ps=["203.0.113.5"],
            load_balancer_source_ranges=list(ranges),
            ingress=[core.LoadBalancerIngress(ip="203.0.113.6", ip_mode="VIP")],
        )
        network.service(found, *pods)

    async def gets_in(host: Host, wanted: bool) -> bool:
        """What is wanted may take its time; what is not must not happen."""
        try:
            await host.connect("203.0.113.6", 80, seconds=5 if wanted else 0.3)
        except TimeoutError:
            return False
        return True

    for address in ("203.0.113.5", "203.0.113.6"):
        network.outside.route(address, NODE_IP)
    for ranges, outside, pod, node in (
        ([f"{OUTSIDE_IP}/32"], True, False, False),
        (["10.244.0.0/16"], False, True, False),
        (["10.244.1.0/24", "10.243.0.0/24"], True, True, True),
        (["192.0.2.0/24"], False, False, False),
        ([], True, True, True),
        (["192.0.2.0/24", "10.243.0.0/16"], True, False, True),
        (["0.0.0.0/0", "192.0.2.0/24"], True, True, True),
    ):
        open_to(*ranges)
        if not ranges or "0.0.0.0/0" in ranges:
            await asyncio.sleep(2 * LINGER)  # the guard lingers
        for host, wanted in ((network.outside, outside), (client, pod), (network.node, node)):
            assert await gets_in(host, wanted) == wanted, ranges
        for address, number in ((VIP, 80), (NODE_IP, 30080), ("203.0.113.5", 80)):
            await network.outside.connect(address, number)
    network.finish()


@both_back_ends
@in_network_namespace
async def test_p7_p8_terminating_endpoints_help_out_and_p9_hints_are_followed(mode: str) -> None:
    network = Network(mode=mode)
    client = network.pod()
    one, two, three = await serving_pods(network, 3)
    network.service(service())

    async def answering(*endpoints: discovery.Endpoint) -> set[str]:
        found = slice_of(*endpoints)
        network.put_slice(found)
        return set(await client.spread(VIP, 80, 20))

    leaving = [terminating(pod.ip, node="a") for pod in (one, two)]
    assert await answering(*leaving, terminating(three.ip, serving=False)) == {one.ip, two.ip}
    assert await answering(*leaving, endpoint(three.ip)) == {three.ip}
    hinted = [endpoint(one.ip, nodes=["a"]), endpoint(two.ip, nodes=["b"])]
    assert await answering(*hinted) == {one.ip}
    assert await answering(*hinted, endpoint(three.ip)) == {one.ip, two.ip, three.ip}
    network.finish()


@in_network_namespace
async def test_p19_marks_are_gone_when_a_packet_leaves() -> None:
    """Routing rules and others' filters see nothing of what the table keeps in marks."""
    network = Network()
    client = network.pod()
    pods = await serving_pods(network, 2)
    network.service(service(session_affinity="ClientIP"), *pods)
    nft_program("""
        table ip other {
            chain f {
                type filter hook forward priority 0;
                ct state new meta mark 0 meta priority 0 counter
                ct state new meta mark != 0 counter drop
            }
        }
    """)
    await client.spread(VIP, 80, 10)
    with nft.Nft() as kernel:
        assert kernel.rule_counters("other") == {"f": 10}
    network.finish()


@both_back_ends
@in_network_namespace
async def test_external_addresses_answer_too(mode: str) -> None:
    network = Network(mode=mode)
    (pod,) = await serving_pods(network, 1)
    network.service(service("web", VIP, port(), external_i_ps=["203.0.113.5"]), pod)
    network.outside.route("203.0.113.5", NODE_IP)
    assert await network.outside.connect("203.0.113.5", 80) == (pod.ip, NODE_IP)
    assert (await network.node.connect("203.0.113.5", 80))[0] == pod.ip
    network.finish()


@both_back_ends
@in_network_namespace
async def test_a_backend_of_the_nodes_own_and_one_with_an_address_of_the_service_range(mode: str) -> None:
    """Cluster DNS is such a server: it listens on its Service's address, on every node."""
    from skerry.netlink.route import Routes

    network = Network(mode=mode)
    client = network.pod()
    with Routes() as routes:
        routes.add_address(routes.index("lo"), over(network.node.family, "10.96.0.10"))
    await network.node.serve(53)
    network.service(service("web", "10.96.0.10", port(53)))
    ports = [discovery.EndpointPort(name="", protocol="TCP", port=53)]
    assert (await client.connect("10.96.0.10", 53))[0] == NODE_IP  # as long as the Service has no endpoints
    for address in (NODE_IP, "10.96.0.10"):
        network.endpoints(Host(address, None, network.node.family), ports=ports)
        for host in (client, network.node):
            assert (await host.connect("10.96.0.10", 53))[0] == NODE_IP
    network.finish(unserved=1)  # the node's own server has its port


@both_back_ends
@in_network_namespace
async def test_established_connections_stay_when_their_backend_leaves_the_service(mode: str) -> None:
    network = Network(mode=mode)
    client, pod, other = network.pod(), network.pod(), network.pod()
    server = pod.do(lambda: any_server(8080))
    server.setblocking(False)
    await other.serve()
    network.service(service(), pod)
    loop = asyncio.get_running_loop()
    with client.socket() as ours:
        await loop.sock_connect(ours, (over(client.family, VIP), 80))
        theirs, _ = await loop.sock_accept(server)
        theirs.setblocking(False)
        network.endpoints(other)
        assert set(await client.spread(VIP, 80, 10)) == {other.ip}
        await loop.sock_sendall(ours, b"still")
        assert await loop.sock_recv(theirs, 10) == b"still"
        await loop.sock_sendall(theirs, b"here")
        assert await loop.sock_recv(ours, 10) == b"here"
    network.finish()
