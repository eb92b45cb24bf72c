"""What a pod's machine tries again, when, and what it says meanwhile (R6, R17, R18)."""

from __future__ import annotations

import pytest
from tests.unit.node.pods.play import Play, container, pod

from skerry.api.types import core
from skerry.node.pods.state import (
    CreateSandbox,
    Launch,
    RemoveSandbox,
    Terminate,
)
from skerry.node.pods.text import go_duration


def test_crash_back_off_r18():
    play = Play(pod())
    (now,) = play.up("web")
    pauses = []
    for attempt in range(1, 9):
        play.exit("web", now, 1)
        actions = play.step()
        if not actions:
            assert play.state() == "Error"
            assert play.step(1.0) == []
            assert (play.state(), play.status.phase) == ("CrashLoopBackOff", "Running")
            assert play.condition("Ready").status == "False"
            pauses.append(play.wake + 1)
            assert play.step(play.wake - 0.1) == []
            actions = play.step(0.1)
        assert actions == [Launch("web", attempt)]
        now = play.run()
        play.step()
        assert play.status.container_statuses[0].restart_count == attempt
        assert play.status.container_statuses[0].last_state.terminated.exit_code == 1
    assert [round(one) for one in pauses] == [10, 20, 40, 80, 160, 300, 300]
    back = [message for reason, message in play.events if reason == "BackOff"]
    assert back[0] == "Back-off restarting failed container web in pod p_default(u1)"


def test_crash_loop_message_r18():
    play = Play(pod())
    (now,) = play.up("web")
    play.exit("web", now, 1)
    play.step()
    play.exit("web", play.run(), 1)
    play.step(1.5)
    play.step(1.5)
    waiting = play.status.container_statuses[0].state.waiting
    assert waiting.message == "back-off 10s restarting failed container=web pod=p_default(u1)"


def test_back_off_is_forgotten_after_a_long_run():
    """R18: reset after 10 minutes."""
    play = Play(pod())
    (now,) = play.up("web")
    play.exit("web", now, 1)
    assert play.step() == [Launch("web", 1)]
    now = play.run()
    play.now += 601
    play.exit("web", now, 1)
    assert play.step() == [Launch("web", 2)]


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded"), ("OnFailure", 3, "Running"),
     ("Always", 0, "Running")],
)  # fmt: skip
def test_restart_policies_r18(policy, code, phase):
    play = Play(pod(policy=policy))
    (now,) = play.up("web")
    play.step()
    play.exit("web", now, code)
    again = play.step()
    assert play.status.phase == phase
    assert again == ([Launch("web", 1)] if phase == "Running" else [RemoveSandbox()])
    if phase != "Running":
        reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}[phase]  # R10
        assert play.condition("Ready").reason == play.condition("ContainersReady").reason == reason
        assert play.state() == ("Completed" if code == 0 else "Error")


def test_one_of_two_done_is_still_running():
    play = Play(pod(container("a"), container("b"), policy="Never"))
    a, b = play.up("a", "b")
    play.exit("a", a)
    assert play.step() == [] and play.status.phase == "Running"
    play.exit("b", b, 1)
    assert play.step() == [RemoveSandbox()] and play.status.phase == "Failed"


def test_an_image_that_cannot_be_pulled():
    play = Play(pod())
    play.step()
    play.m.on_sandbox("10.244.1.5")
    pauses = []
    for _ in range(3):
        assert play.step() == [Launch("web", 0)]
        play.m.on_image_failed("web", "ErrImagePull", "not found", play.now)
        assert play.step() == []
        assert (play.state(), play.status.phase) == ("ErrImagePull", "Pending")
        play.step(1.0)
        assert play.state() == "ImagePullBackOff"
        pauses.append(play.wake + 1)
        play.now += play.wake
    assert pauses == [10, 20, 40]
    assert play.events[:3] == [
        ("Failed", "Error: ErrImagePull"),
        ("BackOff", 'Back-off pulling image "nginx"'),
        ("Failed", "Error: ImagePullBackOff"),
    ]
    assert play.status.container_statuses[0].restart_count == 0
    play.step()
    play.run()
    play.step()
    assert play.state() == "running"


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_other_image_problems_stay_themselves(reason):
    play = Play(pod())
    play.step()
    play.m.on_sandbox("10.244.1.5")
    play.step()
    play.m.on_image_failed("web", reason, "bad", play.now)
    play.step(5)
    assert play.state() == reason
    assert play.step(5) == [Launch("web", 0)]


def test_a_command_that_does_not_exist():
    play = Play(pod())
    play.step()
    play.m.on_sandbox("10.244.1.5")
    play.step()
    play.m.on_start_failed("web", "RunContainerError", 'exec: "x": not found', play.now, "c1")
    assert play.step() == []
    assert play.state() == "RunContainerError"
    play.step(1.0)
    one = play.status.container_statuses[0]
    assert one.state.waiting.reason == "CrashLoopBackOff"
    assert (one.last_state.terminated.reason, one.last_state.terminated.exit_code) == ("StartError", 128)
    assert one.last_state.terminated.started_at == "1970-01-01T00:00:00Z"
    assert play.step(9.0) == [Launch("web", 1)]
    assert ("Failed", 'Error: exec: "x": not found') in play.events
    never = Play(pod(policy="Never"))
    never.step()
    never.m.on_sandbox("10.244.1.5")
    never.step()
    never.m.on_start_failed("web", "RunContainerError", "no", never.now, "c1", "docker.io/library/x:1", "x@sha256:1")
    assert never.step() == [RemoveSandbox()]
    assert (never.state(), never.status.phase) == ("StartError", "Failed")
    one = never.status.container_statuses[0]
    assert (one.image, one.image_id) == ("docker.io/library/x:1", "x@sha256:1")
    assert never.events[-2:] == [("Created", "Container created"), ("Failed", "Error: no")]


def test_a_missing_config_map_is_waited_for():
    play = Play(pod())
    play.step()
    play.m.on_sandbox("10.244.1.5")
    play.step()
    play.m.on_start_failed("web", "CreateContainerConfigError", 'configmap "c" not found', play.now)
    assert play.step() == [] and play.state() == "CreateContainerConfigError"
    assert play.step(2.0) == [Launch("web", 0)]


def test_a_sandbox_that_fails_is_tried_again():
    play = Play(pod())
    play.step()
    play.m.on_sandbox_failed("FailedCreatePodSandBox", "no address", play.now)
    assert play.step() == [] and play.wake == 0.5
    assert play.events == [("FailedCreatePodSandBox", "no address")]
    assert play.step(0.5) == [CreateSandbox()]


def test_liveness_kills_and_restarts_r6():
    play = Play(pod(termination_grace_period_seconds=7))
    (now,) = play.up("web")
    play.m.on_unhealthy("web", now, "Liveness")
    assert play.step() == [Terminate("web", now)]
    assert play.wake == 7
    assert ("Killing", "Container web failed liveness probe, will be restarted") in play.events
    play.exit("web", now, 143)
    assert play.step() == [Launch("web", 1)]


def test_a_probes_own_grace_r17():
    play = Play(pod())
    (now,) = play.up("web")
    play.m.on_unhealthy("web", now, "Startup", grace=1)
    play.step()
    assert play.wake == 1


def test_another_image_is_another_instance():
    play = Play(pod())
    (now,) = play.up("web")
    play.step()
    play.m.on_pod(pod(core.Container(name="web", image="nginx:2")), play.now)
    assert play.step() == [Terminate("web", now)]
    assert ("Killing", "Container web definition changed, will be restarted") in play.events
    play.exit("web", now)
    assert play.step() == [Launch("web", 1)]
    assert play.m.containers["web"].spec.image == "nginx:2"


def test_active_deadline():
    play = Play(pod(active_deadline_seconds=60, termination_grace_period_seconds=3))
    (now,) = play.up("web")
    play.step()
    assert play.wake == 60
    assert play.step(60) == [Terminate("web", now)]
    play.exit("web", now, 143)
    assert play.step() == [RemoveSandbox()]
    assert (play.status.phase, play.status.reason) == ("Failed", "DeadlineExceeded")


def test_go_durations():
    assert [go_duration(one) for one in (10, 40, 60, 160, 300)] == ["10s", "40s", "1m0s", "2m40s", "5m0s"]


def test_what_was_missing_is_tried_again_as_soon_as_it_may_be_there():
    play = Play(pod())
    assert play.step() == [CreateSandbox()]
    for _ in range(4):
        play.m.on_sandbox_failed("FailedMount", "no", play.now)
        play.step()
        pause = play.wake
        assert play.step(pause) == [CreateSandbox()]
    play.m.on_sandbox_failed("FailedMount", "no", play.now)
    play.step()
    assert play.wake > pause
    play.m.on_sources(play.now + 1)
    assert play.step(1) == [CreateSandbox()]
    # The news may come while the try is still on its way.
    play.m.on_sources(play.now)
    play.m.on_sandbox_failed("FailedMount", "no", play.now)
    assert play.step() == [CreateSandbox()]
    play.m.on_sandbox("10.244.1.5")
    assert play.step(0.1) == [Launch("web", 0)]
    play.m.on_start_failed("web", "CreateContainerConfigError", "no", play.now)
    assert play.step() == []
    assert play.wake > 1
    play.m.on_sources(play.now)
    assert play.step() == [Launch("web", 0)]


@pytest.mark.parametrize(
    ("operator", "code", "again"), [("In", 42, True), ("In", 1, False), ("NotIn", 42, False), ("NotIn", 1, True)]
)
def test_a_containers_own_restart_rules(operator, code, again):
    codes = core.ContainerRestartRuleOnExitCodes(operator=operator, values=[42, 43])
    rule = core.ContainerRestartRule(action="Restart", exit_codes=codes)
    play = Play(pod(container(restart_policy="Never", restart_policy_rules=[rule])))
    (box,) = play.up("web")
    play.step()
    play.exit("web", box, code)
    assert play.step() == ([Launch("web", 1)] if again else [RemoveSandbox()])
    assert play.status.phase == ("Running" if again else "Failed")


def test_a_containers_own_restart_policy():
    play = Play(pod(container(restart_policy="OnFailure"), container("other"), policy="Never"))
    one, other = play.up("web", "other")
    play.step()
    play.exit("web", one, 3)
    play.exit("other", other, 0)
    assert play.step() == [Launch("web", 1)]
    play.exit("web", play.run("web"), 0)
    assert play.step() == [RemoveSandbox()]
    assert play.status.phase == "Succeeded"
