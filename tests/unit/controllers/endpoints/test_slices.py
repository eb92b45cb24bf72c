"""EndpointSlices: L14-L34, U30-U50, G3."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.controllers.endpoints import build

from skerry.api import codec
from skerry.api.types import core, discovery
from skerry.controllers.endpoints import placement, slices
from skerry.controllers.endpoints.plan import Plan


def plan(service: core.Service, pods: list[core.Pod], *existing: discovery.EndpointSlice, **more: Any) -> Plan:
    before = [codec.encode(one) for one in existing]
    made = placement.reconcile(service, pods, more.pop("node", build.any_node), existing, **more)
    assert [codec.encode(one) for one in existing] == before, "what was given must stay as it was"
    return made


def writes(made: Plan) -> tuple[int, int, int]:
    return len(made.create), len(made.update), len(made.delete)


def settle(service: core.Service, pods: list[core.Pod], *existing: discovery.EndpointSlice, **more: Any) -> list[int]:
    """The sizes after the plan was carried out; a second look must find nothing to do."""
    store = build.Store(*existing)
    store.apply(plan(service, pods, *existing, **more))
    assert not plan(service, pods, *store.slices.values(), **more)
    return store.sizes()


@pytest.mark.parametrize("publish", [False, True])
@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("deleting", [True, False])
def test_l16_conditions(publish: bool, ready: bool, deleting: bool) -> None:
    service = build.service(publish_not_ready_addresses=publish)
    [made] = plan(service, [build.pod("a", "10.0.0.1", ready=ready, deleting=deleting)]).create
    assert made.endpoints[0].conditions == discovery.EndpointConditions(
        ready=publish or (ready and not deleting), serving=ready, terminating=deleting
    )


def test_u31_l18_l33_the_endpoint_of_one_pod() -> None:
    node = core.Node()
    node.metadata.labels = {"topology.kubernetes.io/zone": "a"}
    [made] = plan(build.service(), [build.pod("a", "10.0.0.1")], node=lambda _: node, trigger="t").create
    assert made.address_type == "IPv4"
    assert made.ports == [discovery.EndpointPort(name="", protocol="TCP", port=8080)]
    assert made.endpoints == [
        discovery.Endpoint(
            addresses=["10.0.0.1"],
            conditions=discovery.EndpointConditions(ready=True, serving=True, terminating=False),
            target_ref=core.ObjectReference(kind="Pod", namespace="default", name="a", uid="uid-a"),
            node_name="node-1",
            zone="a",
        )
    ]
    assert made.metadata.generate_name == "web-" and made.metadata.name == ""
    assert made.metadata.annotations == {"endpoints.kubernetes.io/last-change-trigger-time": "t"}
    [owner] = made.metadata.owner_references
    assert (owner.api_version, owner.kind, owner.name, owner.uid) == ("v1", "Service", "web", "uid-web")
    assert owner.controller and owner.block_owner_deletion


def test_u31_dual_stack_makes_slices_of_both_families() -> None:
    service = build.service(ip_families=["IPv4", "IPv6"])
    pods = [build.pod("a", "10.0.0.1", "2001:DB8::0:1"), build.pod("b", "10.0.0.2")]
    made = plan(service, pods)
    assert {one.address_type: [each.addresses for each in one.endpoints] for one in made.create} == {
        "IPv4": [["10.0.0.1"], ["10.0.0.2"]],
        "IPv6": [["2001:db8::1"]],  # L17: canonical
    }


@pytest.mark.parametrize(
    "one",
    [build.pod("a"), build.pod("a", "10.0.0.1", phase="Failed"), build.pod("a", "10.0.0.1", phase="Succeeded")],
)
def test_l15_who_is_left_out(one: core.Pod) -> None:
    [made] = plan(build.service(), [one]).create
    assert made.endpoints == []


def test_l20_a_pod_without_any_resolved_port_still_gets_a_slice() -> None:
    service = build.service(ports=[build.port("web", target="http")])
    [made] = plan(service, [build.pod("a", "10.0.0.1")]).create
    assert (made.ports, len(made.endpoints)) == ([], 1)


def test_u30_l29_a_placeholder_a_family() -> None:
    service = build.service(ip_families=["IPv4", "IPv6"], labels={"team": "a"})
    made = plan(service, [])
    assert [(one.address_type, one.endpoints, one.ports) for one in made.create] == [("IPv4", [], []), ("IPv6", [], [])]
    assert made.create[0].metadata.labels == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }


def test_u32_an_equal_placeholder_is_left_alone() -> None:
    service = build.service()
    assert not plan(service, [], build.placeholder(service, "s1"))
    made = plan(service, [], build.slice_of(service, "s1", []))  # has ports: no placeholder
    assert writes(made) == (0, 1, 0)
    assert made.update[0].ports == []


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        (lambda one: None, True),
        (lambda one: setattr(one.metadata, "name", "other"), True),
        (lambda one: setattr(one.metadata, "creation_timestamp", "2026-01-01T00:00:00Z"), True),
        (lambda one: one.metadata.annotations.update(a="b"), True),
        (lambda one: one.metadata.labels.update(a="b"), False),
        (lambda one: one.ports.append(discovery.EndpointPort(name="x", port=1)), False),
        (lambda one: one.endpoints.append(discovery.Endpoint(addresses=["10.0.0.1"])), False),
    ],
)
def test_u33_what_makes_an_equal_placeholder(change: Any, equal: bool) -> None:
    service = build.service()
    one = build.placeholder(service, "s1")
    change(one)
    assert bool(plan(service, [], one)) is not equal


def test_g3_l31_the_name_survives_emptiness_and_return() -> None:
    service = build.service()
    store = build.Store(build.slice_of(service, "keep", build.pods(1)))
    store.apply(plan(service, [], *store.slices.values()))
    assert [(name, one.endpoints, one.ports) for name, one in store.slices.items()] == [("keep", [], [])]
    made = plan(service, build.pods(1), *store.slices.values())
    assert writes(made) == (0, 1, 0)
    store.apply(made)
    assert [(name, len(one.endpoints), len(one.ports)) for name, one in store.slices.items()] == [("keep", 1, 1)]


def test_u35_g3_250_pods() -> None:
    made = plan(build.service(), build.pods(250))
    assert writes(made) == (3, 0, 0)
    assert sorted(len(one.endpoints) for one in made.create) == [50, 100, 100]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(50, [50] * 5), (80, [80, 80, 80, 10]), (150, [150, 100]), (250, [250]), (500, [250])],
)
def test_u44_max_endpoints(limit: int, sizes: list[int]) -> None:
    assert settle(build.service(), build.pods(250), max_endpoints=limit) == sizes


def _existing(service: core.Service, *sizes: int) -> tuple[list[discovery.EndpointSlice], int]:
    made, first = [], 0
    for at, size in enumerate(sizes):
        made.append(build.slice_of(service, f"s{at}", build.pods(size, first)))
        first += size
    return made, first


@pytest.mark.parametrize(
    ("sizes", "more", "result", "count"),
    [
        ((62, 61), 127, [100, 89, 61], (1, 1, 0)),  # U36
        ((74, 74), 152, [100, 74, 74, 52], (2, 0, 0)),  # U37
        ((100,), 100, [100, 100], (1, 0, 0)),
        ((95, 60), 3, [98, 60], (0, 1, 0)),  # the one that ends closest to full
        ((95, 60), 7, [95, 67], (0, 1, 0)),  # all must fit in one
    ],
)
def test_g3_packing(sizes: tuple[int, ...], more: int, result: list[int], count: tuple[int, int, int]) -> None:
    service = build.service()
    existing, known = _existing(service, *sizes)
    pods = build.pods(known + more)
    assert writes(plan(service, pods, *existing)) == count
    assert settle(service, pods, *existing) == result


def test_u40_l25_fullest_first_among_those_that_change_anyway() -> None:
    service = build.service()
    existing, _ = _existing(service, 80, 20)
    pods = build.pods(100)
    pods[0] = build.pod("web-0", "10.244.0.0", ready=False)
    pods[99] = build.pod("web-99", "10.244.0.99", ready=False)
    made = plan(service, pods + build.pods(15, first=100), *existing)
    assert writes(made) == (0, 2, 0)
    assert sorted(len(one.endpoints) for one in made.update) == [20, 95]


def test_u38_a_change_of_port_updates_slices_in_place() -> None:
    service = build.service()
    existing, _ = _existing(service, 100, 100, 50)
    changed = build.service(ports=[build.port(target=9090)])
    made = plan(changed, build.pods(250), *existing)
    assert writes(made) == (0, 3, 0)
    assert {one.ports[0].port for one in made.update} == {9090}


def test_u38_labels() -> None:
    service = build.service()
    existing, _ = _existing(service, 100, 100, 50)
    made = plan(build.service(labels={"a": "b"}), build.pods(250), *existing)
    assert writes(made) == (0, 3, 0)
    assert all(one.metadata.labels["a"] == "b" for one in made.update)
    reserved = {"kubernetes.io/service-name": "x", "endpointslice.kubernetes.io/managed-by": "y"}
    assert not plan(build.service(labels=reserved), build.pods(250), *existing)


def test_u39_recycling() -> None:
    service = build.service()
    existing, _ = _existing(service, *[30] * 10)
    assert not plan(service, build.pods(300), *existing)
    changed = build.service(ports=[build.port(target=9090)])
    assert writes(plan(changed, build.pods(300), *existing)) == (0, 3, 7)
    assert settle(changed, build.pods(300), *existing) == [100, 100, 100]


def test_u41_l14_slices_of_another_address_type_are_replaced() -> None:
    service = build.service()
    foreign = [build.slice_of(service, f"f{n}", [], address_type="IPv6") for n in range(2)]
    made = plan(service, build.pods(130), *foreign)
    assert writes(made) == (2, 0, 2)
    assert sorted(len(one.endpoints) for one in made.create) == [30, 100]


@pytest.mark.parametrize("pods", [0, 1])
def test_u42_l22_a_slice_of_a_former_service_is_not_reused(pods: int) -> None:
    service, former = build.service(), build.service(uid="former")
    own = build.slice_of(service, "own", build.pods(1))
    assert not plan(service, build.pods(1), own)
    old = build.slice_of(service, "old", build.pods(1), owners=[slices.owner(former)])
    made = plan(service, build.pods(pods), old)
    assert writes(made) == (1, 0, 1)
    assert made.delete == [old]


def test_u43_l21_named_ports_with_different_numbers() -> None:
    service = build.service(ports=[build.port("web", target="http")])
    pods = [build.pod(f"web-{n}", f"10.244.{n // 250}.{n % 250}", ports={"http": 8080 + n % 5}) for n in range(300)]
    assert settle(service, pods) == [60] * 5


@pytest.mark.parametrize(
    ("pods", "existing", "expect"),
    [
        (1, 0, (0, 0, 0)),
        (0, 0, (0, 0, 0)),
        (0, 1, (0, 1, 0)),
        (50, 1, (0, 1, 0)),
        (101, 1, (0, 0, 0)),
    ],
)
def test_u46_no_creates_for_a_service_that_is_going(pods: int, existing: int, expect: tuple[int, int, int]) -> None:
    service = build.service()
    known = [build.slice_of(service, "s", build.pods(1))] if existing else []
    service.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert writes(plan(service, build.pods(pods), *known)) == expect


def test_u47_l19_a_missing_node_hides_only_its_pods() -> None:
    def node(name: str) -> core.Node | None:
        return None if name == "gone" else build.NODE

    pods = [build.pod("a", "10.0.0.1"), build.pod("b", "10.0.0.2", node="gone")]
    made = plan(build.service(), pods, node=node)
    assert [one.addresses for one in made.create[0].endpoints] == [["10.0.0.1"]]
    assert made.missing_nodes == {"gone"}
    made = plan(build.service(publish_not_ready_addresses=True), pods, node=node)
    assert len(made.create[0].endpoints) == 2
    assert not made.missing_nodes


def test_u49_headless_without_ports_does_not_churn() -> None:
    service = build.service(ports=[], cluster_ip="None")
    assert settle(service, build.pods(2)) == [2]
    [made] = plan(service, build.pods(2)).create
    assert made.metadata.labels["service.kubernetes.io/headless"] == ""


def test_services_that_are_not_ours_and_slices_that_are_going() -> None:
    service = build.service()
    kept = build.slice_of(service, "s", build.pods(1))
    for other in (build.service(selector={}), build.service(type="ExternalName")):
        assert not plan(other, build.pods(1), kept)
    kept.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    assert writes(plan(service, build.pods(1), kept)) == (1, 0, 0)


def test_a_pod_that_becomes_unready_changes_its_slice_only() -> None:
    service = build.service()
    existing, _ = _existing(service, 100, 100)
    pods = build.pods(200)
    pods[150] = build.pod("web-150", "10.244.0.150", ready=False)
    made = plan(service, pods, *existing)
    assert [one.metadata.name for one in made.update] == ["s1"]
    assert made.update[0].metadata.resource_version == "5"


@given(st.lists(st.sets(st.integers(0, 40), max_size=30), min_size=1, max_size=6), st.integers(1, 12))
def test_whatever_comes_and_goes_each_pod_is_in_exactly_one_slice(steps: list[set[int]], limit: int) -> None:
    service = build.service(ports=[build.port("web", target="http")])
    store = build.Store()
    for step in steps:
        pods = [
            build.pod(f"web-{n}", f"10.0.0.{n}", ports={"http": 8080 + n % 2}, ready=n % 3 > 0) for n in sorted(step)
        ]
        store.apply(plan(service, pods, *store.slices.values(), max_endpoints=limit))
        got = sorted(one.addresses[0] for each in store.slices.values() for one in each.endpoints)
        assert got == sorted(f"10.0.0.{n}" for n in step)
        for each in store.slices.values():
            assert len(each.endpoints) <= limit
            assert {int(one.addresses[0].split(".")[3]) % 2 + 8080 for one in each.endpoints} <= {
                port.port for port in each.ports
            }
        assert store.slices, "never without a slice (L29)"
        assert not plan(service, pods, *store.slices.values(), max_endpoints=limit)


def test_u34_publish_not_ready_addresses_makes_all_of_them_ready() -> None:
    pods = [one for at in range(50) for one in build.pods(1, at, ready=at % 2 == 0)]
    made = plan(build.service(publish_not_ready_addresses=True), pods)
    assert writes(made) == (1, 0, 0)
    assert [one.conditions.ready for one in made.create[0].endpoints] == [True] * 50


def test_l28_slices_of_ports_that_are_wanted_no_more_go() -> None:
    service = build.service(ports=[build.port("web", target="http")])
    pods = [build.pod(f"web-{n}", f"10.0.0.{n}", ports={"http": 8080 + n % 2}) for n in range(4)]
    store = build.Store()
    store.apply(plan(service, pods))
    assert store.sizes() == [2, 2]
    made = plan(service, pods[::2], *store.slices.values())
    assert writes(made) == (0, 0, 1)
    assert {port.port for one in made.delete for port in one.ports} == {8081}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda one: None, True),
        (lambda one: setattr(one.target_ref, "resource_version", "9"), True),
        (lambda one: setattr(one, "hints", discovery.EndpointHints()), True),
        (lambda one: setattr(one, "node_name", "other"), False),
        (lambda one: setattr(one, "zone", "other"), False),
        (lambda one: setattr(one.conditions, "ready", None), False),
        (lambda one: setattr(one.conditions, "serving", False), False),
        (lambda one: setattr(one.conditions, "terminating", True), False),
        (lambda one: setattr(one.target_ref, "uid", "other"), False),
        (lambda one: setattr(one, "target_ref", None), False),
    ],
)
def test_l23_u51_what_an_endpoint_says_beyond_who_it_is(change: Any, same: bool) -> None:
    """U51: TestEndpointsEqualBeyondHash."""
    one = build.endpoint(build.service(), build.pod("a", "10.0.0.1"))
    other = codec.copy(one)
    change(other)
    assert slices.same_beyond_identity(one, other) is same


def test_l23_who_an_endpoint_is() -> None:
    service = build.service()
    one = build.endpoint(service, build.pod("a", "10.0.0.1"))
    assert slices.identity(one) == slices.identity(build.endpoint(service, build.pod("a", "10.0.0.1", ready=False)))
    for other in (build.pod("b", "10.0.0.1"), build.pod("a", "10.0.0.2")):
        assert slices.identity(one) != slices.identity(build.endpoint(service, other))
    assert slices.identity(one) != slices.identity(
        build.endpoint(build.service("x"), build.pod("a", "10.0.0.1", hostname="h", subdomain="x"))
    )


def test_u50_l33_the_prefix_of_generated_names() -> None:
    assert slices.prefix("web") == "web-"
    assert slices.prefix("x" * 253) == "x" * 253
