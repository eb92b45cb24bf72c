"""Drives a pod's machine in tests: what it is told, and the actions that are then due."""

from __future__ import annotations

from skerry.api.types import core, meta
from skerry.node.pods.machine import PodMachine
from skerry.node.pods.state import (
    CreateSandbox,
    Drain,
    Event,
    Launch,
)
from skerry.node.pods.status import render

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


def hooked(name="web", **more):
    hook = core.LifecycleHandler(exec=core.ExecAction(command=["true"]))
    return container(name, lifecycle=core.Lifecycle(post_start=hook), **more)


def with_debugger(play, *names):
    """The pod's object with ephemeral containers, as `kubectl debug` adds them."""
    added = [core.EphemeralContainer(name=name, image="busybox", target_container_name="web") for name in names]
    changed = pod()
    changed.spec.ephemeral_containers = added
    play.m.on_pod(changed, play.now)
