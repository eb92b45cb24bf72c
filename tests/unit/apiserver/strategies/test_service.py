"""What happens to a Service when it is written: S26-S34, S36-S46 and the warnings of S25."""

from __future__ import annotations

import random
from typing import Any

import pytest

from skerry.api import codec, defaults, resources, validation
from skerry.api.allocation import PortRange
from skerry.api.status import ApiError
from skerry.api.types import core
from skerry.apiserver import strategies
from skerry.apiserver.strategies import Context, ServiceAllocator

STRATEGY = strategies.of(resources.of(core.Service))
HTTP = {"name": "http", "port": 80}
HTTPS = {"name": "https", "port": 443}


class Server:
    """The order of the server's hooks, with a store of one dict."""

    def __init__(self, *cidrs: str, ports: PortRange | None = None) -> None:
        allocator = ServiceAllocator(cidrs or ("10.96.0.0/12",), ports, random.Random(7))
        self.ctx = Context(ranges=allocator)
        self.stored: dict[str, core.Service] = {}

    def parse(self, name: str, spec: dict[str, Any]) -> core.Service:
        value = {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [HTTP], "selector": {"a": "b"}, **spec},
        }
        obj = codec.convert(core.Service, value)
        defaults.apply(obj)
        return obj

    def create(self, name: str = "web", *, fail: bool = False, **spec: Any) -> core.Service:
        obj, transaction = self.parse(name, spec), self.ctx.begin()
        try:
            STRATEGY.prepare_create(obj, self.ctx)
            STRATEGY.canonicalize(obj)
            assert [str(one) for one in validation.create(obj)] == []
            if fail:
                raise RuntimeError("the store is full")
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        self.stored[name] = codec.copy(obj)
        return obj

    def update(self, name: str = "web", **spec: Any) -> core.Service:
        return self.write(self.parse(name, spec))

    def write(self, new: core.Service, subresource: str = "") -> core.Service:
        old, transaction = self.stored[new.metadata.name], self.ctx.begin()
        try:
            STRATEGY.prepare_update(new, old, subresource, self.ctx)
            STRATEGY.canonicalize(new)
            errors = [str(one) for one in validation.update(new, old, subresource)]
            if errors:
                raise ValueError("; ".join(errors))
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()
        self.stored[new.metadata.name] = codec.copy(new)
        return new

    def delete(self, name: str = "web") -> None:
        STRATEGY.after_delete(self.stored.pop(name), self.ctx)

    @property
    def used(self) -> tuple[int, int]:
        found = self.ctx.ranges.statistics()
        return found["ips"], found["ports"]


def node_ports(obj: core.Service) -> list[int]:
    return [one.node_port for one in obj.spec.ports]


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


def test_s27_status_is_a_subresource() -> None:
    server = Server()
    old = server.create(type="LoadBalancer")
    new = codec.copy(old)
    new.status.load_balancer.ingress = [core.LoadBalancerIngress(ip="192.0.2.1", ip_mode="VIP")]
    new.spec.ports = []
    new.metadata.labels["seen"] = "yes"
    written = server.write(new, "status")
    assert written.spec == old.spec and written.metadata.labels == {"seen": "yes"}
    assert written.status.load_balancer.ingress[0].ip == "192.0.2.1"
    # The other way round: a write of the whole keeps the status.
    assert server.update(type="LoadBalancer").status == written.status
    # S30: no status of a load balancer without one.
    assert server.update(type="ClusterIP").status.load_balancer.ingress == []


def test_s28_carry_over() -> None:
    server = Server()
    old = server.create(type="NodePort", ports=[HTTP, HTTPS])
    ports = dict(zip(("http", "https"), node_ports(old), strict=True))
    again = server.update(type="NodePort", ports=[HTTPS, {**HTTP, "targetPort": 8080}])
    assert again.spec.cluster_ip == old.spec.cluster_ip
    assert node_ports(again) == [ports["https"], ports["http"]]
    # A value that another port of the new object uses is not used twice.
    swapped = server.update(type="NodePort", ports=[{**HTTP, "nodePort": ports["https"]}, HTTPS])
    assert node_ports(swapped)[0] == ports["https"] != node_ports(swapped)[1]
    assert server.used == (1, 2)


def test_s28_apply_of_the_same_manifest_changes_nothing() -> None:
    server = Server()
    old = server.create(type="NodePort")
    assert server.update(type="NodePort") == old


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "{ip}"},
        {"clusterIPs": ["{ip}"]},  # clusterIP cleared, the old list sent again
        {"clusterIP": "{ip}", "clusterIPs": ["{ip}"]},
    ],
)
def test_s29_normalisation(spec: dict[str, Any]) -> None:
    server = Server()
    ip = server.create().spec.cluster_ip
    filled = {key: [ip] if isinstance(value, list) else ip for key, value in spec.items()}
    assert server.update(**filled).spec.cluster_i_ps == [ip]


def test_s29_s31_a_changed_cluster_ip_is_refused() -> None:
    server = Server()
    ip = server.create().spec.cluster_ip
    for spec in ({"clusterIP": "10.96.0.77"}, {"clusterIP": "10.96.0.77", "clusterIPs": [ip]}, {"clusterIP": "None"}):
        with pytest.raises(ValueError, match="may not change once set"):
            server.update(**spec)
    assert server.used == (1, 0)


@pytest.mark.parametrize(
    ("old", "new", "cleared"),
    [
        ({"type": "NodePort"}, {"type": "ClusterIP"}, {"externalTrafficPolicy": ""}),
        ({"type": "LoadBalancer", "loadBalancerClass": "a/b"}, {"type": "NodePort"},
         {"loadBalancerClass": None, "allocateLoadBalancerNodePorts": None}),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, {"type": "ClusterIP"},
         {"healthCheckNodePort": 0, "externalTrafficPolicy": "", "allocateLoadBalancerNodePorts": None}),
        ({}, {"type": "ExternalName", "externalName": "a.b"},
         {"clusterIP": "", "clusterIPs": [], "ipFamilies": [], "ipFamilyPolicy": None}),
    ],
)  # fmt: skip
def test_s30_type_change_by_sending_the_whole_object(
    old: dict[str, Any], new: dict[str, Any], cleared: dict[str, Any]
) -> None:
    """As `kubectl edit` does: everything that was there is sent back with another type."""
    server = Server()
    whole = codec.plain(server.create(**old))["spec"]
    changed = server.update(**{**whole, **new})
    plain = codec.plain(changed.spec)
    for name, empty in cleared.items():
        assert plain.get(name, empty) == empty
    if new["type"] == "ClusterIP":
        assert node_ports(changed) == [0] and server.used == (1, 0)  # S33
    if new["type"] == "ExternalName":
        assert server.used == (0, 0)  # S33
        back = server.update()
        assert back.spec.cluster_ip and server.used == (1, 0)


def test_s30_what_the_same_write_changed_is_not_dropped() -> None:
    server = Server()
    server.create(type="NodePort")
    with pytest.raises(ValueError, match=r"nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"):
        server.update(type="ClusterIP", ports=[{**HTTP, "nodePort": 30001}])
    assert server.used == (1, 1)


def test_s32_second_family() -> None:
    server = Server("10.0.0.0/24", "fd00::/112")
    first = server.create().spec.cluster_ip
    both = server.update(ipFamilyPolicy="PreferDualStack").spec
    assert both.cluster_i_ps[0] == first and both.ip_families == ["IPv4", "IPv6"] and server.used == (2, 0)
    with pytest.raises(ApiError, match="must be 'SingleStack' to release the secondary cluster IP"):
        server.update(ipFamilyPolicy="PreferDualStack", clusterIP=first, clusterIPs=[first])
    one = server.update(ipFamilyPolicy="SingleStack", clusterIPs=both.cluster_i_ps, ipFamilies=["IPv4", "IPv6"]).spec
    assert (one.cluster_i_ps, one.ip_families) == ([first], ["IPv4"]) and server.used == (1, 0)


def test_s33_s34_releases() -> None:
    server = Server()
    port = node_ports(server.create(type="NodePort"))[0]
    moved = node_ports(server.update(type="NodePort", ports=[{**HTTP, "nodePort": 30001}]))
    assert moved == [30001] and server.used == (1, 1)
    server.create("two", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    server.delete("two")
    server.delete()
    assert server.used == (0, 0)


def test_a_refused_update_gives_back_only_what_it_took() -> None:
    server = Server()
    port = node_ports(server.create(type="NodePort"))[0]
    with pytest.raises(ValueError, match=r"sessionAffinity"):
        server.update(type="NodePort", ports=[{**HTTP, "nodePort": 30002}], sessionAffinity="Cookie")
    assert server.used == (1, 1)
    with pytest.raises(ApiError, match="already allocated"):
        server.create("two", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    server.create("three", type="NodePort", ports=[{"port": 80, "nodePort": 30002}])


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
