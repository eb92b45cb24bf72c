"""Which pods count and which Services a change touches: E4-E6, E13-E26, U14, U51."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.controllers.endpoints import build

from skerry.api.types import core
from skerry.controllers.endpoints import members, select


@pytest.mark.parametrize(
    ("one", "terminating", "counts"),
    [
        (build.pod("a", "10.0.0.1"), False, True),
        (build.pod("a", "10.0.0.1", phase="Pending", ready=None), False, True),
        (build.pod("a", "10.0.0.1", phase="Unknown"), False, True),
        (build.pod("a", "10.0.0.1", phase=""), False, True),
        (build.pod("a", "10.0.0.1", phase="Failed"), True, False),
        (build.pod("a", "10.0.0.1", phase="Succeeded"), True, False),
        (build.pod("a"), True, False),
        (build.pod("a", "10.0.0.1", deleting=True), False, False),
        (build.pod("a", "10.0.0.1", deleting=True), True, True),
    ],
)
def test_e13_e14_e15_e16_u13_which_pods_count(one: core.Pod, terminating: bool, counts: bool) -> None:
    assert members.is_member(one, include_terminating=terminating) is counts


def test_u14_e21_the_first_address_of_the_services_family() -> None:
    dual = build.pod("a", "2001:db8::1", "10.0.0.1", "10.0.0.2")
    assert members.endpoint_address(build.service(ip_families=["IPv4"]), dual) == "10.0.0.1"
    assert members.endpoint_address(build.service(ip_families=["IPv6", "IPv4"]), dual) == "2001:db8::1"
    assert members.endpoint_address(build.service(ip_families=["IPv6"]), build.pod("a", "10.0.0.1")) == ""
    # Without ipFamilies: the family of the cluster IP, or for a headless Service that of the pod's own IP.
    assert members.endpoint_address(build.service(ip_families=[]), dual) == "10.0.0.1"
    assert members.endpoint_address(build.service(ip_families=[], cluster_ip="None"), dual) == "2001:db8::1"


def test_l14_families() -> None:
    assert members.families(build.service(ip_families=["IPv6"])) == ("IPv6",)
    assert members.families(build.service(ip_families=[])) == ("IPv4",)
    assert members.families(build.service(ip_families=[], cluster_ip="None")) == ("IPv4", "IPv6")


def test_e23_hostname_needs_the_services_name_as_subdomain() -> None:
    assert members.hostname(build.service(), build.pod("a", hostname="db-0", subdomain="web")) == "db-0"
    assert members.hostname(build.service(), build.pod("a", hostname="db-0", subdomain="other")) == ""
    assert members.hostname(build.service(), build.pod("a", subdomain="web")) == ""


def test_e25_named_ports_are_looked_up_in_containers_then_sidecars() -> None:
    one = build.pod("a", ports={"http": 8080})
    udp = core.ContainerPort(name="dns", container_port=53, protocol="UDP")
    one.spec.containers.append(core.Container(name="d", ports=[udp, core.ContainerPort(name="http", container_port=1)]))
    sidecar = [core.ContainerPort(name="metrics", container_port=9090)]
    one.spec.init_containers = [
        core.Container(name="init", ports=[core.ContainerPort(name="setup", container_port=7)]),
        core.Container(name="side", ports=sidecar, restart_policy="Always"),
    ]
    assert members.resolve_port(one, build.port(target="http")) == 8080
    assert members.resolve_port(one, build.port(target="dns")) is None
    assert members.resolve_port(one, build.port(target="dns", protocol="UDP")) == 53
    assert members.resolve_port(one, build.port(target="metrics")) == 9090
    assert members.resolve_port(one, build.port(target="setup")) is None
    assert members.resolve_port(one, build.port(target=1234)) == 1234


def _index(*services: core.Service) -> select.ServiceIndex:
    index = select.ServiceIndex()
    for one in services:
        index.put(one)
    return index


def test_e4_services_of_a_pod() -> None:
    index = _index(
        build.service("a", selector={"app": "web"}),
        build.service("b", selector={"app": "web", "tier": "front"}),
        build.service("c", selector={}),
        build.service("d", selector={"app": "web"}, type="ExternalName"),
    )
    assert index.matching("default", {"app": "web"}) == {"default/a"}
    assert index.matching("default", {"app": "web", "tier": "front", "x": "y"}) == {"default/a", "default/b"}
    assert index.matching("other", {"app": "web"}) == set()
    index.put(build.service("a", selector={"app": "other"}))
    index.remove("default/b")
    index.remove("default/never-there")
    assert index.matching("default", {"app": "web", "tier": "front"}) == set()


def test_finding_the_services_of_a_pod_does_not_scan_those_that_share_a_common_label() -> None:
    services = [build.service(f"s{n}", selector={"managed": "yes", "app": f"a{n}"}) for n in range(200)]
    index = _index(*services)
    buckets = index._filed[("default", "managed", "yes")]
    assert len(buckets) <= 1
    assert index.matching("default", {"managed": "yes", "app": "a7"}) == {"default/s7"}


def _touched(old: core.Pod | None, new: core.Pod | None) -> set[str]:
    index = _index(build.service("web"), build.service("api"), build.service("both", selector={"x": "y"}))
    return {one.removeprefix("default/") for one in select.touched(index, old, new)}


def test_e5_which_services_an_update_touches() -> None:
    ready = build.pod("a", "10.0.0.1", version="1")
    same = build.pod("a", "10.0.0.1", version="2", since="2027-01-01T00:00:00Z")
    assert _touched(ready, same) == set()
    assert _touched(ready, build.pod("a", "10.0.0.1", version="2", ready=False)) == {"web"}
    assert _touched(ready, build.pod("a", "10.0.0.1", version="1", ready=False)) == set()  # same resourceVersion
    assert _touched(ready, build.pod("a", "10.0.0.1", version="2", deleting=True)) == {"web"}
    assert _touched(ready, build.pod("a", "10.0.0.1", "10.0.0.2", version="2")) == {"web"}
    moved = build.pod("a", "10.0.0.1", version="2", labels={"app": "api", "x": "y"})
    assert _touched(ready, moved) == {"web", "api", "both"}
    both = build.pod("a", "10.0.0.1", version="2", labels={"app": "web", "x": "y"})
    assert _touched(ready, both) == {"both"}  # only the difference: nothing changed for web
    both_unready = build.pod("a", "10.0.0.1", version="2", labels={"app": "web", "x": "y"}, ready=False)
    assert _touched(ready, both_unready) == {"web", "both"}
    assert _touched(ready, build.pod("a", "10.0.0.1", version="2", hostname="h", subdomain="web")) == {"web"}


def test_e6_a_change_of_phase_counts() -> None:
    waiting = build.pod("a", "10.0.0.1", ready=False, version="1")
    assert _touched(waiting, build.pod("a", "10.0.0.1", ready=False, phase="Failed", version="2")) == {"web"}


def test_pods_that_come_and_go() -> None:
    ready = build.pod("a", "10.0.0.1")
    assert _touched(None, ready) == {"web"}
    assert _touched(ready, None) == {"web"}
    # What has no address yet, or is finished, is in nobody's endpoints.
    assert _touched(None, build.pod("a")) == set()
    assert _touched(build.pod("a", "10.0.0.1", phase="Succeeded"), None) == set()
    assert _touched(build.pod("a", version="1"), build.pod("a", "10.0.0.1", version="2")) == {"web"}
    reborn = build.pod("a", "10.0.0.1", version="2")
    reborn.metadata.uid = "another"
    assert _touched(ready, reborn) == {"web"}


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@given(st.lists(LABELS, max_size=12), LABELS)
def test_both_indexes_agree_with_a_scan(many: list[dict[str, str]], one: dict[str, str]) -> None:
    services = [build.service(f"s{n}", selector=labels) for n, labels in enumerate(many)]
    found = _index(*services).matching("default", one)
    assert found == {
        members.key(each) for each in services if each.spec.selector and each.spec.selector.items() <= one.items()
    }

    index = select.PodIndex()
    pods = [build.pod(f"p{n}", labels=labels) for n, labels in enumerate(many)]
    for each in pods:
        index.put(build.pod(each.metadata.name, labels={"a": "x", "b": "y"}))
        index.put(each)
    if one:
        names = {each.metadata.name for each in index.matching("default", one)}
        assert names == {each.metadata.name for each in pods if one.items() <= each.metadata.labels.items()}
    for each in pods:
        index.remove(members.key(each))
    assert not index._filed
