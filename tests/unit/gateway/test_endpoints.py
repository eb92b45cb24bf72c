"""Which endpoints a cluster has: by the rules of the service proxy (P3-P7), and weights."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.gateway.build import endpoint_slice

from skerry.gateway.endpoints import endpoints_of, service_of
from skerry.gateway.model import Cluster, Endpoint, Protocol

CLUSTER = Cluster("shop/web:80", "shop/web", 80, "", Protocol.HTTP, "IPv4")


def at(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


READY = {"ready": True, "serving": True, "terminating": False}
LEAVING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}


@pytest.mark.parametrize(
    ("endpoints", "wanted"),
    [
        ([at("10.0.0.2", **READY), at("10.0.0.1")], ["10.0.0.1", "10.0.0.2"]),
        ([at("10.0.0.1", **READY), at("10.0.0.2", **LEAVING), at("10.0.0.3", **GONE)], ["10.0.0.1"]),
        ([at("10.0.0.2", **LEAVING), at("10.0.0.3", **GONE), at("10.0.0.4", ready=False)], ["10.0.0.2"]),
        ([at("10.0.0.3", **GONE), at("10.0.0.4", ready=False)], []),
        ([{"addresses": []}], []),
    ],
)
def test_p7_ready_ones_else_those_that_serve_while_they_leave(endpoints: list[Any], wanted: list[str]) -> None:
    found = endpoints_of(CLUSTER, [endpoint_slice("one", *endpoints)])
    assert found == tuple(Endpoint(address, 8080) for address in wanted)


def test_p3_all_slices_are_merged_and_of_two_alike_one_counts() -> None:
    slices = [endpoint_slice("one", at("10.0.0.1"), at("10.0.0.2")), endpoint_slice("two", at("10.0.0.2"))]
    assert [one.address for one in endpoints_of(CLUSTER, slices)] == ["10.0.0.1", "10.0.0.2"]


def test_p4_ports_are_joined_by_name_and_slices_may_differ_in_numbers() -> None:
    named = CLUSTER._replace(port="http")
    slices = [
        endpoint_slice("one", at("10.0.0.1"), ports=[{"name": "http", "port": 8080}, {"name": "x", "port": 1}]),
        endpoint_slice("two", at("10.0.0.2"), ports=[{"name": "http", "port": 9090, "protocol": "TCP"}]),
        endpoint_slice("udp", at("10.0.0.3"), ports=[{"name": "http", "port": 53, "protocol": "UDP"}]),
        endpoint_slice("open", at("10.0.0.4"), ports=[{"name": "http"}]),
    ]
    assert endpoints_of(named, slices) == (Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 9090))


def test_of_two_families_the_services_first_one_counts() -> None:
    slices = [endpoint_slice("one", at("10.0.0.1")), endpoint_slice("two", at("fd00::1"), addressType="IPv6")]
    assert endpoints_of(CLUSTER, slices) == (Endpoint("10.0.0.1", 8080),)
    assert endpoints_of(CLUSTER._replace(family="IPv6"), slices) == (Endpoint("fd00::1", 8080),)


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        ("", [("10.0.0.1", 1), ("10.0.0.2", 1)]),
        ('{"10.0.0.1":25}', [("10.0.0.1", 25), ("10.0.0.2", 100)]),
        ('{"10.0.0.1":0}', [("10.0.0.2", 1)]),
        ('{"10.0.0.1":0,"10.0.0.2":0}', [("10.0.0.1", 1), ("10.0.0.2", 1)]),
        ("nonsense", [("10.0.0.1", 1), ("10.0.0.2", 1)]),
    ],
)
def test_weights(weights: str, wanted: list[tuple[str, int]]) -> None:
    annotations = {"skerry.dev/weights": weights} if weights else {}
    one = endpoint_slice("one", at("10.0.0.1"), at("10.0.0.2"), annotations=annotations)
    assert [(each.address, each.weight) for each in endpoints_of(CLUSTER, [one])] == wanted


def test_whose_a_slice_is() -> None:
    one = endpoint_slice("one")
    assert service_of(one) == "shop/web"
    one.metadata.labels = {}
    assert service_of(one) == ""
