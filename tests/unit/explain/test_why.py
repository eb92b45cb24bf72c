"""Every reason of `skerry why`: the smallest world in which it is the nearest miss, and what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.controllers.endpoints.build import pod, service
from tests.unit.explain.worlds import (
    HTTP,
    READY,
    WORLDS,
    deployment,
    gate,
    labelled,
    local,
    maker,
    probed,
    readiness_failing,
    running,
    world,
)

from skerry.api import codec
from skerry.api.types import apps, meta
from skerry.explain.findings import NOTE, PROBLEM, REASONS, Finding, Report
from skerry.explain.why import explain
from skerry.explain.workloads import of_their_own

SENTENCES = dict(
    line.rstrip("\n").split(maxsplit=1)
    for line in (Path(__file__).parent / "sentences.txt").read_text().splitlines()
    if not line.startswith("#")
)


def first(report: Report, reason: str) -> Finding:
    return next(one for one in report.findings if one.reason == reason)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason(reason: str) -> None:
    report = explain(WORLDS[reason]())
    found = next(one for one in report.findings if one.severity == REASONS[reason].severity)
    assert (found.reason, found.message) == (reason, SENTENCES[reason])
    assert report.healthy == (REASONS[reason].severity == NOTE)


def test_a_service_that_works_has_nothing_said_of_it() -> None:
    report = explain(world(service(), [READY, pod("web-2", "10.244.0.2")]))
    assert report.findings == [] and report.healthy and report.summary == "default/web works: 2 ready endpoints."
    assert [(one.ip, one.port, one.pod, one.since) for one in report.endpoints] == [
        ("10.244.0.1", 8080, "web-1", "2026-01-01T00:00:05Z"),
        ("10.244.0.2", 8080, "web-2", "2026-01-01T00:00:05Z"),
    ]


def test_problems_come_first_and_the_nearest_miss_before_the_others() -> None:
    far = pod("web-1", ready=None, node="", phase="Pending")
    near = probed("readiness_probe", HTTP, running(ready=False))
    near.metadata.name = "web-2"
    report = explain(world(service(session_affinity="ClientIP"), [far, near]))
    assert [one.reason for one in report.findings] == ["ReadinessProbePending", "NotScheduled", "SessionAffinity"]


def test_what_is_ending_is_no_fault_while_others_serve() -> None:
    """During every rolling update pods are terminating, and evicted ones stay around as Failed."""
    gone = [pod("web-2", "10.244.0.2", deleting=True), pod("web-3", phase="Failed", ready=False)]
    report = explain(world(service(), [READY, *gone]))
    assert report.healthy
    assert {one.reason: one.severity for one in report.findings} == {"PodTerminating": NOTE, "PodFailed": NOTE}


def test_probe_failures_are_counted_and_dated_outside_of_the_message() -> None:
    found = first(explain(readiness_failing()), "ReadinessProbeFailing")
    assert found.more == ("Failed 14 times, the last 3 s ago.", "It is asked every 5 s.")
    assert found.details["count"] == 14 and found.details["last"] == "2026-01-01T00:09:57Z"
    assert found.details["checked"][0] == "selector" and "startup probes" in found.details["checked"]


def test_a_gate_that_nobody_set() -> None:
    assert first(explain(gate(None)), "ReadinessGate").message.endswith("nobody has set that condition yet.")


def test_a_port_that_was_tried_and_is_open_need_not_be_declared() -> None:
    tried = {("web-1", 8080): "open"}
    report = explain(world(service(), [pod("web-1", "10.244.0.1", ports={"http": 8000})], listening=tried))
    assert report.findings == []


def test_where_other_pods_match_only_a_slip_of_a_pod_that_no_service_has_is_worth_a_word() -> None:
    slip, series, other = labelled(app="wbe"), pod("n", labels={"app": "web2"}), pod("o", labels={"app": "webs"})
    mine = service("webs")
    report = explain(world(service(), [READY, slip, series, other], services=[service(), mine]))
    assert [(one.pod, one.severity) for one in report.findings] == [("web-7f", NOTE)]


def test_a_headless_service_has_no_use_for_internal_traffic_policy() -> None:
    assert explain(local(internal_traffic_policy="Local", cluster_ip="None")).healthy


def test_not_being_allowed_to_read_pods_is_not_mistaken_for_having_none() -> None:
    report = explain(world(service(), endpoints=None, slices=[], nodes=None,
                           unread={one: f"{one} no" for one in ("pods", "endpoints", "endpointslices")}))  # fmt: skip
    assert {one.reason for one in report.findings} == {"NotLookedAt"}


def test_what_should_make_the_pods_that_are_missing() -> None:
    def said(*workloads: apps.Deployment | apps.ReplicaSet) -> list[str]:
        return [one.message for one in explain(world(service(), workloads=workloads)).findings]

    assert said(deployment(None)) == ["Deployment web should have a pod that matches, and has none yet."]
    paused = (
        "Deployment web should have a pod that matches, and has none: it is paused, and `kubectl rollout resume` ends"
    )
    assert said(deployment(1, paused=True)) == [f"{paused} that."]
    other = deployment(0)
    other.spec.template.metadata.labels = {"app": "db"}
    assert said(other)[0].startswith("The selector app=web matches no pod")
    alone = apps.ReplicaSet(metadata=meta.ObjectMeta(name="rs"), spec=apps.ReplicaSetSpec(replicas=0))
    alone.spec.template.metadata.labels = {"app": "web"}
    assert said(alone) == ["The pods of ReplicaSet rs would match, but it is scaled to 0."]
    owned = codec.copy(alone)
    owned.metadata.owner_references = [meta.OwnerReference(kind="Deployment", name="web", controller=True)]
    assert of_their_own([other], [alone, owned]) == [other, alone]
    assert said(maker(apps.StatefulSet)) == ["StatefulSet db should have a pod that matches, and has none yet."]
    daemons = maker(apps.DaemonSet, desired_number_scheduled=3)
    assert said(daemons) == ["DaemonSet db should have 3 pods that match, and has none yet."]
    assert said(maker(apps.DaemonSet))[0].startswith("DaemonSet db would have pods that match, and has none: no node")
    near = explain(world(service(), [labelled(app="wep")], workloads=[deployment(0)]))
    assert [one.reason for one in near.findings] == ["ScaledToZero", "SelectorMismatch"]


def test_the_severities_are_the_only_two() -> None:
    assert {row.severity for row in REASONS.values()} == {PROBLEM, NOTE}
    assert set(WORLDS) == set(SENTENCES) == set(REASONS)


def test_every_reason_has_a_test_that_creates_the_fault_for_real() -> None:
    """On a real cluster; or, what a cluster cannot be brought to without breaking it, on a real API server."""
    tests = Path(__file__).parents[2]
    real = [tests / "e2e" / "test_why.py", tests / "integration" / "explain" / "test_written.py"]
    named = set(re.findall(r'"(\w+)"', "".join(path.read_text() for path in real)))
    assert set(REASONS) <= named


def test_every_reason_is_in_the_reference() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "why.md").read_text()
    for reason, row in REASONS.items():
        assert f"| `{reason}` | {row.severity} | {row.means} |\n" in page


def test_publishing_what_is_not_ready_excuses_only_pods_that_are_published() -> None:
    """E13: a finished pod is no endpoint of any Service."""
    of = service(publish_not_ready_addresses=True)
    assert explain(world(of, [probed("readiness_probe", HTTP, running(ready=False))])).healthy
    report = explain(world(of, [pod("web-1", "10.244.0.1", ready=False, phase="Succeeded")]))
    assert [one.reason for one in report.findings] == ["PodSucceeded", "NotReadyPublished"] and not report.healthy
