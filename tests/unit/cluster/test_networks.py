"""A cluster's addresses: what may be asked for, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.cluster.errors import ClusterError
from skerry.cluster.networks import MachineNetworks, Network, Networks, pod_range, service_range
from skerry.cluster.state import State
from skerry.node.network.addresses import Addresses


def test_the_defaults_are_those_of_kubeadm() -> None:
    numbers = Networks()
    assert (numbers.kubernetes_ip, numbers.dns_ip) == ("10.96.0.1", "10.96.0.10")
    assert (str(numbers.fabric), numbers.api_address) == ("10.243.0.0/24", "10.243.0.1")
    assert (numbers.node_ips(1), numbers.node_pods(1)) == (("10.243.0.2",), ("10.244.1.0/24",))
    assert (numbers.node_ips(200), numbers.node_pods(200)) == (("10.243.0.201",), ("10.244.200.0/24",))
    assert numbers.nodes >= 200


def test_a_node_that_is_the_machine_has_an_address_among_its_pods() -> None:
    numbers = MachineNetworks()
    assert numbers.api_address == "10.244.1.1" and numbers.host_ips == ("10.244.1.1",)
    assert (numbers.fabrics, numbers.nodes, numbers.machine, Networks().machine) == ((), 1, True, False)
    assert "10.244.1.1" not in [Addresses(numbers.node_pods(1)).allocate()[0] for _ in range(3)]
    assert State("x", network="host").networks.machine


def test_the_smallest_ranges() -> None:
    numbers = Networks("192.168.7.0/24", "192.168.8.0/28")
    assert (numbers.node_pods(1), numbers.nodes, numbers.dns_ip) == (("192.168.7.0/24",), 1, "192.168.8.10")


def test_a_node_that_takes_more_pods_has_a_larger_share() -> None:
    """Three addresses of a share are no pod's."""
    prefixes = {pods: Networks(max_pods=pods).node_pods(1)[0] for pods in (1, 253, 254, 300, 1000)}
    assert list(prefixes.values()) == [
        "10.244.1.0/24", "10.244.1.0/24", "10.244.2.0/23", "10.244.2.0/23", "10.244.4.0/22",
    ]  # fmt: skip
    assert Networks("10.244.0.0/22", max_pods=300).nodes == 2
    assert Networks("10.244.0.0/24", max_pods=300).nodes == 0


ANYWHERE = st.integers(0, 2**32 - 1)


@given(ANYWHERE, st.integers(8, 24), ANYWHERE, st.integers(12, 28), st.integers(1, 1000))
def test_whatever_is_allowed_overlaps_nowhere(
    pods: int, pod_bits: int, services: int, service_bits: int, max_pods: int
) -> None:
    try:
        numbers = Networks(
            pod_range(str(Network((pods >> (32 - pod_bits) << (32 - pod_bits), pod_bits)))),
            service_range(str(Network((services >> (32 - service_bits) << (32 - service_bits), service_bits)))),
            max_pods,
        )
    except ClusterError:
        return
    ranges = [Network(numbers.pod_cidr), Network(numbers.service_cidr), numbers.fabric]
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one is not other)
    indexes = range(1, min(numbers.nodes, 20) + 1)
    blocks = {Network(numbers.node_pods(index)[0]) for index in indexes}
    assert len(blocks) == len({numbers.node_ips(index)[0] for index in indexes} - {numbers.api_address}) == len(indexes)
    assert all(block.subnet_of(Network(numbers.pod_cidr)) for block in blocks)


@pytest.mark.parametrize(
    ("check", "text", "said"),
    [
        (pod_range, "", '"" is no range'),
        (pod_range, "10.244.0.0", '"10.244.0.0" is no range of addresses, as in 10.244.0.0/16'),
        (pod_range, "10.244.0.0/33", "is no range"),
        (pod_range, "pods", "is no range"),
        (pod_range, "10.244.0.1/16", "does not begin a range: 10.244.0.0/16 does"),
        (pod_range, "10.244.0.0/255.255.0.0", "is written 10.244.0.0/16"),
        (pod_range, "fd00::/47", "too large for pods: take a /48 or less"),
        (pod_range, "fd00::/65", "fd00::/65 is too small for pods: every node needs a /64 of it"),
        (pod_range, "fe80::/64", "overlaps fe80::/10"),
        (pod_range, "fd00::0/64", "is written fd00::/64"),
        (pod_range, "10.244.0.0/16,", '"" is no range'),
        (pod_range, "10.244.0.0/16,10.245.0.0/16", "two ranges of one family"),
        (pod_range, "10.244.0.0/16,fd00::/56,fd01::/56", "two ranges of one family"),
        (service_range, "fd00::/63", "too large for Services: take a /64 or less"),
        (service_range, "fd00::/125", "too small for Services"),
        (pod_range, "10.244.0.0/25", "too small for pods"),
        (pod_range, "12.0.0.0/7", "too large for pods"),
        (pod_range, "127.0.0.0/16", "overlaps 127.0.0.0/8"),
        (pod_range, "169.254.0.0/16", "overlaps 169.254.0.0/16"),
        (pod_range, "224.0.0.0/16", "overlaps 224.0.0.0/3"),
        (service_range, "10.96.0.0/29", "too small for Services"),
        (service_range, "10.0.0.0/8", "too large for Services"),
    ],
)
def test_what_cannot_be_is_one_sentence(check: object, text: str, said: str) -> None:
    assert callable(check)
    with pytest.raises(ClusterError) as raised:
        check(text)
    assert said in str(raised.value) and str(raised.value).endswith(".") and "\n" not in str(raised.value)


def test_a_cluster_of_both_families_has_every_address_twice() -> None:
    numbers = Networks("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/12,fd00:10:96::/112")
    assert (numbers.kubernetes_ip, numbers.dns_ip) == ("10.96.0.1", "10.96.0.10")
    assert numbers.node_ips(1) == ("10.243.0.2", "fd00:10:243::2")
    assert numbers.node_pods(1) == ("10.244.1.0/24", "fd00:10:244:1::/64")
    assert numbers.api_address == "10.243.0.1" and numbers.has_ipv6
    assert numbers.dns_ips == ("10.96.0.10", "fd00:10:96::a")
    assert numbers.host_ips == ("10.243.0.254", "fd00:10:243:0:ffff:ffff:ffff:fffe")
    assert Networks("10.244.0.0/16,fd00:10:244::/62", "10.96.0.0/12,fd00:10:96::/112").nodes == 4


def test_the_first_family_is_the_primary_one() -> None:
    numbers = Networks("fd00:10:244::/56,10.244.0.0/16", "fd00:10:96::/112,10.96.0.0/12")
    assert (numbers.kubernetes_ip, numbers.dns_ip) == ("fd00:10:96::1", "fd00:10:96::a")
    assert numbers.node_ips(1) == ("fd00:10:243::2", "10.243.0.2")
    assert numbers.api_address == "fd00:10:243::1"


def test_ipv6_alone() -> None:
    numbers = Networks("fd00:10:243::/56", "fd00:10:96::/112")
    assert numbers.node_ips(1) == ("fd00:10:242::2",)  # the nodes' network is where the pods are not
    assert numbers.node_pods(2) == ("fd00:10:243:2::/64",)


@pytest.mark.parametrize(
    ("pods", "services"),
    [
        ("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/12"),
        ("10.244.0.0/16", "fd00:10:96::/112"),
        ("10.244.0.0/16,fd00:10:244::/56", "fd00:10:96::/112,10.96.0.0/12"),
    ],
)
def test_pods_and_services_have_the_same_families(pods: str, services: str) -> None:
    with pytest.raises(ClusterError, match="not of the same families in the same order: give both"):
        Networks(pods, services)


def test_pods_and_services_must_not_overlap() -> None:
    with pytest.raises(ClusterError, match=r"10\.0\.0\.0/8 and the Services' 10\.96\.0\.0/12 overlap"):
        Networks("10.0.0.0/8")
