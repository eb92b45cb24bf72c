"""How a deleted pod waits for its connections before anybody tells it to stop, as a table of inputs and actions."""

from __future__ import annotations

import pytest
from tests.unit.node.pods.play import Play, container, pod

from skerry.api.types import core
from skerry.node.pods.state import AbortLaunch, Drain, Kill, Launch, RemoveSandbox, RunHook, Terminate


def serving(made=None):
    """A pod that runs, that Services lead to."""
    play = Play(made or pod())
    play.serves = True
    play.instances = play.up(*(one.name for one in play.pod.spec.containers))
    play.step()
    return play


def test_the_stop_signal_waits_until_the_pod_is_drained():
    play = serving()
    play.delete(grace=30)
    assert play.step() == [Drain(10.0)]
    assert play.step(3) == []
    assert play.condition("Ready").status == "True"
    assert "Killing" not in dict(play.events)
    play.m.on_drained()
    assert play.step() == [Terminate("web", "c1")]
    assert dict(play.events)["Killing"] == "Stopping container web"
    assert play.wake == 27  # what the grace period has left: draining is a part of it (R14)
    assert play.step(27) == [Kill("web", "c1")]


@pytest.mark.parametrize(
    ("grace", "annotation", "seconds"),
    [
        (30, None, 10.0),
        (300, None, 10.0),
        (5, None, 2.5),
        (1, None, 0.5),
        (30, "off", 0.0),
        (30, "0", 0.0),
        (30, "3", 3.0),
        (30, "25", 25.0),
        (30, "60", 28.0),
        (1, "60", 0.0),
        (0, None, 0.0),
        (0, "20", 0.0),
    ],
)
def test_how_long_it_may_take(grace, annotation, seconds):
    made = pod()
    made.metadata.annotations = {"skerry.dev/drain": annotation} if annotation is not None else {}
    play = serving(made)
    deleted(play, grace)
    assert play.step() == ([Drain(seconds)] if seconds else [Terminate("web", "c1")] if grace else [Kill("web", "c1")])


def deleted(play, grace):
    play.delete(grace)
    play.m.pod.metadata.annotations = play.pod.metadata.annotations


@pytest.mark.parametrize("annotation", ["soon", "-1", "1.5", "1s", ""])
def test_a_bad_annotation_is_told_and_ignored(annotation):
    made = pod()
    made.metadata.annotations = {"skerry.dev/drain": annotation}
    play = serving(made)
    deleted(play, 30)
    assert play.step() == [Drain(10.0)]
    said = f'annotation skerry.dev/drain: "{annotation}" is neither "off" nor a whole number of seconds; it is ignored'
    assert play.events.count(("InvalidDrain", said)) == 1
    play.step(1)
    assert play.events.count(("InvalidDrain", said)) == 1


def test_a_shorter_grace_period_makes_it_hurry():
    play = serving()
    play.delete(grace=30)
    assert play.step() == [Drain(10.0)]
    play.delete(grace=4)
    assert play.step() == [Drain(2.0)]
    play.delete(grace=30)
    assert play.step(1) == []
    play.delete(grace=0)
    assert play.step() == [Kill("web", "c1")]


def test_a_forced_deletion_does_not_wait():
    play = serving()
    play.m.on_vanished(play.now)
    assert play.step() == [Terminate("web", "c1")]


def test_an_object_that_goes_while_it_waits_ends_the_wait():
    play = serving()
    play.delete(grace=30)
    assert play.step() == [Drain(10.0)]
    play.m.on_vanished(play.now)
    assert play.step() == [Terminate("web", "c1")]
    assert play.step(1) == [Kill("web", "c1")]


def test_the_hook_runs_after_it_and_before_the_signal_r14():
    hook = core.LifecycleHandler(exec=core.ExecAction(command=["nginx", "-s", "quit"]))
    play = serving(pod(container(lifecycle=core.Lifecycle(pre_stop=hook))))
    play.delete(grace=30)
    assert play.step() == [Drain(10.0)]
    play.step(4)
    play.m.on_drained()
    assert play.step() == [RunHook("web", "c1", 26.0)]
    play.m.on_hook_done("web", "c1", play.now)
    assert play.step() == [Terminate("web", "c1")]


def test_who_never_answers_is_not_waited_for():
    play = serving()
    play.delete(grace=30)
    assert play.step() == [Drain(10.0)]
    assert play.wake == 11
    assert play.step(11) == [Terminate("web", "c1")]


def test_containers_that_end_by_themselves_end_the_wait():
    play = serving()
    play.delete(grace=30)
    assert play.step() == [Drain(10.0)]
    play.exit("web", "c1")
    assert play.step() == [RemoveSandbox()]


def test_who_is_only_about_to_start_is_given_up_at_once():
    play = serving(pod(container("web"), container("late")))
    play.exit("late", play.instances[1])
    assert play.step() == [Launch("late", 1)]
    play.delete(grace=30)
    assert play.step() == [Drain(10.0), AbortLaunch("late")]
    play.m.on_drained()
    assert play.step() == [Terminate("web", "c1")]


def test_a_pod_that_does_not_run_yet_waits_for_nothing():
    play = Play(pod(inits=[container("first")]))
    play.serves = True
    play.step()
    play.m.on_sandbox("10.244.1.5")
    assert play.step() == [Launch("first", 0)]
    first = play.run("first")
    play.step()
    play.delete(grace=30)
    assert play.step() == [Terminate("first", first)]


def test_a_pod_that_has_ended_waits_for_nothing():
    play = serving(pod(policy="Never"))
    play.exit("web", "c1")
    play.step()
    play.delete(grace=30)
    assert not [one for one in play.step() if isinstance(one, Drain)]


def test_a_container_that_restarts_is_not_drained():
    """Only deletion takes the endpoint away for good; a failed liveness probe has its reasons (R17)."""
    play = serving()
    play.m.on_unhealthy("web", "c1", "Liveness")
    assert play.step() == [Terminate("web", "c1")]
