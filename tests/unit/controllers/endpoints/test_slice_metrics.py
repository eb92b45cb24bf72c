"""L41, U45: what is counted, under upstream's names."""

from __future__ import annotations

from tests.unit.controllers.endpoints import build

from skerry import metrics
from skerry.controllers.endpoints import placement
from skerry.controllers.endpoints.metrics import ServiceMetrics, SliceMetrics

CHANGED = "endpoint_slice_controller_endpointslices_changed_per_sync"


def test_l41_u45_one_service() -> None:
    registry = metrics.Registry()
    told = ServiceMetrics(registry)
    service = build.service(traffic_distribution="PreferClose")
    plan = placement.reconcile(service, build.pods(250), build.any_node, [])
    told.synced("default/web", service, "PreferClose", plan)
    told.syncs.add(1, "success")
    told.holds("default/web", 250, 3, 3)
    text = registry.text().splitlines()
    for line in (
        "endpoint_slice_controller_endpoints_added_per_sync_sum 250",
        "endpoint_slice_controller_endpoints_removed_per_sync_sum 0",
        "endpoint_slice_controller_endpoints_desired 250",
        "endpoint_slice_controller_num_endpoint_slices 3",
        "endpoint_slice_controller_desired_endpoint_slices 3",
        'endpoint_slice_controller_changes{operation="create"} 3',
        f'{CHANGED}_sum{{topology="Disabled",traffic_distribution="PreferClose"}} 3',
        'endpoint_slice_controller_syncs{result="success"} 1',
        'endpoint_slice_controller_services_count_by_traffic_distribution{traffic_distribution="PreferClose"} 1',
    ):
        assert line in text
    told.forget("default/web")
    assert "endpoint_slice_controller_endpoints_desired 0" in registry.text()
    assert told.services.value("PreferClose") == 0


def test_l41_gauges_sum_over_services_and_distributions_are_told_apart() -> None:
    told = ServiceMetrics(metrics.Registry())
    for name, wish, mode in (
        ("a", "PreferSameNode", "PreferSameNode"),
        ("b", "mine", ""),
        ("c", "PreferClose", "Auto"),
    ):
        told.synced(name, build.service(name, traffic_distribution=wish), mode, placement.Plan())
        told.holds(name, 10, 2, 1)
    assert (told.desired.value(), told.slices.value(), told.desired_slices.value()) == (30, 6, 3)
    assert told.services.value("PreferSameNode") == told.services.value("ImplementationSpecific") == 1
    assert told.services.value("PreferClose") == 0, "Auto sets trafficDistribution aside"
    assert told.changed.count("Auto", "") == 1


def test_l41_mirroring_has_its_own() -> None:
    registry = metrics.Registry()
    SliceMetrics("endpoint_slice_mirroring_controller", "Endpoints", registry).holds("default/db", 2, 1, 1)
    assert "endpoint_slice_mirroring_controller_num_endpoint_slices 1" in registry.text().splitlines()
