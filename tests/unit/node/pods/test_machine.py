"""A pod's life as a table of inputs and actions (rules R12, R14-R16)."""

from __future__ import annotations

from tests.unit.node.pods.play import Play, container, hooked, pod

from skerry.api.types import core
from skerry.node.pods.state import (
    AbortLaunch,
    CreateSandbox,
    Finish,
    Kill,
    Launch,
    RemoveSandbox,
    RunHook,
    Terminate,
)


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
