"""v1.Endpoints: E8-E47, U1-U24, G1."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.controllers.endpoints import build

from skerry.api.types import core, meta
from skerry.controllers.endpoints import endpoints
from skerry.controllers.endpoints.roster import Roster
from skerry.controllers.endpoints.truncate import shares


def subsets_of(service: core.Service, pods: list[core.Pod]) -> list[core.EndpointSubset]:
    return Roster(service, pods).subsets()[0]


def shape(subsets: list[core.EndpointSubset]) -> list[tuple[list[str], list[str], list[str]]]:
    return sorted(
        (
            [one.ip for one in each.addresses],
            [one.ip for one in each.not_ready_addresses],
            [f"{one.name}:{one.port}/{one.protocol}" for one in each.ports],
        )
        for each in subsets
    )


def current(service: core.Service, pods: list[core.Pod], **annotations: str) -> core.Endpoints:
    made = endpoints.decide(service, pods, None)
    assert made is not None
    made.metadata.resource_version = "7"
    made.metadata.annotations.update({key.replace("_", "-"): value for key, value in annotations.items()})
    return made


@pytest.mark.parametrize("phase", ["Running", "Pending", "Unknown", "Failed", "Succeeded"])
@pytest.mark.parametrize("ready", [True, False, None])
@pytest.mark.parametrize("deleting", [True, False])
@pytest.mark.parametrize("publish", [True, False])
def test_u22_e20_decision_table(phase: str, ready: bool | None, deleting: bool, publish: bool) -> None:
    service = build.service(publish_not_ready_addresses=publish)
    one = build.pod("a", "10.0.0.1", phase=phase, ready=ready, deleting=deleting)
    got = shape(subsets_of(service, [one]))
    ports = [":8080/TCP"]
    if phase in ("Failed", "Succeeded") or (deleting and not publish):
        assert got == []
    elif publish or ready:
        assert got == [(["10.0.0.1"], [], ports)]
    else:
        assert got == [([], ["10.0.0.1"], ports)]


def test_e22_the_address_entry() -> None:
    [subset] = subsets_of(build.service(), [build.pod("a", "10.0.0.1")])
    [address] = subset.addresses
    assert address == core.EndpointAddress(
        ip="10.0.0.1",
        node_name="node-1",
        target_ref=core.ObjectReference(kind="Pod", namespace="default", name="a", uid="uid-a"),
    )


def test_e24_u12_no_ports() -> None:
    one = [build.pod("a", "10.0.0.1")]
    assert subsets_of(build.service(ports=[]), one) == []
    assert shape(subsets_of(build.service(ports=[], cluster_ip="None"), one)) == [(["10.0.0.1"], [], [])]


def test_e26_ports_are_called_as_in_the_service() -> None:
    """U6, U20 too: protocol and appProtocol follow the Service."""
    service = build.service(ports=[build.port("web", target="http", protocol="TCP", app_protocol="http")])
    [subset] = subsets_of(service, [build.pod("a", "10.0.0.1", ports={"http": 8080})])
    assert subset.ports == [core.EndpointPort(name="web", port=8080, protocol="TCP", app_protocol="http")]
    for protocol in ("UDP", "SCTP"):
        [subset] = subsets_of(build.service(ports=[build.port(protocol=protocol)]), [build.pod("a", "10.0.0.1")])
        assert subset.ports[0].protocol == protocol


def test_g2_e31_a_named_port_with_two_numbers_makes_two_subsets() -> None:
    service = build.service(ports=[build.port("web", target="http")])
    pods = [build.pod("a", "10.0.0.1", ports={"http": 8080}), build.pod("b", "10.0.0.2", ports={"http": 9090})]
    assert shape(subsets_of(service, pods)) == [
        (["10.0.0.1"], [], ["web:8080/TCP"]),
        (["10.0.0.2"], [], ["web:9090/TCP"]),
    ]


def test_e25_a_pod_without_the_named_port_contributes_nothing() -> None:
    service = build.service(ports=[build.port("web", target="http"), build.port("admin", 81, "admin")])
    pods = [
        build.pod("a", "10.0.0.1", ports={"http": 8080, "admin": 8081}),
        build.pod("b", "10.0.0.2", ports={"http": 8080}),
        build.pod("c", "10.0.0.3"),
    ]
    assert shape(subsets_of(service, pods)) == [
        (["10.0.0.1"], [], ["admin:8081/TCP"]),
        (["10.0.0.1", "10.0.0.2"], [], ["web:8080/TCP"]),
    ]


def test_u11_several_ports_and_pods_pack_into_one_subset_in_text_order() -> None:
    service = build.service(ports=[build.port("b", 81, 8081), build.port("a", 80, 8080)])
    pods = [build.pod("x", "10.0.0.2"), build.pod("y", "10.0.0.10"), build.pod("z", "10.0.0.1", ready=False)]
    assert shape(subsets_of(service, pods)) == [
        (["10.0.0.10", "10.0.0.2"], ["10.0.0.1"], ["a:8080/TCP", "b:8081/TCP"])  # E32
    ]


def test_e17_two_host_network_pods_of_one_node_are_two_addresses() -> None:
    pods = [build.pod("a", "192.168.0.1"), build.pod("b", "192.168.0.1")]
    [subset] = subsets_of(build.service(), pods)
    assert [one.target_ref and one.target_ref.name for one in subset.addresses] == ["a", "b"]


@pytest.mark.parametrize(
    "service",
    [
        build.service(selector={}),  # U1, E10; an empty selector cannot be told from none (E11)
        build.service(type="ExternalName"),  # U8, E9
    ],
)
def test_services_that_are_not_ours(service: core.Service) -> None:
    assert endpoints.decide(service, build.pods(1), None) is None
    assert endpoints.decide(service, [], core.Endpoints()) is None


def test_u4_e47_a_selector_that_matches_nothing_still_gets_its_object() -> None:
    made = endpoints.decide(build.service(labels={"team": "a"}), [], None)
    assert made is not None
    assert made.subsets == []
    assert (made.metadata.namespace, made.metadata.name) == ("default", "web")
    assert made.metadata.labels == {"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert made.metadata.owner_references == []


def test_u2_u10_nothing_to_write_when_equal() -> None:
    service = build.service()
    assert endpoints.decide(service, [], current(service, [])) is None
    pods = build.pods(3)
    assert endpoints.decide(service, pods, current(service, pods)) is None
    assert endpoints.decide(service, list(reversed(pods)), current(service, pods)) is None


def test_u10_a_change_is_written_on_the_version_it_was_decided_on() -> None:
    service = build.service()
    known = current(service, build.pods(2), mine="kept")
    made = endpoints.decide(service, build.pods(3), known)
    assert made is not None
    assert made.metadata.resource_version == "7"  # E44
    assert made.metadata.annotations == {"mine": "kept"}  # E42
    assert len(known.subsets[0].addresses) == 2  # what was given is not touched


def test_u3_u24_resource_versions_in_target_refs_do_not_count() -> None:
    service, pods = build.service(), build.pods(2)
    known = current(service, pods)
    for one in known.subsets[0].addresses:
        assert one.target_ref is not None
        one.target_ref.resource_version = "12"
    assert endpoints.decide(service, pods, known) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda subset: subset.addresses.pop(),
        lambda subset: setattr(subset.addresses[0], "ip", "10.9.9.9"),
        lambda subset: setattr(subset.not_ready_addresses[0], "ip", "10.9.9.9"),
        lambda subset: setattr(subset.ports[0], "port", 1),
        lambda subset: setattr(subset.addresses[0], "node_name", "elsewhere"),
        lambda subset: setattr(subset.addresses[0].target_ref, "uid", "other"),
    ],
)
def test_u24_what_does_count(change: Any) -> None:
    service = build.service()
    pods = [*build.pods(2), build.pod("n", "10.244.9.9", ready=False)]
    known = current(service, pods)
    change(known.subsets[0])
    assert endpoints.decide(service, pods, known) is not None


def test_u11_u7_labels() -> None:
    service, pods = build.service(labels={"a": "1"}), build.pods(1)
    known = current(service, pods)
    service.metadata.labels["a"] = "2"
    made = endpoints.decide(service, pods, known)
    assert made is not None and made.metadata.labels["a"] == "2"
    headless = build.service(cluster_ip="None", labels={"a": "1"})
    made = endpoints.decide(headless, pods, None)
    assert made is not None and made.metadata.labels["service.kubernetes.io/headless"] == ""
    # E41: the headless label alone rewrites nothing; a Service that carries it itself does not make it headless.
    assert endpoints.decide(headless, pods, known) is None
    bogus = build.service(labels={"a": "1", "service.kubernetes.io/headless": ""})
    made = endpoints.decide(bogus, pods, None)
    assert made is not None and "service.kubernetes.io/headless" not in made.metadata.labels


def test_e41_an_object_of_an_older_controller_is_rewritten_once() -> None:
    service, pods = build.service(), build.pods(1)
    known = current(service, pods)
    del known.metadata.labels["endpoints.kubernetes.io/managed-by"]
    made = endpoints.decide(service, pods, known)
    assert made is not None
    assert endpoints.decide(service, pods, made) is None


def test_u15_e43_the_trigger_time_is_set_and_removed_with_a_write_only() -> None:
    key, time = "endpoints.kubernetes.io/last-change-trigger-time", "2026-01-01T00:00:00Z"
    service = build.service()
    made = endpoints.decide(service, build.pods(1), None, time)
    assert made is not None and made.metadata.annotations == {key: time}
    assert endpoints.decide(service, build.pods(1), made, "") is None
    made = endpoints.decide(service, build.pods(2), made, "")
    assert made is not None and made.metadata.annotations == {}


OVER = "endpoints.kubernetes.io/over-capacity"


@pytest.mark.parametrize(
    ("ready", "waiting", "had", "keeps", "annotation"),
    [
        (0, 0, {}, (0, 0), None),
        (997, 4, {}, (997, 3), "truncated"),
        (1000, 10, {}, (1000, 0), "truncated"),
        (999, 0, {OVER: "truncated"}, (999, 0), None),
        (1000, 10, {OVER: "warning"}, (1000, 0), "truncated"),
        (1000, 0, {OVER: "truncated"}, (1000, 0), None),
        (1001, 0, {OVER: "truncated"}, (1000, 0), "truncated"),
    ],
)
def test_u18_e38_e39_over_capacity(
    ready: int, waiting: int, had: dict[str, str], keeps: tuple[int, int], annotation: str | None
) -> None:
    service = build.service()
    pods = build.pods(ready) + build.pods(waiting, first=2000, ready=False)
    known = core.Endpoints(metadata=meta.ObjectMeta(name="web", namespace="default", annotations=had))
    made = endpoints.decide(service, pods, known)
    assert made is not None
    assert made.metadata.annotations.get(OVER) == annotation
    counts = [(len(one.addresses), len(one.not_ready_addresses)) for one in made.subsets] or [(0, 0)]
    assert counts == [keeps]
    # And then it is right: upstream writes an over-capacity object again on every sync (E39), we do not.
    assert endpoints.decide(service, pods, made) is None
    if annotation:
        made.metadata.annotations[OVER] = "warning"
        assert endpoints.decide(service, pods, made) is not None


def _subsets(sizes: list[tuple[int, int]]) -> list[core.EndpointSubset]:
    return [
        core.EndpointSubset(
            addresses=[core.EndpointAddress(ip=f"10.{at}.0.{n}") for n in range(ready)],
            not_ready_addresses=[core.EndpointAddress(ip=f"11.{at}.0.{n}") for n in range(waiting)],
        )
        for at, (ready, waiting) in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("ready", "waiting", "kept_ready", "kept_waiting"),
    [
        ([50, 100, 100, 100, 100], [50, 100, 100, 100, 100], None, None),
        ([100, 100, 100, 100, 100], [100, 100, 100, 100, 100], None, None),
        ([90, 110, 50, 10, 20], [101, 200, 200, 201, 298], [90, 110, 50, 10, 20], [73, 144, 144, 145, 214]),
        ([205, 400, 402, 400, 693], [100, 200, 200, 200, 300], [98, 191, 192, 191, 328], [0, 0, 0, 0, 0]),
    ],
)
def test_g1_u19_e35_e36_e37_truncation(
    ready: list[int], waiting: list[int], kept_ready: list[int] | None, kept_waiting: list[int] | None
) -> None:
    kept, over = shares(list(zip(ready, waiting, strict=True)))
    assert over is (kept_ready is not None)
    assert [one for one, _ in kept] == (kept_ready or ready)
    assert [one for _, one in kept] == (waiting if kept_waiting is None else kept_waiting)
