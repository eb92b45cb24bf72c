"""A pod's life on its node as a state machine: told what happened, it says what to do next. Pure; time is handed in.

Called by node/agent/worker.py, one machine a pod (a uid). Inputs are the `on_` methods; `advance` gives the actions
that are now due, each once. status.py renders the same state for the API. Rules R12, R14-R18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.clock import parse_rfc3339
from skerry.node.pods import trouble
from skerry.node.pods.admission import refused
from skerry.node.pods.recall import recall
from skerry.node.pods.state import (
    Container,
    CreateSandbox,
    Ended,
    Event,
    Finish,
    Launch,
    Plan,
    Problem,
    RemoveSandbox,
    Role,
    Sandbox,
    Stage,
    Stop,
    common,
)
from skerry.node.pods.stopping import Outbox, Stopping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.api.types import core

VANISHED_GRACE = 1.0
"""Seconds that containers get to end when their pod's object is gone already."""

AFTER_HOOK = 2.0
"""Seconds that are left for the stop signal however long preStop took (R14)."""

EVICTED = "Evicted"
EVICTION_GRACE = 1.0
"""Seconds that containers get which use more than they may."""


class PodMachine:
    """`pod` is its newest object. `leave_at`: when patience with a deleted pod ends, None while it is wanted.

    `refusal`: why this node does not take the pod, for reasons of its own.
    """

    def __init__(self, pod: core.Pod, now: float, refusal: Problem | None = None) -> None:
        self.pod = pod
        self.uid: str = pod.metadata.uid
        self.sandbox = Sandbox.NONE
        self.ips: tuple[str, ...] = ()
        self.initialized = not pod.spec.init_containers
        self.over = False
        self.verdict: Problem | None = None
        self.rejected = False
        self.vanished = False
        self.leave_at: float | None = None
        self.start_time = parse_rfc3339(pod.status.start_time) if pod.status.start_time else now
        self.containers: dict[str, Container] = {}
        for one in pod.spec.init_containers:
            role = Role.SIDECAR if one.restart_policy == "Always" else Role.INIT
            self.containers[one.name] = Container(one, role)
        for one in pod.spec.containers:
            self.containers[one.name] = Container(one, Role.APP)
        self._add_ephemeral()
        self._sandbox_after = 0.0
        self._sandbox_began = 0.0
        self._sandbox_pause = 0.5
        self._news_at = -1.0
        self._finished = False
        self._now = now
        self._out = Outbox()
        self._stopping = Stopping(self.containers, self._out)
        recall(self, now)
        if not self.over:
            self._admit(refusal)
        self.on_pod(pod, now)

    # Inputs.

    def on_pod(self, pod: core.Pod, now: float) -> None:
        """The object changed: it may be deleted now, or sooner than before (R14), or want another image."""
        self.pod = pod
        for spec in (*pod.spec.init_containers, *pod.spec.containers):
            self.containers[spec.name].spec = spec
        self._add_ephemeral()
        if pod.metadata.deletion_timestamp:
            grace = pod.metadata.deletion_grace_period_seconds
            self._hurry(now + (30 if grace is None else grace))

    def _admit(self, refusal: Problem | None) -> None:
        self.verdict = refused(self.pod) or refusal
        if self.verdict is not None:
            self.rejected = True
            said = self.verdict.message.partition(": ")[2]
            self._out.do(Event("Warning", self.verdict.reason, said))

    def _add_ephemeral(self) -> None:
        for one in self.pod.spec.ephemeral_containers:
            if one.name not in self.containers:
                self.containers[one.name] = Container(common(one), Role.EPHEMERAL)

    def on_evicted(self, message: str) -> None:
        """The node cannot keep the pod, for this reason: it ends, with little patience."""
        if self.over or self.verdict is not None or self.leave_at is not None:
            return
        self.verdict = Problem(EVICTED, message)
        self._out.do(Event("Warning", EVICTED, message))

    def on_vanished(self, now: float) -> None:
        """The object is gone (a forced deletion): what runs must go, and nobody need be told."""
        self.vanished = True
        self._hurry(now + VANISHED_GRACE)

    def _hurry(self, at: float) -> None:
        self.leave_at = at if self.leave_at is None else min(self.leave_at, at)
        for one in self.containers.values():
            if one.stop is not None:
                one.stop.kill_at = min(one.stop.kill_at, at)

    def on_sandbox(self, *ips: str) -> None:
        self.sandbox, self.ips = Sandbox.READY, ips

    @property
    def ip(self) -> str:
        """The pod's address, of the cluster's primary family; "" while it has none."""
        return self.ips[0] if self.ips else ""

    def on_sandbox_failed(self, reason: str, message: str, now: float) -> None:
        """`reason` is the event's: FailedCreatePodSandBox or FailedMount."""
        self.sandbox = Sandbox.NONE
        self._sandbox_after = now if self._news_at >= self._sandbox_began else now + self._sandbox_pause
        self._sandbox_pause = min(2 * self._sandbox_pause, 60.0)
        self._out.do(Event("Warning", reason, message))

    def on_sources(self, now: float) -> None:
        """Something that was missing may be there now: who waits for it, or is about to, need not wait any longer."""
        self._news_at = now
        self._sandbox_after = min(self._sandbox_after, now)
        for one in self.containers.values():
            if one.problem is not None and one.problem.reason == "CreateContainerConfigError":
                one.not_before = min(one.not_before, now)

    def on_sandbox_removed(self) -> None:
        self.sandbox = Sandbox.GONE

    def on_image_failed(self, name: str, reason: str, message: str, now: float) -> None:
        """`reason`: ErrImagePull, InvalidImageName or ErrImageNeverPull. What was wrong, the image manager has said."""
        trouble.image_failed(self.containers[name], self._out, reason, message, now)

    def on_started(self, name: str, instance: str, started_at: float, image: str = "", image_id: str = "") -> None:
        """The container's command runs; its postStart hook, if it has one, is yet to come."""
        one = self.containers[name]
        one.stage = Stage.RUNNING
        one.attempts += 1
        one.id, one.started_at = instance, started_at
        one.image, one.image_id = image or one.spec.image, image_id
        one.last, one.ended = one.ended or one.last, None
        one.problem = one.later = None
        one.pull.reset()
        one.hooking = one.spec.lifecycle is not None and one.spec.lifecycle.post_start is not None
        one.started, one.ready = not one.hooking and one.spec.startup_probe is None, one.spec.readiness_probe is None
        one.doom, one.grace, one.stop, one.aborted = "", None, None, False
        self._out.do(Event("Normal", "Created", "Container created", name))
        self._out.do(Event("Normal", "Started", "Container started", name))

    def on_start_failed(
        self, name: str, reason: str, message: str, now: float, instance: str = "", image: str = "", image_id: str = ""
    ) -> None:
        """`reason`: RunContainerError counts as an instance that was made and ended at once.

        CreateContainerConfigError and CreateContainerError count as none at all.
        """
        one = self.containers[name]
        if reason != "RunContainerError":
            again = now if self._news_at >= one.launched_at else now + trouble.RETRY / 5
            trouble.not_made(one, self._out, Problem(reason, message), again)
            return
        one.image, one.image_id = image or one.spec.image, image_id
        trouble.not_started(one, self._out, self.pod, Problem(reason, message), instance, now)

    def on_aborted(self, name: str) -> None:
        """A launch was given up before there was a process."""
        self.containers[name].stage = Stage.IDLE

    def on_exited(
        self,
        name: str,
        instance: str,
        code: int,
        finished_at: float,
        now: float,
        message: str = "",
        *,
        out_of_memory: bool = False,
    ) -> None:
        """The container's first process ended and its output is read; `out_of_memory`: the kernel has killed in it."""
        one = self.containers[name]
        if one.id != instance or one.stage is not Stage.RUNNING:
            return
        one.stage, one.stop = Stage.IDLE, None
        one.hooking = one.started = one.ready = False
        reason = "OOMKilled" if out_of_memory and code else "Error" if code else "Completed"
        one.ended = Ended(code, reason, finished_at, one.started_at, message, instance)
        if self.leave_at is None and not self.verdict and self.restarts(one, code):
            trouble.pause(one, self.pod, now)

    def on_hooked(self, name: str, instance: str, failure: str = "") -> None:
        """The postStart hook ended: well, or with this `failure`, and then the container must make way for another."""
        one = self.containers[name]
        if one.id != instance or one.stage is not Stage.RUNNING:
            return
        one.hooking = False
        if failure:
            self._out.do(Event("Warning", "FailedPostStartHook", failure, name))
            one.doom = "FailedPostStartHook"
        else:
            one.started = one.spec.startup_probe is None

    def on_ready(self, name: str, instance: str, ready: bool) -> None:
        """The readiness probe's word on an instance."""
        one = self.containers[name]
        if one.id == instance and one.stage is Stage.RUNNING:
            one.ready = ready

    def on_startup_passed(self, name: str, instance: str) -> None:
        one = self.containers[name]
        if one.id == instance and one.stage is Stage.RUNNING:
            one.started = True

    def on_unhealthy(self, name: str, instance: str, probe: str, grace: float | None = None) -> None:
        """The liveness or startup probe (`probe`) has failed for good (R6); `grace` is the probe's own (R17)."""
        one = self.containers[name]
        if one.id == instance and one.stage is Stage.RUNNING and self.leave_at is None:
            one.doom, one.grace = f"Container {name} failed {probe.lower()} probe, will be restarted", grace

    def on_hook_done(self, name: str, instance: str, now: float) -> None:
        """The preStop hook is over, well or not (R15)."""
        one = self.containers[name]
        if one.id == instance and one.stop is not None:
            one.stop.hook = True
            one.stop.kill_at = max(one.stop.kill_at, now + AFTER_HOOK)

    def on_drained(self) -> None:
        """Nothing is to be waited for any more before the deleted pod's containers are told to stop."""
        self._stopping.drained = True

    # Decisions.

    def advance(self, now: float) -> Plan:
        """What is to be done at `now`. Every action is handed out once; the caller answers with an input."""
        self._now = now
        for one in self.containers.values():
            if one.later is not None:
                if now >= one.later[0]:
                    _, one.problem, events = one.later
                    self._out.do(*events)
                    one.later = None
                else:
                    self._out.wake_at(one.later[0])
        if self.leave_at is not None:
            self._leave(now)
        elif self.over or self._done():
            self._wind_down(now)
        else:
            self._work(now)
        self._stopping.drive(now)
        return self._out.take()

    def of(self, *roles: Role) -> Iterable[Container]:
        return (one for one in self.containers.values() if one.role in roles)

    @property
    def quiet(self) -> bool:
        """Whether no container has a process or may get one."""
        return self._stopping.quiet

    @property
    def takes_room(self) -> bool:
        """Whether what the pod asks for is taken on its node: until it has ended, or its object is gone."""
        ending = self.over or self.verdict is not None or self.leave_at is not None
        return not self.vanished and not (ending and self.quiet)

    def failed_init(self) -> bool:
        """Whether an init container failed that is not tried again."""
        return any(
            one.ended is not None and one.ended.code != 0 and not self.restarts(one, one.ended.code)
            for one in self.of(Role.INIT)
        )

    def restarts(self, one: Container, code: int) -> bool:
        """R18, for one that ended with `code`."""
        return trouble.restarts(one, self.pod, code)

    def _done(self) -> bool:
        """Whether all that the pod is for has come to an end."""
        limit = self.pod.spec.active_deadline_seconds
        if self.verdict is None and limit is not None and self._now >= self.start_time + limit:
            text = "Pod was active on the node longer than the specified deadline"
            self.verdict = Problem("DeadlineExceeded", text)
            self._out.do(Event("Normal", "DeadlineExceeded", text))
        if self.verdict is not None or self.failed_init():
            return True
        return self.initialized and all(
            one.ended is not None and not one.active and not self.restarts(one, one.ended.code)
            for one in self.of(Role.APP)
        )

    def _work(self, now: float) -> None:
        limit = self.pod.spec.active_deadline_seconds
        if limit is not None:
            self._out.wake_at(self.start_time + limit)
        if self.sandbox is Sandbox.NONE:
            if now >= self._sandbox_after:
                self.sandbox, self._sandbox_began = Sandbox.MAKING, now
                self._out.do(CreateSandbox())
            else:
                self._out.wake_at(self._sandbox_after)
        if self.sandbox is not Sandbox.READY:
            return
        for one in self.of(Role.EPHEMERAL):
            self._keep(one, now)
        for one in self.of(Role.INIT, Role.SIDECAR):
            if one.role is Role.SIDECAR:
                self._keep(one, now)
                if self.initialized or one.started:
                    continue
                return
            if self.initialized or (one.ended is not None and one.ended.code == 0):
                continue
            self._keep(one, now)
            return
        self.initialized = True
        for one in self.of(Role.APP):
            self._keep(one, now)

    def _keep(self, one: Container, now: float) -> None:
        """Sees to it that a container runs, if it should."""
        if one.stage is Stage.RUNNING and one.launched != one.spec.image and not one.doom:
            one.doom = f"Container {one.name} definition changed, will be restarted"
        if one.doom and one.stop is None and one.stage is Stage.RUNNING:
            one.stop = Stop(now + (self._grace() if one.grace is None else one.grace))
            self._out.do(Event("Normal", "Killing", one.doom, one.name))
        if one.active or (one.ended is not None and not self.restarts(one, one.ended.code)):
            return
        if now < one.not_before:
            self._out.wake_at(one.not_before)
            return
        if one.ended is not None and (one.problem is None or one.problem.reason == "CrashLoopBackOff"):
            one.crash.lengthen(one.ended.finished_at, now)
        one.stage, one.aborted, one.later = Stage.LAUNCHING, False, None
        one.launched, one.launched_at = one.spec.image, now
        self._out.do(Launch(one.name, one.attempts))

    def _grace(self) -> float:
        if self.verdict is not None and self.verdict.reason == EVICTED:
            return EVICTION_GRACE
        grace = self.pod.spec.termination_grace_period_seconds
        return 30.0 if grace is None else float(grace)

    def _leave(self, now: float) -> None:
        assert self.leave_at is not None
        if not self._stopping.drain(now, self.leave_at, self.pod, vanished=self.vanished):
            return
        if not self._stopping.all(self.leave_at):
            return
        if self.sandbox is Sandbox.READY:
            self.sandbox = Sandbox.REMOVING
            self._out.do(RemoveSandbox())
        elif self.sandbox in (Sandbox.NONE, Sandbox.GONE) and not self._finished:
            self._finished = True
            self._out.do(Finish())

    def _wind_down(self, now: float) -> None:
        if not self.over and self._stopping.all(now + self._grace()):
            self.over = True
        if self.over and self.sandbox is Sandbox.READY:
            self.sandbox = Sandbox.REMOVING
            self._out.do(RemoveSandbox())
