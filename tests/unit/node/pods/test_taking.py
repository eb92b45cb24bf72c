"""Pods that a node takes, refuses or finds again after its own restart; containers that are added to look into them."""

from __future__ import annotations

import pytest
from tests.unit.node.pods.play import T0, Play, container, pod, with_debugger

from skerry.api.types import core
from skerry.node.pods.machine import PodMachine
from skerry.node.pods.state import (
    CreateSandbox,
    Finish,
    Launch,
    Problem,
    Terminate,
)


def test_after_a_restart_of_the_node_pods_run_again():
    play = Play(pod())
    play.up("web")
    play.step()
    again = pod()
    again.status = play.status
    second = Play(again)
    second.status = play.status
    assert second.step(10) == [CreateSandbox()]
    second.m.on_sandbox("10.244.1.6")
    assert second.step() == [Launch("web", 1)]
    second.run()
    second.step()
    one = second.status.container_statuses[0]
    assert (one.restart_count, one.last_state.terminated.reason) == (1, "ContainerStatusUnknown")
    assert second.status.start_time == play.status.start_time


def test_after_a_restart_what_was_done_stays_done():
    play = Play(pod(policy="Never"))
    (now,) = play.up("web")
    play.exit("web", now)
    play.step()
    again = pod(policy="Never")
    again.status = play.status
    second = Play(again)
    assert second.step() == [] and second.status.phase == "Succeeded"
    second.delete(0)
    assert second.step() == [Finish()]


def test_after_a_restart_a_pod_never_to_be_restarted_failed():
    play = Play(pod(policy="Never"))
    play.up("web")
    play.step()
    again = pod(policy="Never")
    again.status = play.status
    second = Play(again)
    second.step()
    assert second.status.phase == "Failed"


def test_an_ephemeral_container_runs_once_and_nothing_depends_on_it():
    play = Play(pod())
    play.up("web")
    play.step()
    with_debugger(play, "look")
    assert play.step() == [Launch("look", 0)]
    instance = play.run("look")
    assert play.step() == []
    (shown,) = play.status.ephemeral_container_statuses
    assert shown.state.running is not None and not shown.ready
    assert play.condition("Ready").status == "True" and len(play.status.container_statuses) == 1
    play.exit("look", instance, 1)
    assert play.step(60) == []  # policy Always is not for it
    (shown,) = play.status.ephemeral_container_statuses
    assert (shown.state.terminated.exit_code, shown.restart_count) == (1, 0)
    with_debugger(play, "look", "again")
    assert play.step() == [Launch("again", 0)]
    instance = play.run("again")
    play.delete()
    assert play.step() == [Terminate("web", "c1"), Terminate("again", instance)]


def test_an_ephemeral_container_looks_into_a_pod_that_does_not_get_on():
    play = Play(pod(inits=[container("a")]))
    play.step()
    play.m.on_sandbox("10.244.1.5")
    play.step()
    play.run("a")
    with_debugger(play, "look")
    play.m.pod.spec.init_containers = play.pod.spec.init_containers
    assert play.step() == [Launch("look", 0)]
    assert play.status.ephemeral_container_statuses[0].state.waiting.reason == "ContainerCreating"


def test_ephemeral_containers_that_ran_are_not_run_again_by_a_node_that_comes_back():
    made = pod()
    made.spec.ephemeral_containers = [core.EphemeralContainer(name="look", image="busybox")]
    running = core.ContainerState(running=core.ContainerStateRunning(started_at="2026-01-01T00:00:00Z"))
    made.status.ephemeral_container_statuses = [
        core.ContainerStatus(name="look", container_id="skerry://c9", state=running)
    ]
    play = Play(made)
    play.up("web")
    (shown,) = play.status.ephemeral_container_statuses
    assert shown.state.terminated.reason == "ContainerStatusUnknown"


@pytest.mark.parametrize(
    ("more", "reason", "message"),
    [
        (
            {"security_context": core.PodSecurityContext(sysctls=[core.Sysctl(name="kernel.msgmax", value="1")])},
            "SysctlForbidden",
            'forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
        (
            {
                "security_context": core.PodSecurityContext(sysctls=[core.Sysctl(name="net.ipv4.tcp_rmem", value="1")]),
                "host_network": True,
            },
            "SysctlForbidden",
            'forbidden sysctl: "net.ipv4.tcp_rmem" not allowed with host net enabled',
        ),
        (
            {"os": core.PodOS(name="windows")},
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ),
    ],
)
def test_a_pod_that_the_node_does_not_take(more, reason, message):
    play = Play(pod(**more))
    assert play.step() == []
    assert (play.status.phase, play.status.reason) == ("Failed", reason)
    assert play.status.message == f"Pod was rejected: {message}"
    assert play.status.container_statuses == []  # or kubectl would show ContainerCreating, not the reason
    assert play.events == [(reason, message)]
    play.step(100)
    assert len(play.events) == 1
    before, play.m.pod.status = play.status, play.status
    again = Play(play.m.pod)
    again.step()
    assert again.status == before and again.events == []


def test_what_a_pod_asks_for_is_taken_until_its_containers_have_ended():
    play = Play(pod())
    assert play.m.takes_room
    (web,) = play.up("web")
    assert play.m.takes_room
    play.delete()
    play.step()
    assert play.m.takes_room
    play.exit("web", web)
    play.step()
    assert not play.m.takes_room


def test_a_pod_whose_object_is_gone_takes_no_room_though_it_still_ends():
    play = Play(pod())
    play.up("web")
    play.m.on_vanished(play.now)
    assert not play.m.takes_room and not play.m.quiet


def test_a_node_s_own_refusal_is_for_pods_that_have_not_ended():
    refusal = Problem("OutOfcpu", "Pod was rejected: no")
    made = pod()
    assert not PodMachine(made, T0, refusal).takes_room
    made.status.phase = "Succeeded"
    assert PodMachine(made, T0, refusal).verdict is None
