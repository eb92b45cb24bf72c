"""L41, U45: what is counted, under upstream's names."""

from __future__ import annotations

import re

from tests.unit.controllers.endpoints import build

from skerry import metrics
from skerry.api.types import core, meta
from skerry.controllers.endpoints import hints, mirroring, placement
from skerry.controllers.endpoints.metrics import MirrorMetrics, ServiceMetrics
from skerry.controllers.endpoints.plan import Plan

CHANGED = "endpoint_slice_controller_endpointslices_changed_per_sync"
COMMON: dict[str, tuple[str, list[str]]] = {
    "endpoints_added_per_sync": ("histogram", []),
    "endpoints_removed_per_sync": ("histogram", []),
    "endpoints_desired": ("gauge", []),
    "num_endpoint_slices": ("gauge", []),
    "desired_endpoint_slices": ("gauge", []),
    "changes": ("counter", ["operation"]),
}


def test_l41_u45_one_service() -> None:
    registry = metrics.Registry()
    told = ServiceMetrics(registry)
    service = build.service(traffic_distribution="PreferClose")
    plan = placement.reconcile(service, build.pods(250), build.any_node, [])
    told.synced("default/web", "PreferClose", plan)
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
    for name, wish, noted in (
        ("a", "PreferSameNode", {}),
        ("b", "of another release", {}),
        ("c", "PreferClose", {hints.MODE_ANNOTATION: "Auto"}),
    ):
        service = build.service(name, traffic_distribution=wish, annotations=noted)
        told.synced(name, hints.mode(service), Plan())
        told.holds(name, 10, 2, 1)
    assert (told.desired.value(), told.slices.value(), told.desired_slices.value()) == (30, 6, 3)
    assert told.services.value("PreferSameNode") == 1
    assert told.services.value("PreferClose") == 0, "Auto sets trafficDistribution aside"
    assert (told.changed.count("Auto", ""), told.changed.count("Disabled", "")) == (1, 1), "unknown is none (L36)"
    assert told.changed.count("Disabled", "PreferSameNode") == 1


def test_l41_every_name_label_and_bucket_is_upstreams() -> None:
    """As far as a dashboard can tell, this is upstream's controller."""
    sizes = [str(2**power) for power in range(1, 16)] + ["+Inf"]
    usual = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
    registry = metrics.Registry()
    told = ServiceMetrics(registry)
    told.synced("default/web", "PreferSameZone", placement.reconcile(build.service(), [], build.any_node, []))
    for result in ("success", "stale", "error"):
        told.syncs.add(1, result)
    mirror = MirrorMetrics(registry)
    mirror.synced(mirroring.Mirrored(Plan(create=[build.slice_of(build.service(), "x", [])])))
    mirror.duration.observe(0.0)
    ours, others = "endpoint_slice_controller_", "endpoint_slice_mirroring_controller_"
    wanted = {
        **{f"{prefix}{name}": kind for prefix in (ours, others) for name, kind in COMMON.items()},
        ours + "endpointslices_changed_per_sync": ("histogram", ["topology", "traffic_distribution"]),
        ours + "syncs": ("counter", ["result"]),
        ours + "services_count_by_traffic_distribution": ("gauge", ["traffic_distribution"]),
        others + "endpoints_updated_per_sync": ("histogram", []),
        others + "addresses_skipped_per_sync": ("histogram", []),
        others + "endpoints_sync_duration": ("histogram", []),
    }
    found: dict[str, tuple[str, list[str]]] = {}
    bounds: dict[str, list[str]] = {}
    for line in registry.text().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found[name] = (kind, [])
        elif not line.startswith("#"):
            labels = re.findall(r'(\w+)="([^"]*)"', line)
            found[name] = (kind, [label for label, _ in labels if label != "le"])
            bounds.setdefault(name, []).extend(value for label, value in labels if label == "le")
    assert found == wanted
    for name, (kind, _) in wanted.items():
        if kind == "histogram" and name.endswith("_duration"):
            assert bounds[name][:3] == ["0.001", "0.002", "0.004"] and len(bounds[name]) == 16
        elif kind == "histogram":
            assert bounds[name] == (usual if "changed" in name else sizes)


def written(*addresses: str) -> core.Endpoints:
    subset = core.EndpointSubset(
        addresses=[core.EndpointAddress(ip=one) for one in addresses],
        ports=[core.EndpointPort(name="p", port=1, protocol="TCP")],
    )
    return core.Endpoints(metadata=meta.ObjectMeta(name="db", namespace="default", uid="u"), subsets=[subset])


def test_l41_what_a_mirror_counts() -> None:
    """What comes, goes, changes and is left out, endpoint by endpoint."""
    service = build.service("db", selector={})
    [made] = mirroring.reconcile(written("192.0.2.1", "192.0.2.2", "bad"), service, []).plan.create
    made.metadata.name = "db-a"
    changed = written("192.0.2.2", "192.0.2.3", "192.0.2.4")
    changed.subsets[0].addresses[0].node_name = "node-1"
    told = mirroring.reconcile(changed, service, [made], limit=2)
    assert (told.plan.added, told.updated, told.plan.removed, told.skipped, told.invalid) == (1, 1, 1, 1, 0)
    assert told.is_over
    told = mirroring.reconcile(written("192.0.2.1", "192.0.2.2", "bad"), service, [made])
    assert (told.plan.added, told.updated, told.plan.removed, told.skipped, told.invalid) == (0, 0, 0, 1, 1)
    assert not told.is_over
