"""What happens to a Service when it is written: S36-S46 and the warnings of S25."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.services import HTTP, HTTPS, STRATEGY, Server, node_ports

from skerry.api import codec
from skerry.api.allocation import PortRange
from skerry.api.status import ApiError
from skerry.apiserver.strategies import ServiceAllocator


def test_s36_s37_cluster_ip() -> None:
    server = Server()
    spec = server.create().spec
    assert spec.cluster_i_ps == [spec.cluster_ip]
    assert server.ctx.ranges.ranges["IPv4"].valid(spec.cluster_ip)
    assert (spec.ip_families, spec.ip_family_policy) == (["IPv4"], "SingleStack")
    assert server.used == (1, 0)


def test_s36_external_name_and_headless_get_none() -> None:
    server = Server()
    spec = server.create("ext", type="ExternalName", externalName="a.b").spec
    assert (spec.cluster_ip, spec.cluster_i_ps, spec.ip_families, spec.ip_family_policy) == ("", [], [], None)
    spec = server.create("headless", clusterIP="None").spec
    assert (spec.cluster_ip, spec.cluster_i_ps, spec.ip_families, spec.ip_family_policy) == (
        "None", ["None"], ["IPv4"], "SingleStack")  # fmt: skip
    assert server.used == (0, 0)


def test_s37_headless_without_selector_is_dual_even_on_a_single_stack_cluster() -> None:
    spec = Server().create(clusterIP="None", selector={}).spec
    assert (spec.ip_families, spec.ip_family_policy) == (["IPv4", "IPv6"], "RequireDualStack")


@pytest.mark.parametrize(
    ("cidrs", "spec", "families", "policy"),
    [
        (["10.0.0.0/24"], {"ipFamilyPolicy": "PreferDualStack"}, ["IPv4"], "PreferDualStack"),
        (["10.0.0.0/24", "fd00::/112"], {}, ["IPv4"], "SingleStack"),
        (["fd00::/112", "10.0.0.0/24"], {}, ["IPv6"], "SingleStack"),
        (["10.0.0.0/24", "fd00::/112"], {"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], "PreferDualStack"),
        (["10.0.0.0/24", "fd00::/112"], {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
         ["IPv6", "IPv4"], "RequireDualStack"),
        (["10.0.0.0/24", "fd00::/112"], {"clusterIP": "fd00::5"}, ["IPv6"], "SingleStack"),
    ],
)  # fmt: skip
def test_s37_families(cidrs: list[str], spec: dict[str, Any], families: list[str], policy: str) -> None:
    made = Server(*cidrs).create(**spec).spec
    assert (made.ip_families, made.ip_family_policy) == (families, policy)
    assert len(made.cluster_i_ps) == len(families)
    assert made.cluster_ip == made.cluster_i_ps[0]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"ipFamilyPolicy": "RequireDualStack"}, ('spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
         "this cluster is not configured for dual-stack services")),
        ({"ipFamilies": ["IPv6"]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
        ({"clusterIP": "fd00::1"},
         'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster'),
        ({"clusterIP": "192.0.2.1"}, ('spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: '
         "provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/12")),
        ({"clusterIP": "nonsense"}, 'spec.clusterIPs[0]: Invalid value: "nonsense": must be a valid IP address'),
        ({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}, ("spec.ports[0].nodePort: Invalid value: 80: "
         "provided port is not in the valid range. The range of valid ports is 30000-32767")),
        ({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"},
         ('spec.ipFamilyPolicy: Invalid value: "SingleStack": '
         "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified")),
    ],
)  # fmt: skip
def test_s37_s40_s43_refusals_take_nothing(spec: dict[str, Any], wanted: str) -> None:
    server = Server()
    with pytest.raises(ApiError) as caught:
        server.create(**spec)
    assert caught.value.code == 422
    assert f'Service "web" is invalid: {wanted}' in caught.value.message
    assert server.used == (0, 0)


def test_s40_s43_taken_values() -> None:
    server = Server()
    server.create("one", type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 80, "nodePort": 30080}])
    with pytest.raises(ApiError, match=r"failed to allocate IP 10\.96\.0\.9: provided IP is already allocated"):
        server.create("two", clusterIP="10.96.0.9")
    with pytest.raises(
        ApiError, match=r"spec.ports\[0\].nodePort: Invalid value: 30080: provided port is already alloc"
    ):
        server.create("two", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    assert server.used == (1, 1)


def test_s40_s43_full_ranges() -> None:
    server = Server("10.0.0.0/30", ports=PortRange(30000, 30001))
    server.create("one", type="NodePort")
    server.create("two", type="NodePort")
    with pytest.raises(ApiError) as caught:
        server.create("three")
    assert (caught.value.code, caught.value.message) == (
        500, "Internal error occurred: failed to allocate a serviceIP: range is full")  # fmt: skip
    server.delete("one")
    server.create("four", clusterIP="None")
    server.create("five", type="NodePort")
    server.delete("two")
    with pytest.raises(ApiError, match="failed to allocate a nodePort: range is full"):
        server.create("six", type="NodePort", ports=[HTTP, HTTPS])
    assert server.used == (1, 1)


def test_s40_a_failure_later_gives_everything_back() -> None:
    server = Server()
    with pytest.raises(RuntimeError):
        server.create(type="NodePort", fail=True)
    assert server.used == (0, 0)


def test_s44_load_balancers() -> None:
    server = Server()
    assert node_ports(server.create("all", type="LoadBalancer"))[0] >= 30086
    none = server.create("none", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert node_ports(none) == [0]
    some = server.create(
        "some", type="LoadBalancer", allocateLoadBalancerNodePorts=False, ports=[{**HTTP, "nodePort": 30005}, HTTPS]
    )
    assert node_ports(some) == [30005, 0]
    assert server.used == (3, 2)
    # Setting the flag later releases nothing.
    patched = codec.copy(server.stored["all"])
    patched.spec.allocate_load_balancer_node_ports = False
    assert node_ports(server.write(patched)) == node_ports(server.stored["all"]) != [0]
    assert server.used == (3, 2)


def test_s45_one_number_for_both_protocols() -> None:
    server = Server()
    dns = [{"name": "tcp", "port": 53, "protocol": "TCP"}, {"name": "udp", "port": 53, "protocol": "UDP"}, HTTP]
    tcp, udp, http = node_ports(server.create("dns", type="NodePort", ports=dns))
    assert tcp == udp != http
    assert server.used == (1, 2)
    asked = [{**dns[0]}, {**dns[1], "nodePort": 30053}]
    assert node_ports(server.create("asked", type="NodePort", ports=asked)) == [30053, 30053]
    # Across Services the number is taken, whatever the protocol.
    with pytest.raises(ApiError, match="already allocated"):
        server.create("other", type="NodePort", ports=[{"port": 1, "protocol": "UDP", "nodePort": tcp}])


def test_s46_health_check_port() -> None:
    server = Server()
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    obj = server.create(**local)
    port = obj.spec.health_check_node_port
    assert 30086 <= port <= 32767 and server.used == (1, 2)
    assert server.update(**local).spec.health_check_node_port == port  # S28
    assert server.update(type="LoadBalancer").spec.health_check_node_port == 0  # S33
    assert server.used == (1, 1)
    assert server.create("asked", **local, healthCheckNodePort=31000).spec.health_check_node_port == 31000
    with pytest.raises(
        ApiError, match="failed to allocate requested HealthCheck NodePort 31000: provided port is already"
    ):
        server.create("again", **local, healthCheckNodePort=31000)
    assert server.used == (2, 3)


def test_what_somebody_else_reserved_is_taken_and_stays_so_after_a_restart() -> None:
    """S41: an IPAddress that is of no Service."""
    ranges = ServiceAllocator()
    ranges.rebuild([], ["10.96.0.5", "192.0.2.1"])  # the second is none of ours
    with pytest.raises(ValueError, match="already allocated"):
        ranges.take_ip("IPv4", "10.96.0.5")
    assert not ranges.reserve("10.96.0.5")
    ranges.release("10.96.0.5")
    assert ranges.take_ip("IPv4", "10.96.0.5") == "10.96.0.5"
    ranges.release("10.96.0.5")  # a Service has it now
    assert not ranges.reserve("10.96.0.5")
    assert ranges.statistics()["ips"] == 1


def test_rebuild_from_what_is_stored() -> None:
    server = Server()
    first = server.create(type="LoadBalancer", externalTrafficPolicy="Local")
    server.create("headless", clusterIP="None")
    again = ServiceAllocator()
    again.rebuild(server.stored.values())
    assert again.statistics() == {"ips": 1, "ports": 2}
    with pytest.raises(ValueError, match="already allocated"):
        again.take_ip("IPv4", first.spec.cluster_ip)
    again.rebuild([])
    assert again.statistics() == {"ips": 0, "ports": 0}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, []),
        ({"clusterIP": "None", "externalIPs": ["192.0.2.1"], "loadBalancerIP": "192.0.2.1",
         "sessionAffinity": "ClientIP"},
         ["spec.loadBalancerIP is ignored for headless services", "spec.externalIPs is ignored for headless services",
          "spec.SessionAffinity is ignored for headless services"]),
        ({"externalIPs": ["192.0.2.1"]},
         ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
        ({"externalName": "a.b"}, ['spec.externalName is ignored when spec.type is not "ExternalName"']),
        ({"type": "ExternalName", "externalName": "a.b", "externalIPs": ["192.0.2.1"]},
         ['spec.externalIPs is ignored when spec.type is "ExternalName"']),
        ({"trafficDistribution": "PreferClose"},
         ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
        ({"loadBalancerIP": "FD00:0::1"},
         ['spec.loadBalancerIP: IPv6 address "FD00:0::1" should be in RFC 5952 canonical format ("fd00::1")']),
    ],
)  # fmt: skip
def test_s25_warnings(spec: dict[str, Any], wanted: list[str]) -> None:
    assert STRATEGY.warnings(Server().create(**spec), None) == wanted


def test_s25_deprecated_annotation() -> None:
    obj = Server().create()
    obj.metadata.annotations["service.kubernetes.io/topology-aware-hints"] = "Auto"
    assert STRATEGY.warnings(obj, None) == [
        (
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
            "please use service.kubernetes.io/topology-mode instead"
        )
    ]
