"""The oracle table of the service proxy's rules, row by row, with real packets (P11-P18), through both back ends.

e1 is a pod of this node, e2 a server on another one (which is also where clients from outside come from).
"""

from __future__ import annotations

from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import NODE_IP, OUTSIDE_IP, Host, Network, both_back_ends
from tests.unit.proxy.build import endpoint, port, service, slice_of

from skerry.api.types import core, discovery
from skerry.clock import FakeClock
from skerry.proxy.nftables.backend import LINGER

VIP, EXTERNAL, BALANCER = "10.96.0.9", "203.0.113.5", "203.0.113.6"
CLUSTER_IP = [(VIP, 80)]
OUTER = [(NODE_IP, 30080), (EXTERNAL, 80), (BALANCER, 80)]

# (destinations, policy of that kind, endpoints, source) -> who answers ("" if refused, None if dropped), is it hidden
ROWS = [
    (CLUSTER_IP, "Cluster", "e1 e2", "pod", {"e1", "e2"}, False),
    (CLUSTER_IP, "Cluster", "e1 e2", "node", {"e1", "e2"}, True),
    (CLUSTER_IP, "Cluster", "e1 e2", "outside", {"e1", "e2"}, True),
    (CLUSTER_IP, "Cluster", "e1", "e1", {"e1"}, True),  # hairpin
    (CLUSTER_IP, "Local", "e1 e2", "pod", {"e1"}, False),
    (CLUSTER_IP, "Local", "e1 e2", "node", {"e1"}, True),
    (CLUSTER_IP, "Local", "e2", "pod", None, False),
    (CLUSTER_IP, "Local", "", "pod", "", False),
    (CLUSTER_IP, "Cluster", "", "pod", "", False),
    (OUTER, "Cluster", "e1 e2", "outside", {"e1", "e2"}, True),
    (OUTER, "Cluster", "e1 e2", "pod", {"e1", "e2"}, True),
    (OUTER, "Cluster", "e1 e2", "node", {"e1", "e2"}, True),
    (OUTER, "Local", "e1 e2", "outside", {"e1"}, False),
    (OUTER, "Local", "e1 e2", "pod", {"e1", "e2"}, False),
    (OUTER, "Local", "e1 e2", "node", {"e1", "e2"}, True),
    (OUTER, "Local", "e1", "e1", {"e1"}, True),  # hairpin
    (OUTER, "Local", "e2", "outside", None, False),
    (OUTER, "Local", "e2", "pod", {"e2"}, False),
    (OUTER, "Local", "", "outside", "", False),
    (OUTER, "Cluster", "", "outside", "", False),
]


@both_back_ends
@in_network_namespace
async def test_the_oracle_table(mode: str) -> None:
    clock = FakeClock()
    network = Network(clock, mode=mode)
    one = network.pod()
    hosts = {"pod": network.pod(), "node": network.node, "outside": network.outside, "e1": one}
    for server in (one, network.outside):
        await server.serve()
    for address in (EXTERNAL, BALANCER):
        network.outside.route(address, NODE_IP)
    ends = {"e1": endpoint(one.ip, node="a"), "e2": endpoint(OUTSIDE_IP, node="b")}
    addresses = {"e1": one.ip, "e2": OUTSIDE_IP}
    for destinations, policy, there, source, answers, hidden in ROWS:
        put(network, destinations, policy, [ends[name] for name in there.split()])
        await clock.advance(LINGER)
        for address, number in destinations:
            row = (address, policy, there, source)
            found = await seen(hosts[source], address, number, 20 if isinstance(answers, set) else 1)
            if not isinstance(answers, set):
                assert found == answers, row
                continue
            assert isinstance(found, set)
            assert {server for server, _ in found} == {addresses[name] for name in answers}, row
            expected = NODE_IP if hidden else network.seen(hosts[source])
            assert {client for _, client in found} == {expected}, row
    network.finish()


def put(network: Network, destinations: list[tuple[str, int]], policy: str, ends: list[discovery.Endpoint]) -> None:
    inner, outer = (policy, "Cluster") if destinations is CLUSTER_IP else ("Cluster", policy)
    found = service(
        "web",
        VIP,
        port(80, node_port=30080),
        type="LoadBalancer",
        internal_traffic_policy=inner,
        external_traffic_policy=outer,
        external_i_ps=[EXTERNAL],
        ingress=[core.LoadBalancerIngress(ip=BALANCER, ip_mode="VIP")],
    )
    network.put_service(found)
    network.put_slice(slice_of(*ends))


async def seen(host: Host, address: str, number: int, times: int) -> set[tuple[str, str]] | str | None:
    """The (server, client's address) pairs of so many connections, "" if refused, None if nobody answers."""
    try:
        return {await host.connect(address, number, seconds=5.0 if times > 1 else 0.3) for _ in range(times)}
    except ConnectionRefusedError:
        return ""
    except TimeoutError:
        return None
