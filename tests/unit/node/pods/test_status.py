"""Conditions, readiness gates (rules R9-R12)."""

from __future__ import annotations

import pytest

from skerry.api.types import core, meta
from skerry.node.pods.machine import PodMachine
from skerry.node.pods.status import render

T0 = 1_767_225_600.0


def machine(**more):
    names = more.pop("names", ["web"])
    made = core.Pod(
        metadata=meta.ObjectMeta(name="p", namespace="default", uid="u1"),
        spec=core.PodSpec(containers=[core.Container(name=one, image="nginx") for one in names], **more),
    )
    return PodMachine(made, T0)


def running(found, *names):
    found.advance(T0)
    found.on_sandbox("10.244.1.5")
    found.advance(T0)
    for one in names:
        found.on_started(one, f"id-{one}", T0)


def by_type(status):
    return {one.type: one for one in status.conditions}


def test_the_types_and_their_order_r9():
    status = render(machine(), core.PodStatus(), ["10.243.0.2"], T0)
    kinds = [one.type for one in status.conditions]
    assert kinds == ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
    assert (status.host_ip, status.host_i_ps[0].ip, status.start_time) == (
        "10.243.0.2",
        "10.243.0.2",
        "2026-01-01T00:00:00Z",
    )


def test_unready_containers_are_named_r10():
    found = machine(names=["a", "b", "c"])
    running(found, "b")
    conditions = by_type(render(found, core.PodStatus(), ["10.243.0.2"], T0))
    for kind in ("Ready", "ContainersReady"):
        assert conditions[kind].status == "False"
        assert conditions[kind].reason == "ContainersNotReady"
        assert conditions[kind].message == "containers with unready status: [a c]"


def test_transition_times_move_only_with_the_status_r9():
    found = machine()
    first = render(found, core.PodStatus(), ["10.243.0.2"], T0)
    second = render(found, first, ["10.243.0.2"], T0 + 5)
    assert second == first
    running(found, "web")
    third = by_type(render(found, second, ["10.243.0.2"], T0 + 9))
    assert third["Ready"].last_transition_time == "2026-01-01T00:00:09Z"
    assert third["PodScheduled"].last_transition_time == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], 'corresponding condition of pod readiness gate "x/y" does not exist.'),
        ([("x/y", "False")], 'the status of pod readiness gate "x/y" is not "True", but False'),
        ([("x/y", "True")], ""),
    ],
)
def test_readiness_gates_r11(given, message):
    found = machine(readiness_gates=[core.PodReadinessGate(condition_type="x/y")])
    running(found, "web")
    found.pod.status.conditions = [core.PodCondition(type=kind, status=status) for kind, status in given]
    conditions = by_type(render(found, core.PodStatus(), ["10.243.0.2"], T0))
    assert conditions["ContainersReady"].status == "True"
    ready = conditions["Ready"]
    assert ready.message == message
    assert (ready.status, ready.reason) == (("False", "ReadinessGatesNotReady") if message else ("True", ""))
