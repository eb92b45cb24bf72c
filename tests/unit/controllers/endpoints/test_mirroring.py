"""Endpoints that people write, copied into slices: X1-X8, U54."""

from __future__ import annotations

import pytest
from tests.unit.controllers.endpoints import build

from skerry.api import codec
from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import mirroring


def written(*subsets: core.EndpointSubset, **metadata: object) -> core.Endpoints:
    made = meta.ObjectMeta(name="db", namespace="default", uid="uid-ep", labels={"own": "label"})
    for key, value in metadata.items():
        setattr(made, key, value)
    return core.Endpoints(metadata=made, subsets=list(subsets))


def subset(ips: list[str], waiting: list[str] | None = None, *ports: int) -> core.EndpointSubset:
    return core.EndpointSubset(
        addresses=[core.EndpointAddress(ip=one) for one in ips],
        not_ready_addresses=[core.EndpointAddress(ip=one) for one in waiting or []],
        ports=[core.EndpointPort(name=f"p{one}", port=one, protocol="TCP") for one in ports or (5432,)],
    )


SERVICE = build.service("db", selector={})


def test_x4_x6_the_plain_case() -> None:
    source = written(
        subset(["192.0.2.10"], ["192.0.2.11"]),
        annotations={
            "kept": "yes",
            "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
    )
    [made] = mirroring.reconcile(source, SERVICE, []).plan.create
    assert made.address_type == "IPv4"
    assert made.ports == [discovery.EndpointPort(name="p5432", protocol="TCP", port=5432)]
    assert made.endpoints == [
        discovery.Endpoint(addresses=["192.0.2.10"], conditions=discovery.EndpointConditions(ready=True)),
        discovery.Endpoint(addresses=["192.0.2.11"], conditions=discovery.EndpointConditions(ready=False)),
    ]
    assert made.metadata.generate_name == "db-"
    assert made.metadata.annotations == {"kept": "yes"}
    assert made.metadata.labels == {
        "own": "label",
        "kubernetes.io/service-name": "db",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    [owner] = made.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Endpoints", "db", "uid-ep", True)


def test_x3_one_slice_a_port_set_and_family() -> None:
    source = written(subset(["192.0.2.1", "2001:db8::1"], [], 1, 2), subset(["192.0.2.2"], [], 3))
    made = mirroring.reconcile(source, SERVICE, []).plan.create
    assert sorted((one.address_type, len(one.ports), len(one.endpoints)) for one in made) == [
        ("IPv4", 1, 1),
        ("IPv4", 2, 1),
        ("IPv6", 2, 1),
    ]


@pytest.mark.parametrize(
    ("source", "service", "mirrored"),
    [
        (written(), SERVICE, True),
        (written(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), SERVICE, False),
        (written(labels={"endpointslice.kubernetes.io/skip-mirror": "false"}), SERVICE, True),
        (written(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}), SERVICE, False),
        (written(), None, False),
        (written(), build.service("db"), False),  # X8
        (written(), build.service("db", selector={}, type="ExternalName"), True),  # no special case
        (None, SERVICE, False),
    ],
)
def test_x2_what_is_mirrored(source: core.Endpoints | None, service: core.Service | None, mirrored: bool) -> None:
    assert mirroring.is_mirrored(source, service) is mirrored
    old = build.slice_of(SERVICE, "old", build.pods(1))
    plan = mirroring.reconcile(source, service, [old]).plan
    assert plan.delete == [old]  # not mirrored, or no subset left: no placeholder (X7)


def test_x5_limits_and_invalid_addresses() -> None:
    source = written(subset(["192.0.2.1", "bad", "192.0.2.2"], ["192.0.2.3", "192.0.2.4"]))
    result = mirroring.reconcile(source, SERVICE, [], limit=3)
    [made] = result.plan.create
    assert [(one.addresses[0], one.conditions.ready) for one in made.endpoints] == [
        ("192.0.2.1", True),
        ("192.0.2.2", True),
        ("192.0.2.3", False),
    ]
    assert (result.invalid, result.skipped) == (1, 2)  # N counts the invalid one too
    assert result.is_over
    result = mirroring.reconcile(source, SERVICE, [])
    assert (result.invalid, result.skipped, result.is_over) == (1, 1, False)
    late = written(subset(["192.0.2.1", "192.0.2.2", "bad"]))
    result = mirroring.reconcile(late, SERVICE, [], limit=2)
    assert (result.invalid, result.skipped, result.is_over) == (0, 1, True), "nobody looks beyond the limit"


def _kept(source: core.Endpoints, name: str) -> discovery.EndpointSlice:
    [made] = mirroring.reconcile(source, SERVICE, []).plan.create
    made.metadata.name, made.metadata.generate_name, made.metadata.resource_version = name, "", "9"
    return made


def test_x7_updates_only_what_differs() -> None:
    source = written(subset(["192.0.2.1"]))
    kept, extra = _kept(source, "kept"), _kept(source, "extra")
    assert not mirroring.reconcile(source, SERVICE, [kept]).plan
    plan = mirroring.reconcile(source, SERVICE, [kept, extra]).plan
    assert (plan.create, plan.update, plan.delete) == ([], [], [extra])
    before = codec.encode(kept)
    for changed in (
        written(subset(["192.0.2.2"])),
        written(subset(["192.0.2.1"]), labels={"other": "label"}),
        written(subset(["192.0.2.1"]), annotations={"a": "b"}),
    ):
        plan = mirroring.reconcile(changed, SERVICE, [kept]).plan
        assert [(one.metadata.name, one.metadata.resource_version) for one in plan.update] == [("kept", "9")]
        assert not plan.create and not plan.delete
    assert codec.encode(kept) == before


def test_x7_a_change_of_port_keeps_the_name() -> None:
    kept = _kept(written(subset(["192.0.2.1"])), "kept")
    plan = mirroring.reconcile(written(subset(["192.0.2.1"], [], 1)), SERVICE, [kept]).plan
    assert [(one.metadata.name, one.ports[0].port) for one in plan.update] == [("kept", 1)]
    assert not plan.create and not plan.delete


def test_x7_nothing_new_for_endpoints_that_are_going() -> None:
    source = written(subset(["192.0.2.1"]), deletion_timestamp="2026-01-01T00:00:00Z")
    assert not mirroring.reconcile(source, SERVICE, []).plan
