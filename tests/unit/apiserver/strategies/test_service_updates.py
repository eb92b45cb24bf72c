"""What happens to a Service that is changed: S27-S34."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.services import HTTP, HTTPS, Server, node_ports

from skerry.api import codec
from skerry.api.status import ApiError
from skerry.api.types import core


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
