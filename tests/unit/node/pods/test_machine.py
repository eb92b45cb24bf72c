"""A pod's life as a table of inputs and actions (rules R12, R14-R18)."""

from __future__ import annotations

import pytest

from skerry.api.types import core, meta
from skerry.node.pods.machine import PodMachine
from skerry.node.pods.state import (
    AbortLaunch,
    CreateSandbox,
    Drain,
    Event,
    Finish,
    Kill,
    Launch,
    Problem,
    RemoveSandbox,
    RunHook,
    Terminate,
)
from skerry.node.pods.status import render
from skerry.node.pods.text import go_duration

T0 = 1_767_225_600.0


def container(name="web", **more):
    return core.Container(name=name, image="nginx", **more)


def pod(*containers, inits=(), policy="Always", **more):
    return core.Pod(
        metadata=meta.ObjectMeta(name="p", namespace="default", uid="u1"),
        spec=core.PodSpec(
            containers=list(containers) or [container()], init_containers=list(inits), restart_policy=policy, **more
        ),
    )


class Play:
    """Drives a machine: remembers actions, keeps the time."""

    def __init__(self, made):
        self.pod = made
        self.now = T0
        self.m = PodMachine(made, self.now)
        self.status = core.PodStatus()
        self.events = []
        self.wake = None
        self.serial = 0
        self.serves = False
        """Whether Services lead to the pod: else it is drained as soon as that is asked for."""

    def step(self, seconds=0.0):
        """The actions due `seconds` later, events apart."""
        self.now += seconds
        plan = self.m.advance(self.now)
        if not self.serves and any(isinstance(one, Drain) for one in plan.actions):
            self.m.on_drained()
            plan = self.m.advance(self.now)
        self.wake = None if plan.wake_at is None else plan.wake_at - self.now
        self.events += [(one.reason, one.message) for one in plan.actions if isinstance(one, Event)]
        self.status = render(self.m, self.status, ["10.243.0.2"], self.now)
        return [one for one in plan.actions if not isinstance(one, Event)]

    def run(self, name="web"):
        self.serial += 1
        self.m.on_started(name, f"c{self.serial}", self.now, "docker.io/library/nginx", "nginx@sha256:1")
        return f"c{self.serial}"

    def up(self, *names):
        """From nothing to all `names` running, sandbox included."""
        assert self.step() == [CreateSandbox()]
        self.m.on_sandbox("10.244.1.5")
        assert self.step() == [Launch(name, 0) for name in names]
        return [self.run(name) for name in names]

    def exit(self, name, instance, code=0):
        self.m.on_exited(name, instance, code, self.now, self.now)

    def delete(self, grace=30):
        gone = core.Pod(
            metadata=meta.ObjectMeta(
                name="p",
                namespace="default",
                uid="u1",
                deletion_timestamp="2026-01-01T00:00:00Z",
                deletion_grace_period_seconds=grace,
            ),
            spec=self.pod.spec,
        )
        self.m.on_pod(gone, self.now)

    def state(self, name="web"):
        """The one word that kubectl would show for a container."""
        for one in [*self.status.init_container_statuses, *self.status.container_statuses]:
            if one.name == name:
                state = one.state
                if state.waiting:
                    return state.waiting.reason
                return "running" if state.running else state.terminated.reason
        raise KeyError(name)

    def condition(self, kind):
        return next(one for one in self.status.conditions if one.type == kind)


def test_from_nothing_to_running():
    play = Play(pod())
    assert play.step() == [CreateSandbox()]
    assert (play.status.phase, play.state()) == ("Pending", "ContainerCreating")
    assert play.condition("PodReadyToStartContainers").status == "False"
    assert play.step() == []
    play.m.on_sandbox("10.244.1.5")
    assert play.step() == [Launch("web", 0)]
    assert play.condition("PodReadyToStartContainers").status == "True"
    play.run()
    assert play.step() == []
    assert play.status.phase == "Running"
    assert play.status.pod_ip == "10.244.1.5" and play.status.pod_i_ps[0].ip == "10.244.1.5"
    assert play.condition("Ready").status == "True"  # R3: no readiness probe
    one = play.status.container_statuses[0]
    assert (one.container_id, one.image_id, one.ready, one.started) == ("skerry://c1", "nginx@sha256:1", True, True)
    assert play.events == [("Created", "Container created"), ("Started", "Container started")]


def test_init_containers_run_in_order_and_r12():
    play = Play(pod(inits=[container("a"), container("b")]))
    play.step()
    assert play.state("web") == "PodInitializing"
    play.m.on_sandbox("10.244.1.5")
    assert play.step() == [Launch("a", 0)]
    first = play.run("a")
    assert play.step() == []
    found = play.condition("Initialized")
    assert (found.status, found.reason) == ("False", "ContainersNotInitialized")
    assert found.message == "containers with incomplete status: [a b]"
    play.exit("a", first)
    assert play.step() == [Launch("b", 0)]
    assert play.condition("Initialized").message == "containers with incomplete status: [b]"
    play.exit("b", play.run("b"))
    assert play.step() == [Launch("web", 0)]
    assert (play.condition("Initialized").status, play.status.phase) == ("True", "Pending")
    assert [one.ready for one in play.status.init_container_statuses] == [True, True]


def test_a_failing_init_container_is_tried_again_unless_never():
    play = Play(pod(inits=[container("a")]))
    (first,) = play.up("a")
    play.exit("a", first, 1)
    assert play.step() == [Launch("a", 1)]
    never = Play(pod(inits=[container("a")], policy="Never"))
    (first,) = never.up("a")
    never.exit("a", first, 1)
    assert never.step() == [RemoveSandbox()]
    assert never.status.phase == "Failed"
    assert never.state("web") == "PodInitializing"


def test_sidecars_start_before_and_leave_after():
    side = container("side", restart_policy="Always")
    play = Play(pod(inits=[side], policy="Never"))
    (first,) = play.up("side")
    assert play.step() == [Launch("web", 0)]
    web = play.run("web")
    play.step()
    play.exit("web", web)
    assert play.step() == [Terminate("side", first)]
    assert play.status.phase == "Running"  # not over before nothing runs
    play.exit("side", first, 143)
    assert play.step() == [RemoveSandbox()]
    assert play.status.phase == "Succeeded"


def test_sidecars_leave_in_reverse_order_after_the_main_containers():
    """R14 (c)."""
    sides = [container("s1", restart_policy="Always"), container("s2", restart_policy="Always")]
    play = Play(pod(inits=sides))
    (s1,) = play.up("s1")
    assert play.step() == [Launch("s2", 0)]
    s2 = play.run("s2")
    play.step()
    web = play.run("web")
    play.delete()
    assert play.step() == [Terminate("web", web)]
    play.exit("web", web)
    assert play.step() == [Terminate("s2", s2)]
    play.exit("s2", s2)
    assert play.step() == [Terminate("s1", s1)]
    play.exit("s1", s1)
    assert play.step() == [RemoveSandbox()]


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


def test_graceful_termination_r14_r16():
    play = Play(pod())
    (now,) = play.up("web")
    play.step()
    play.delete(grace=5)
    assert play.step() == [Terminate("web", now)]
    assert ("Killing", "Stopping container web") in play.events  # R15
    assert play.condition("Ready").status == "True"  # R7: readiness goes on
    assert play.wake == 5
    assert play.step(4.9) == []
    assert play.step(0.1) == [Kill("web", now)]
    assert play.step() == []
    play.exit("web", now, 137)
    assert play.step() == [RemoveSandbox()]
    assert play.status.phase == "Failed"
    assert play.step() == []
    play.m.on_sandbox_removed()
    assert play.step() == [Finish()]
    assert play.step() == []


def test_a_second_deletion_can_hurry():
    play = Play(pod())
    (now,) = play.up("web")
    play.delete(grace=30)
    assert play.step() == [Terminate("web", now)]
    play.delete(grace=0)
    assert play.step() == [Kill("web", now)]


def test_a_forced_deletion_kills():
    play = Play(pod())
    (now,) = play.up("web")
    play.delete(grace=0)
    assert play.step() == [Kill("web", now)]


def test_a_pod_whose_object_is_gone_is_stopped():
    play = Play(pod())
    (now,) = play.up("web")
    play.m.on_vanished(play.now)
    assert play.step() == [Terminate("web", now)]
    assert play.step(1.0) == [Kill("web", now)]
    play.exit("web", now, 137)
    assert play.step() == [RemoveSandbox()]
    play.m.on_sandbox_removed()
    assert play.step() == [Finish()]


def test_pre_stop_comes_first_and_leaves_two_seconds():
    """R14: preStop, then SIGTERM, then SIGKILL after the remaining grace, at least 2 s."""
    hook = core.Lifecycle(pre_stop=core.LifecycleHandler(exec=core.ExecAction(command=["x"])))
    play = Play(pod(container(lifecycle=hook)))
    (now,) = play.up("web")
    play.delete(grace=5)
    assert play.step() == [RunHook("web", now, 5.0)]
    play.now += 4.5
    play.m.on_hook_done("web", now, play.now)
    assert play.step() == [Terminate("web", now)]
    assert play.wake == 2.0
    assert play.step(2.0) == [Kill("web", now)]


def test_deletion_during_a_launch():
    play = Play(pod())
    play.step()
    play.m.on_sandbox("10.244.1.5")
    play.step()
    play.delete()
    assert play.step() == [AbortLaunch("web")]
    assert play.step() == []
    play.m.on_aborted("web")
    assert play.step() == [RemoveSandbox()]
    assert play.status.phase == "Pending"
    late = Play(pod())
    late.step()
    late.m.on_sandbox("10.244.1.5")
    late.step()
    late.delete()
    late.step()
    now = late.run()  # it could not be aborted any more
    assert late.step() == [Terminate("web", now)]


def test_deletion_before_the_sandbox_is_there():
    play = Play(pod())
    assert play.step() == [CreateSandbox()]
    play.delete()
    assert play.step() == []
    play.m.on_sandbox("10.244.1.5")
    assert play.step() == [RemoveSandbox()]
    play.m.on_sandbox_removed()
    assert play.step() == [Finish()]


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


def test_probe_results_of_an_older_instance_are_not_believed():
    probe = core.Probe(tcp_socket=core.TCPSocketAction(port=80))
    play = Play(pod(container(readiness_probe=probe)))
    (now,) = play.up("web")
    play.m.on_ready("web", "c0", True)
    play.step()
    assert play.condition("Ready").status == "False"
    play.m.on_ready("web", now, True)
    play.step()
    assert play.condition("Ready").status == "True"


def test_startup_holds_readiness_back_r5():
    probe = core.Probe(tcp_socket=core.TCPSocketAction(port=80))
    play = Play(pod(container(startup_probe=probe)))
    (now,) = play.up("web")
    play.step()
    one = play.status.container_statuses[0]
    assert (one.started, one.ready) == (False, False)
    play.m.on_startup_passed("web", now)
    play.step()
    assert play.condition("Ready").status == "True"


def test_active_deadline():
    play = Play(pod(active_deadline_seconds=60, termination_grace_period_seconds=3))
    (now,) = play.up("web")
    play.step()
    assert play.wake == 60
    assert play.step(60) == [Terminate("web", now)]
    play.exit("web", now, 143)
    assert play.step() == [RemoveSandbox()]
    assert (play.status.phase, play.status.reason) == ("Failed", "DeadlineExceeded")


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


def hooked(name="web", **more):
    hook = core.LifecycleHandler(exec=core.ExecAction(command=["true"]))
    return container(name, lifecycle=core.Lifecycle(post_start=hook), **more)


def test_a_container_is_not_running_before_its_post_start_hook_is_over():
    play = Play(pod(hooked()))
    (box,) = play.up("web")
    assert play.step() == []
    assert (play.status.phase, play.state()) == ("Pending", "ContainerCreating")
    assert play.condition("Ready").status == "False" and play.events == [
        ("Created", "Container created"),
        ("Started", "Container started"),
    ]
    play.m.on_hooked("web", box)
    play.step()
    assert (play.status.phase, play.state(), play.condition("Ready").status) == ("Running", "running", "True")


def test_a_post_start_hook_that_fails_costs_the_container():
    play = Play(pod(hooked(), policy="Never"))
    (box,) = play.up("web")
    play.step()
    play.m.on_hooked("web", box, "PostStartHook failed: no")
    assert play.step() == [Terminate("web", box)]
    assert play.events[-2:] == [
        ("FailedPostStartHook", "PostStartHook failed: no"),
        ("Killing", "FailedPostStartHook"),
    ]
    play.exit("web", box, 143)
    play.step()
    assert play.status.phase == "Failed"


def test_a_sidecar_holds_the_next_back_until_its_hook_and_its_startup_probe_are_over():
    sidecar = hooked("side", restart_policy="Always", startup_probe=core.Probe())
    play = Play(pod(inits=[sidecar, container("init")]))
    (box,) = play.up("side")
    assert play.step() == []
    play.m.on_hooked("side", box)
    assert play.step() == []
    play.m.on_startup_passed("side", box)
    assert play.step() == [Launch("init", 0)]


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


def with_debugger(play, *names):
    """The pod's object with ephemeral containers, as `kubectl debug` adds them."""
    added = [core.EphemeralContainer(name=name, image="busybox", target_container_name="web") for name in names]
    changed = pod()
    changed.spec.ephemeral_containers = added
    play.m.on_pod(changed, play.now)


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
