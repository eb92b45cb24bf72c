"""What the controllers do around their decisions: events, order, failures, leftovers, bursts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.unit.controllers.endpoints import build
from tests.unit.controllers.endpoints.lossy import Cluster

from skerry.api import codec
from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import hints, members, slices
from skerry.controllers.endpoints.metrics import ServiceMetrics


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def put(cluster: Cluster, *objects: Any) -> None:
    for one in objects:
        again = codec.copy(one)
        again.metadata.uid = again.metadata.resource_version = ""
        cluster.store.put(again)
    show(cluster)


def show(cluster: Cluster) -> None:
    """All events so far, and what they lead to."""
    cluster.spread()
    for kind, pending in cluster.caches.pending.items():
        while pending:
            cluster.caches.deliver(kind)
    cluster.work()


def rest(cluster: Cluster) -> None:
    """Until nothing more happens."""
    for _ in range(6):
        show(cluster)
        cluster.work(0.2)


def node(name: str = "node-1", zone: str = "", cpu: str = "4") -> core.Node:
    return core.Node(
        metadata=meta.ObjectMeta(name=name, labels={slices.ZONE_LABEL: zone} if zone else {}),
        status=core.NodeStatus(allocatable={"cpu": cpu}, conditions=[core.NodeCondition(type="Ready", status="True")]),
    )


def zones(cluster: Cluster) -> set[str | None]:
    return {one.zone for each in cluster.store.objects[discovery.EndpointSlice].values() for one in each.endpoints}


def endpoints(cluster: Cluster) -> core.Endpoints | None:
    found: core.Endpoints | None = cluster.store.get(core.Endpoints, "default/web")
    return found


def test_u16_u21_a_burst_is_written_at_once_and_then_together(cluster: Cluster) -> None:
    """The first change does not wait; what comes while it is being written, and shortly after, is one more write."""
    put(cluster, node(), build.service())
    rest(cluster)
    cluster.client.writes.clear()
    cluster.client.faults += ["slow", "slow"]  # each takes 40 ms
    for number in range(20):
        put(cluster, build.pod(f"p{number}", f"10.0.0.{number}"))
        cluster.work(0.001)
    rest(cluster)
    found = endpoints(cluster)
    assert found is not None and len(found.subsets[0].addresses) == 20
    assert len([one for one in cluster.client.writes if "Endpoints" in one]) == 2


def test_l32_creates_updates_deletes_in_this_order(cluster: Cluster) -> None:
    service = build.service(ip_families=["IPv4", "IPv6"])
    put(cluster, node(), service, *[build.pod(f"p{n}", f"10.0.0.{n}") for n in range(4)])
    rest(cluster)
    for one in list(cluster.store.objects[core.Pod].values())[:3]:
        cluster.store.delete(one)
    changed = build.service(ip_families=["IPv4"], ports=[build.port("x", target=1), build.port("y", number=2)])
    cluster.client.writes.clear()
    put(cluster, changed)
    rest(cluster)
    order = [one.split()[0] for one in cluster.client.writes if "EndpointSlice" in one]
    assert order == sorted(order, key=["create", "update", "delete"].index) and set(order) >= {"update", "delete"}


def test_e45_l13_failures_are_told_and_tried_again(cluster: Cluster) -> None:
    cluster.client.faults += ["lost", "lost"]
    put(cluster, node(), build.service())
    assert sorted(cluster.client.events) == [
        (
            "Warning",
            "FailedToCreateEndpoint",
            "Failed to create endpoint for service default/web: the request was lost",
        ),
        (
            "Warning",
            "FailedToUpdateEndpointSlices",
            "Error updating Endpoint Slices for Service default/web: the request was lost",
        ),
    ]
    rest(cluster)
    assert endpoints(cluster) is not None
    cluster.client.events.clear()
    cluster.client.faults += ["lost", "lost"]
    put(cluster, build.pod("p", "10.0.0.1"))
    assert ("Warning", "FailedToUpdateEndpoint", "Failed to update endpoint default/web: the request was lost") in (
        cluster.client.events
    )


def test_e45_l32_nothing_is_said_of_a_namespace_that_goes(cluster: Cluster) -> None:
    cluster.client.faults += ["terminating", "terminating"]
    put(cluster, node(), build.service())
    rest(cluster)
    assert cluster.client.events == [] and endpoints(cluster) is None


def _stray(name: str, **annotations: str) -> core.Endpoints:
    named = {key.replace("_", "/"): value for key, value in annotations.items()}
    return core.Endpoints(metadata=meta.ObjectMeta(name=name, namespace="default", annotations=named))


def test_e50_e51_u5_leftovers_go_when_the_controller_starts(cluster: Cluster) -> None:
    lock = _stray("lock")
    lock.metadata.annotations[members.LEADER_ANNOTATION] = "{}"
    put(cluster, _stray("web"), lock)
    rest(cluster)
    assert endpoints(cluster) is not None, "while it runs, they live"
    cluster.restart(0)
    rest(cluster)
    assert endpoints(cluster) is None
    assert cluster.store.get(core.Endpoints, "default/lock") is not None


def test_e8_u17_endpoints_of_a_service_that_is_gone_are_deleted(cluster: Cluster) -> None:
    put(cluster, node(), build.service())
    rest(cluster)
    cluster.store.delete(cluster.store.get(core.Service, "default/web"))
    put(cluster, _stray("web"))  # E49 took the first
    rest(cluster)
    assert endpoints(cluster) is None


def test_e8_a_deletion_that_is_refused_is_asked_for_again(cluster: Cluster) -> None:
    """What could not be deleted is still there, whatever was asked: it is not taken for gone."""
    put(cluster, node(), build.service(), build.pod("p", "10.0.0.1"))
    rest(cluster)
    before = endpoints(cluster)
    cluster.caches.of(core.Service)._put("default/web", None)  # seen to go, by a cache that is wrong or early
    cluster.client.faults.append("refused")
    cluster.work()
    cluster.caches.relist(core.Service)
    rest(cluster)
    cluster.work(2.0)
    after = endpoints(cluster)
    assert before is not None and after is not None and after.subsets == before.subsets
    unready = build.pod("p", "10.0.0.1", ready=False)
    put(cluster, unready)
    rest(cluster)
    after = endpoints(cluster)
    assert after is not None and after.subsets[0].not_ready_addresses


def test_e8_a_write_that_was_done_unheard_after_the_service_had_gone(cluster: Cluster) -> None:
    put(cluster, node(), build.service())
    rest(cluster)
    cluster.store.delete(cluster.store.get(core.Service, "default/web"))
    cluster.client.faults.append("unheard")
    cluster.spread()
    cluster.caches.relist(core.Endpoints)  # they are gone (E49), and the Service seems to be there
    cluster.work()
    assert cluster.client.writes[-1] == "create Endpoints web"
    cluster.caches.relist(core.Service)
    cluster.work()
    rest(cluster)
    assert endpoints(cluster) is None


def test_e3_e52_u23_endpoints_that_are_deleted_come_back(cluster: Cluster) -> None:
    put(cluster, node(), build.service(), build.pod("p", "10.0.0.1"))
    rest(cluster)
    before = endpoints(cluster)
    assert before is not None
    cluster.store.delete(before)
    rest(cluster)
    after = endpoints(cluster)
    assert after is not None and after.metadata.uid != before.metadata.uid
    assert after.subsets == before.subsets


@pytest.mark.parametrize("label", [slices.SERVICE_NAME, slices.MANAGED_BY])
def test_l9_a_slice_that_is_taken_away_by_its_label_is_replaced_at_once(cluster: Cluster, label: str) -> None:
    put(cluster, node(), build.service(), build.pod("p", "10.0.0.1"))
    rest(cluster)
    [own] = cluster.store.objects[discovery.EndpointSlice].values()
    stolen = codec.copy(own)
    stolen.metadata.labels[label] = "other"
    put(cluster, stolen)
    rest(cluster)
    [new] = [one for key, one in cluster.store.objects[discovery.EndpointSlice].items() if key != members.key(own)]
    assert new.metadata.labels[label] == own.metadata.labels[label] and new.endpoints == own.endpoints


def test_l9_a_slice_that_is_taken_away_before_its_making_is_seen(cluster: Cluster) -> None:
    put(cluster, node())
    service = build.service()
    service.metadata.uid = service.metadata.resource_version = ""
    cluster.store.put(service)
    cluster.spread()
    cluster.caches.deliver(core.Service)
    cluster.work()
    [own] = cluster.store.objects[discovery.EndpointSlice].values()
    stolen = codec.copy(own)
    stolen.metadata.labels[slices.SERVICE_NAME] = "other"
    cluster.store.put(stolen)
    cluster.caches.relist(discovery.EndpointSlice)
    rest(cluster)
    assert len(cluster.store.objects[discovery.EndpointSlice]) == 2


def test_u25_nothing_is_written_before_all_caches_are_filled(cluster: Cluster) -> None:
    put(cluster, node(), build.service(), build.pod("p", "10.0.0.1"))
    rest(cluster)
    cluster.client.writes.clear()
    cluster.stop()
    for one in list(cluster.store.objects[discovery.EndpointSlice].values()):
        cluster.store.delete(one)
    cluster.restart(0)
    assert "create EndpointSlice" in cluster.client.writes
    cluster.stop()
    cluster.client.writes.clear()
    for one in list(cluster.store.objects[discovery.EndpointSlice].values()):
        cluster.store.delete(one)
    caches = cluster.caches
    cluster.restart(0, unfilled=core.Node)
    rest(cluster)
    assert cluster.client.writes == [] and caches is not cluster.caches
    cluster.caches.of(core.Node)._synced.set()
    rest(cluster)
    assert "create EndpointSlice" in cluster.client.writes


def test_l10_l18_l19_nodes_that_come_and_change(cluster: Cluster) -> None:
    put(cluster, build.service(), build.pod("p", "10.0.0.1"))
    rest(cluster)
    assert zones(cluster) == set(), "its node is not there"
    put(cluster, node("other", "z"))
    rest(cluster)
    assert zones(cluster) == set()
    put(cluster, node(zone="a"))
    rest(cluster)
    assert zones(cluster) == {"a"}
    put(cluster, node(zone="b"))
    rest(cluster)
    assert zones(cluster) == {"b"}
    cluster.client.writes.clear()
    put(cluster, node(zone="b", cpu="8"))
    rest(cluster)
    assert cluster.client.writes == []


def test_l39_l40_hints_come_and_go_with_the_nodes(cluster: Cluster) -> None:
    auto = build.service(annotations={hints.MODE_ANNOTATION: "Auto"})
    put(cluster, node("node-1", "a"), node("node-2", "b"), auto)
    put(cluster, *[build.pod(f"p{n}", f"10.0.0.{n}", node=f"node-{1 + n % 2}") for n in range(4)])
    rest(cluster)
    told = [one for one in cluster.client.events if "Hints" in one[1]]
    few = "Insufficient number of endpoints (0 endpoints, 2 zones), addressType: IPv4"
    assert told[0] == ("Warning", "TopologyAwareHintsDisabled", few)
    enabled = "Topology Aware Hints has been enabled, addressType: IPv4"
    assert told[-1] == ("Normal", "TopologyAwareHintsEnabled", enabled)

    def hinted() -> set[str]:
        found = cluster.store.objects[discovery.EndpointSlice].values()
        return {zone.name for each in found for one in each.endpoints if one.hints for zone in one.hints.for_zones}

    assert hinted() == {"a", "b"}
    put(cluster, node("node-3"))
    rest(cluster)
    assert hinted() == set(), "a node without a zone"
    problem = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
    assert cluster.client.events[-1] == ("Warning", "TopologyAwareHintsDisabled", f"{problem}, addressType: IPv4")
    put(cluster, node("node-3", "b", cpu="1"))
    rest(cluster)
    assert hinted() == {"a", "b"}
    put(cluster, build.service())
    rest(cluster)
    assert hinted() == set()
    disabled = "Topology Aware Hints has been disabled, addressType: IPv4"
    assert cluster.client.events[-1] == ("Warning", "TopologyAwareHintsDisabled", disabled)


def _synced() -> float:
    return ServiceMetrics().syncs.value("success")  # by its name, it is the one that the controller counts with


def test_e3_what_is_only_status_of_a_service_is_not_looked_into(cluster: Cluster) -> None:
    """Every Service has its status written (conditions, load balancers); nothing of that is in its endpoints."""
    put(cluster, node(), build.service(), build.pod("p", "10.0.0.1"))
    rest(cluster)
    found = cluster.store.get(core.Endpoints, "default/web")
    edited = codec.copy(found)
    edited.subsets = []
    put(cluster, edited)
    before = _synced()
    told = build.service()
    told.status.conditions = [meta.Condition(type="EndpointsReady", status="True", reason="x", message="y")]
    put(cluster, told)
    rest(cluster)
    assert _synced() == before
    left = endpoints(cluster)
    assert left is not None and left.subsets == [], "an edit lives until something happens to the Service or its pods"
    relabelled = codec.copy(told)
    relabelled.metadata.labels["team"] = "a"
    put(cluster, relabelled)
    rest(cluster)
    assert _synced() > before
    mended = endpoints(cluster)
    assert mended is not None and mended.subsets == found.subsets


def test_the_cost_of_a_change_is_the_slice_it_touches(cluster: Cluster) -> None:
    """One pod of many gets unready: one slice and the Endpoints are written, and nothing else is looked into."""
    put(cluster, node(), build.service(), build.service("db"))
    put(cluster, *[build.pod(f"p{number:03}", f"10.0.1.{number}") for number in range(200)])
    rest(cluster)
    cluster.client.writes.clear()
    put(cluster, build.pod("p123", "10.0.1.123", ready=False))
    rest(cluster)
    assert len(cluster.client.writes) == 2
    cluster.client.writes.clear()
    annotated = build.pod("p124", "10.0.1.124")
    annotated.metadata.annotations["a"] = "b"
    put(cluster, annotated)
    rest(cluster)
    assert cluster.client.writes == []
