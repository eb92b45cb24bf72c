"""The brain: what each address does, by rule of the service proxy (P1-P25)."""

from __future__ import annotations

import copy

import pytest
from tests.unit.proxy.build import NODE, backends, endpoint, port, service, slice_of, terminating

from skerry.api.types import core, discovery, meta
from skerry.proxy.brain import Brain, node_ports
from skerry.proxy.table import Backend, Empty, Frontend, Node, Scope

CLUSTER_IP = Frontend("10.96.0.9", "TCP", 80)
NODE_PORT = Frontend("10.243.0.2", "TCP", 30080)


def brain_of(found: core.Service, *slices: discovery.EndpointSlice, node: Node = NODE) -> Brain:
    brain = Brain(node)
    for one in slices:
        brain.apply_slice(f"default/{one.metadata.name}", one)
    brain.apply_service(f"default/{found.metadata.name}", found)
    return brain


def answers(brain: Brain, frontend: Frontend) -> set[Backend] | Empty | None:
    """The backends of a frontend, what it does without any, or None where there is no such frontend."""
    entry = brain.table.frontends.get(frontend)
    if entry is None:
        return None
    return set(brain.table.backends(frontend)) or entry.empty


LOCAL_E1, REMOTE_E2 = endpoint("10.244.1.1", node="a"), endpoint("10.244.2.2", node="b")
BOTH = backends("10.244.1.1", "10.244.2.2")


@pytest.mark.parametrize(
    ("internal", "external", "endpoints", "cluster_ip", "node_port"),
    [
        ("Cluster", "Cluster", [LOCAL_E1, REMOTE_E2], BOTH, BOTH),
        ("Local", "Cluster", [LOCAL_E1, REMOTE_E2], backends("10.244.1.1"), BOTH),
        ("Cluster", "Local", [LOCAL_E1, REMOTE_E2], BOTH, backends("10.244.1.1")),
        ("Local", "Local", [LOCAL_E1, REMOTE_E2], backends("10.244.1.1"), backends("10.244.1.1")),
        ("Local", "Local", [REMOTE_E2], Empty.DROP, Empty.DROP),  # P12, P13
        ("Cluster", "Local", [REMOTE_E2], backends("10.244.2.2"), Empty.DROP),
        ("Local", "Cluster", [REMOTE_E2], Empty.DROP, backends("10.244.2.2")),
        ("Cluster", "Cluster", [], Empty.REJECT, Empty.REJECT),  # P11
        ("Local", "Local", [], Empty.REJECT, Empty.REJECT),
        ("Local", "Local", [endpoint("10.244.2.2", ready=False)], Empty.REJECT, Empty.REJECT),  # P10
    ],
)
def test_oracle_table_policies(
    internal: str,
    external: str,
    endpoints: list[discovery.Endpoint],
    cluster_ip: set[Backend] | Empty,
    node_port: set[Backend] | Empty,
) -> None:
    brain = brain_of(
        service(
            "web",
            "10.96.0.9",
            port(node_port=30080),
            type="NodePort",
            internal_traffic_policy=internal,
            external_traffic_policy=external,
        ),
        slice_of(*endpoints),
    )
    assert answers(brain, CLUSTER_IP) == cluster_ip
    assert answers(brain, NODE_PORT) == node_port
    assert not brain.table.frontends[CLUSTER_IP].masquerade
    assert brain.table.frontends[NODE_PORT].masquerade == (external == "Cluster")  # P15, P16


@pytest.mark.parametrize(
    ("internal", "external", "kind", "scopes"),
    [
        ("Cluster", "Cluster", "ClusterIP", {Scope.CLUSTER}),
        ("Local", "Cluster", "ClusterIP", {Scope.LOCAL}),
        ("Cluster", "Local", "ClusterIP", {Scope.CLUSTER}),  # nobody outside: its policy says nothing
        ("Cluster", "Cluster", "NodePort", {Scope.CLUSTER}),
        ("Local", "Cluster", "NodePort", {Scope.CLUSTER, Scope.LOCAL}),
        ("Cluster", "Local", "NodePort", {Scope.CLUSTER, Scope.LOCAL}),
        ("Local", "Local", "NodePort", {Scope.CLUSTER, Scope.LOCAL}),  # pods here reach it as a cluster IP (P16)
    ],
)
def test_p6_a_service_has_the_lists_that_its_policies_use(
    internal: str, external: str, kind: str, scopes: set[Scope]
) -> None:
    found = service(
        "web",
        "10.96.0.9",
        port(node_port=30080 if kind == "NodePort" else 0),
        type=kind,
        internal_traffic_policy=internal,
        external_traffic_policy=external,
    )
    assert {key.scope for key in brain_of(found, slice_of(LOCAL_E1, REMOTE_E2)).table.lists} == scopes


@pytest.mark.parametrize(
    ("endpoints", "cluster", "local"),
    [
        # P5: what is not said of an endpoint
        (
            [endpoint("10.244.1.1", node="a", ready=None, serving=None, terminating=None)],
            ["10.244.1.1"],
            ["10.244.1.1"],
        ),
        ([endpoint("10.244.1.1", node=None)], ["10.244.1.1"], []),
        # P7, P8: terminating ones help out, each scope for itself
        ([terminating("10.244.1.1", node="a"), REMOTE_E2], ["10.244.2.2"], ["10.244.1.1"]),
        (
            [terminating("10.244.1.1", node="a"), terminating("10.244.2.2")],
            ["10.244.1.1", "10.244.2.2"],
            ["10.244.1.1"],
        ),
        ([terminating("10.244.1.1", node="a", serving=False)], [], []),
        ([LOCAL_E1, terminating("10.244.1.3", node="a")], ["10.244.1.1"], ["10.244.1.1"]),
        # serving but neither ready nor terminating: takes nothing
        ([endpoint("10.244.1.1", node="a", ready=False)], [], []),
    ],
)
def test_p5_p7_p8_which_endpoints_are_chosen(
    endpoints: list[discovery.Endpoint], cluster: list[str], local: list[str]
) -> None:
    def chosen(policy: str) -> set[Backend]:
        brain = brain_of(service(internal_traffic_policy=policy), slice_of(*endpoints))
        return set(brain.table.backends(CLUSTER_IP))

    assert chosen("Cluster") == backends(*cluster)
    assert chosen("Local") == backends(*local)


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ([endpoint("10.244.0.1", nodes=["a"]), endpoint("10.244.0.2", nodes=["b"])], ["10.244.0.1"]),  # (a)
        ([endpoint("10.244.0.1", nodes=["c"]), endpoint("10.244.0.2", nodes=["b"])], ["10.244.0.1", "10.244.0.2"]),
        ([endpoint("10.244.0.1", zones=["east"]), endpoint("10.244.0.2", zones=["west"])], ["10.244.0.1"]),  # (b)
        ([endpoint("10.244.0.1", zones=["east"]), endpoint("10.244.0.2")], ["10.244.0.1", "10.244.0.2"]),  # (c)
        (
            [endpoint("10.244.0.1", zones=["east"]), endpoint("10.244.0.2", ready=False), terminating("10.244.0.3")],
            ["10.244.0.1"],
        ),
    ],
)
def test_p9_hints(endpoints: list[discovery.Endpoint], chosen: list[str]) -> None:
    brain = brain_of(service(), slice_of(*endpoints))
    assert set(brain.table.backends(CLUSTER_IP)) == backends(*chosen)


def test_p9_hints_have_no_say_where_the_policy_is_local() -> None:
    found = slice_of(endpoint("10.244.1.1", node="a", zones=["west"]), endpoint("10.244.2.2", zones=["east"]))
    brain = brain_of(service(internal_traffic_policy="Local"), found)
    assert set(brain.table.backends(CLUSTER_IP)) == backends("10.244.1.1")


def test_p1_services_that_are_not_ours() -> None:
    for found in (
        service(ip="None"),
        service(ip=""),
        service(type="ExternalName"),
        service(labels={"service.kubernetes.io/service-proxy-name": "other"}),
    ):
        brain = brain_of(found, slice_of(LOCAL_E1))
        assert not brain.table.frontends
        assert not brain.table.addresses


def test_p1_p2_slices_that_are_not_ours() -> None:
    for found in (
        slice_of(LOCAL_E1, kind="FQDN"),
        slice_of(endpoint("fd00::1"), kind="IPv6"),
        slice_of(endpoint("fd00::1")),
        slice_of(LOCAL_E1, labels={"service.kubernetes.io/headless": ""}),
        slice_of(LOCAL_E1, labels={"service.kubernetes.io/service-proxy-name": "other"}),
        slice_of(LOCAL_E1, ports=[discovery.EndpointPort(name=None, port=8080, protocol="TCP")]),
        slice_of(LOCAL_E1, ports=[discovery.EndpointPort(name="", port=None, protocol="TCP")]),
        slice_of(LOCAL_E1, ports=[discovery.EndpointPort(name="", port=0, protocol="TCP")]),
    ):
        assert answers(brain_of(service(), found), CLUSTER_IP) is Empty.REJECT


def test_p3_an_endpoint_in_two_slices_is_one_and_the_local_copy_counts() -> None:
    brain = brain_of(
        service(internal_traffic_policy="Local"),
        slice_of(endpoint("10.244.1.1", node="b"), name="web-1"),
        slice_of(endpoint("10.244.1.1", node="a"), endpoint("10.244.1.2", node="a"), name="web-2"),
    )
    assert sorted(brain.table.backends(CLUSTER_IP)) == sorted(backends("10.244.1.1", "10.244.1.2"))


def test_p3_only_the_first_address_counts() -> None:
    both = endpoint("10.244.1.1")
    both.addresses.append("10.244.1.2")
    assert answers(brain_of(service(), slice_of(both)), CLUSTER_IP) == backends("10.244.1.1")


def test_p4_ports_join_by_name_and_protocol_never_by_number() -> None:
    found = service("web", "10.96.0.9", port(53, "dns", "UDP"), port(53, "dns-tcp"), port(8080, "web"))
    ports = [
        discovery.EndpointPort(name="dns", protocol="UDP", port=5353),
        discovery.EndpointPort(name="dns-tcp", protocol="TCP", port=5354),
        discovery.EndpointPort(name="web", protocol="UDP", port=8080),
    ]
    brain = brain_of(found, slice_of(LOCAL_E1, ports=ports))
    assert answers(brain, Frontend("10.96.0.9", "UDP", 53)) == backends("10.244.1.1", port=5353)
    assert answers(brain, Frontend("10.96.0.9", "TCP", 53)) == backends("10.244.1.1", port=5354)
    assert answers(brain, Frontend("10.96.0.9", "TCP", 8080)) is Empty.REJECT


def test_p18_only_endpoints_on_this_node_can_be_their_own_clients() -> None:
    stranger = endpoint("192.0.2.7", node=None)
    here = endpoint("10.244.1.77", node=None)
    brain = brain_of(service(), slice_of(LOCAL_E1, REMOTE_E2, stranger, here))
    assert set(brain.table.hairpins) == {"10.244.1.1", "10.244.1.77"}


def test_p11_a_service_whose_first_slice_has_not_come_yet_refuses_as_one_without_endpoints_does() -> None:
    """As upstream: nobody can know whether a slice is on its way. Holding clients would cost them a second each."""
    for policy in ("Cluster", "Local"):
        found = service("web", "10.96.0.9", port(node_port=30080), type="NodePort", internal_traffic_policy=policy,
                        external_traffic_policy=policy)  # fmt: skip
        brain = brain_of(found)
        assert (answers(brain, CLUSTER_IP), answers(brain, NODE_PORT)) == (Empty.REJECT, Empty.REJECT)
        change = brain.apply_slice("default/web-1", slice_of(LOCAL_E1, REMOTE_E2))
        assert {CLUSTER_IP, NODE_PORT} <= change.frontends
        assert answers(brain, CLUSTER_IP) == (BOTH if policy == "Cluster" else backends("10.244.1.1"))


def test_p21_external_and_balancer_addresses() -> None:
    ingress = [
        core.LoadBalancerIngress(ip="198.51.100.1", ip_mode="VIP"),
        core.LoadBalancerIngress(ip="198.51.100.2", ip_mode="Proxy"),
        core.LoadBalancerIngress(hostname="lb.example"),
    ]
    found = service(type="LoadBalancer", external_i_ps=["203.0.113.5"], ingress=ingress)
    brain = brain_of(found, slice_of(REMOTE_E2))
    assert {one.address for one in brain.table.frontends} == {"10.96.0.9", "203.0.113.5", "198.51.100.1"}
    assert brain.table.frontends[Frontend("198.51.100.1", "TCP", 80)].masquerade


@pytest.mark.parametrize(
    ("ranges", "sources"),
    [
        ([], ()),
        (["192.0.2.0/24"], ("192.0.2.0/24",)),
        (["192.0.2.0/25", "192.0.2.128/25", " 192.0.2.7/32"], ("192.0.2.0/24",)),  # the kernel takes no overlaps
        (["192.0.2.0/24", "0.0.0.0/0"], ()),
        (["10.243.0.0/24"], ("10.243.0.0/24", "198.51.100.1/32")),  # this node: it may call from the address itself
        (["2001:db8::/32"], ("198.51.100.1/32",)),  # nobody over IPv4
        (["nonsense"], ("198.51.100.1/32",)),
    ],
)
def test_p20_source_ranges_guard_balancer_addresses_alone(ranges: list[str], sources: tuple[str, ...]) -> None:
    ingress = [core.LoadBalancerIngress(ip="198.51.100.1", ip_mode="VIP")]
    found = service(
        "web", "10.96.0.9", port(node_port=30080), type="LoadBalancer", external_i_ps=["203.0.113.5"], ingress=ingress
    )
    by_annotation = copy.deepcopy(found)
    by_annotation.metadata.annotations = {"service.beta.kubernetes.io/load-balancer-source-ranges": ",".join(ranges)}
    found.spec.load_balancer_source_ranges = ranges
    for one in (found, by_annotation):
        frontends = brain_of(one).table.frontends
        assert frontends[Frontend("198.51.100.1", "TCP", 80)].sources == sources
        assert {at for at, entry in frontends.items() if entry.sources} <= {Frontend("198.51.100.1", "TCP", 80)}


def test_p22_a_node_port_answers_on_each_address_of_the_node_and_shares_the_list() -> None:
    node = Node("a", ("10.243.0.2", "192.0.2.1"))
    brain = brain_of(service("web", "10.96.0.9", port(node_port=30080), type="NodePort"), slice_of(LOCAL_E1), node=node)
    frontends = brain.table.frontends
    assert set(frontends) == {CLUSTER_IP, NODE_PORT, Frontend("192.0.2.1", "TCP", 30080)}
    assert len({entry.list for entry in frontends.values()}) == 1


def test_p22_node_ports_move_to_the_addresses_that_the_node_gets_and_nothing_else_does() -> None:
    brain = Brain(NODE)
    brain.apply_service("default/web", service("web", "10.96.0.9", port(node_port=30080), type="NodePort"))
    brain.apply_service("default/api", service("api", "10.96.0.8"))
    change = brain.move_to_addresses(("10.243.0.2", "192.168.7.1"))
    assert change.frontends == {Frontend("192.168.7.1", "TCP", 30080)} and not change.lists
    change = brain.move_to_addresses(("192.168.7.1",))
    assert change.frontends == {Frontend("10.243.0.2", "TCP", 30080)}
    assert set(brain.table.frontends) == {
        Frontend("10.96.0.9", "TCP", 80),
        Frontend("10.96.0.8", "TCP", 80),
        Frontend("192.168.7.1", "TCP", 30080),
    }
    assert not brain.move_to_addresses(("192.168.7.1",))


def test_p16_clients_on_the_node_choose_from_all_endpoints_where_those_outside_must_not() -> None:
    found = service("web", "10.96.0.9", port(node_port=30080), type="NodePort", external_traffic_policy="Local")
    table = brain_of(found, slice_of(LOCAL_E1, REMOTE_E2)).table
    near = table.frontends[NODE_PORT].near
    assert near is not None
    assert set(table.lists[near]) == BOTH
    assert table.frontends[CLUSTER_IP].near is None
    found.spec.external_traffic_policy = "Cluster"
    assert brain_of(found, slice_of(LOCAL_E1, REMOTE_E2)).table.frontends[NODE_PORT].near is None


def test_p16_a_change_elsewhere_names_the_frontends_that_clients_here_reach_it_by() -> None:
    found = service("web", "10.96.0.9", port(node_port=30080), type="NodePort", external_traffic_policy="Local")
    brain = brain_of(found, slice_of(LOCAL_E1))
    assert NODE_PORT in brain.apply_slice("default/web-1", slice_of(LOCAL_E1, REMOTE_E2)).frontends


def test_p23_a_list_is_another_one_with_another_affinity() -> None:
    table = brain_of(service(session_affinity="ClientIP")).table
    assert table.frontends[CLUSTER_IP].list.affinity == 10800
    config = core.SessionAffinityConfig(client_ip=core.ClientIPConfig(timeout_seconds=7))
    found = service(session_affinity="ClientIP", session_affinity_config=config)
    assert brain_of(found).table.frontends[CLUSTER_IP].list.affinity == 7
    assert brain_of(service()).table.frontends[CLUSTER_IP].list.affinity == 0


def test_p33_udp_flows_may_stay_with_whatever_still_serves() -> None:
    found = service("dns", "10.96.0.10", port(53, "dns", "UDP"))
    ports = [discovery.EndpointPort(name="dns", protocol="UDP", port=53)]
    brain = brain_of(
        found,
        slice_of(LOCAL_E1, terminating("10.244.1.2"), terminating("10.244.1.3", serving=False), of="dns", ports=ports),
    )
    entry = brain.table.frontends[Frontend("10.96.0.10", "UDP", 53)]
    assert brain.table.lists[entry.list] == (Backend("10.244.1.1", 53),)
    assert brain.table.serving[entry.list] == backends("10.244.1.1", "10.244.1.2", port=53)


def test_a_change_names_what_it_touched_and_nothing_else() -> None:
    brain = brain_of(service("web", "10.96.0.9", port(node_port=30080), type="NodePort"), slice_of(LOCAL_E1))
    brain.apply_service("default/other", service("other", "10.96.0.10"))
    assert not brain.apply_slice("default/web-1", slice_of(LOCAL_E1))
    assert not brain.apply_slice("default/none-1", slice_of(LOCAL_E1, of="none", name="none-1"))
    change = brain.apply_slice("default/web-1", slice_of(LOCAL_E1, REMOTE_E2))
    assert change.frontends == {CLUSTER_IP, NODE_PORT}
    assert len(change.lists) == 1
    assert not change.addresses
    assert not change.hairpins  # the other one is not here
    change = brain.apply_service("default/web", None)
    assert change.frontends == {CLUSTER_IP, NODE_PORT}
    assert change.addresses == {"10.96.0.9"}
    assert change.hairpins == {"10.244.1.1"}
    assert set(brain.table.frontends) == {Frontend("10.96.0.10", "TCP", 80)}


def test_a_slice_that_moves_to_another_service() -> None:
    brain = brain_of(service(), slice_of(LOCAL_E1))
    brain.apply_service("default/other", service("other", "10.96.0.10"))
    brain.apply_slice("default/web-1", slice_of(LOCAL_E1, of="other"))
    assert answers(brain, CLUSTER_IP) is Empty.REJECT
    assert answers(brain, Frontend("10.96.0.10", "TCP", 80)) == backends("10.244.1.1")
    brain.apply_slice("default/web-1", None)
    assert answers(brain, Frontend("10.96.0.10", "TCP", 80)) is Empty.REJECT


def test_an_address_that_two_services_claim_survives_the_end_of_either() -> None:
    """A Service that is made again with the same address may be seen before the old one is seen to go."""
    brain = brain_of(service("old"), slice_of(LOCAL_E1, of="old"), slice_of(REMOTE_E2, of="new", name="new-1"))
    brain.apply_service("default/new", service("new"))
    brain.apply_service("default/old", None)
    assert answers(brain, CLUSTER_IP) == backends("10.244.2.2")
    assert brain.table.addresses == {"10.96.0.9": 1}
    brain.apply_service("default/new", None)
    assert brain.table.frontends == {}
    assert brain.table.addresses == {}


def test_node_ports_of_a_service() -> None:
    found = service("web", "10.96.0.9", port(80, "a", node_port=30080), port(53, "b", "UDP", 30053), type="NodePort")
    assert node_ports(found) == {("TCP", 30080), ("UDP", 30053)}
    assert node_ports(service("web", "10.96.0.9", port(node_port=30080))) == set()
    assert node_ports(None) == set()


def test_a_service_of_which_only_conditions_changed_changes_nothing() -> None:
    found = service()
    brain = brain_of(found, slice_of(LOCAL_E1))
    told = copy.deepcopy(found)
    told.metadata.resource_version = "99"
    told.status.conditions = [meta.Condition(type="Programmed", status="True")]
    assert not brain.apply_service("default/web", told)
    told = copy.deepcopy(told)
    told.spec.ports[0].port = 81
    assert brain.apply_service("default/web", told).frontends


def test_p34_the_ports_of_health_checks_come_and_go_with_their_services() -> None:
    found = service(type="LoadBalancer", external_traffic_policy="Local", health_check_node_port=32123)
    brain = brain_of(found, slice_of(LOCAL_E1))
    assert brain.health_check_ports() == {32123: "default/web"}
    moved = copy.deepcopy(found)
    moved.spec.health_check_node_port = 32124
    brain.apply_service("default/web", moved)
    assert brain.health_check_ports() == {32124: "default/web"}
    cluster = copy.deepcopy(moved)
    cluster.spec.external_traffic_policy = "Cluster"
    brain.apply_service("default/web", cluster)
    assert brain.health_check_ports() == {}
    brain.apply_service("default/web", found)
    brain.apply_service("default/web", None)
    assert brain.health_check_ports() == {}
