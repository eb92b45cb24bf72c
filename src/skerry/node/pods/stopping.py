"""How a pod's containers are brought to their end: drained, told, reminded, killed. Pure; a part of machine.py.

A deleted pod is drained first: no container is told to stop, and no preStop hook runs, before its connections are done
or a bounded time has passed. Then, as upstream: hook, stop signal, SIGKILL when the grace period is over (R14, R15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.node.pods import drain
from skerry.node.pods.state import (
    AbortLaunch,
    Action,
    Container,
    Drain,
    Event,
    Kill,
    Plan,
    Role,
    RunHook,
    Stage,
    Stop,
    Terminate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from skerry.api.types import core

OVERDUE = 1.0
"""Seconds after which an answer to Drain that should have come is not waited for any longer."""


class Outbox:
    """What a machine has to say, collected until it is asked."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._actions: list[Action] = []
        self._wake: float | None = None

    def do(self, *actions: Action) -> None:
        for one in actions:
            (self._events if isinstance(one, Event) else self._actions).append(one)  # type: ignore[arg-type]

    def failed(self, container: str, message: str) -> None:
        """A warning about a container that could not be started."""
        self._events.append(Event("Warning", "Failed", message, container))

    def wake_at(self, at: float) -> None:
        self._wake = at if self._wake is None else min(self._wake, at)

    def take(self) -> Plan:
        """All of it, events first; then it is empty."""
        plan = Plan((*self._events, *self._actions), self._wake)
        self._events, self._actions, self._wake = [], [], None
        return plan


class Stopping:
    """The containers of one pod on their way out. `drained`: whether connections hold them up no longer."""

    def __init__(self, containers: Mapping[str, Container], out: Outbox) -> None:
        self._containers, self._out = containers, out
        self.drained = False
        self._until: float | None = None

    @property
    def quiet(self) -> bool:
        """Whether no container has a process or may get one."""
        return not any(one.active for one in self._containers.values())

    def drain(self, now: float, leave_at: float, pod: core.Pod, *, vanished: bool) -> bool:
        """Sees to it that a deleted pod is drained; True when it is, or there is nothing or no time to wait for."""
        if self.drained or not self._waits(now, leave_at, vanished=vanished):
            self.drained = True
            return True
        until = now + drain.bound(pod, leave_at - now)
        if self._until is None:
            _, wrong = drain.wish(pod)
            if wrong:
                self._out.do(Event("Warning", "InvalidDrain", wrong))
            self.drained = until <= now
            if self.drained:
                return True
        if self._until is None or until < self._until:
            self._until = until
            self._out.do(Drain(until - now))
        for one in self._containers.values():
            self._abort(one)
        self._out.wake_at(min(self._until + OVERDUE, leave_at))
        return False

    def _waits(self, now: float, leave_at: float, *, vanished: bool) -> bool:
        """Whether there is somebody to be drained, and time for it."""
        overdue = self._until is not None and now >= self._until + OVERDUE
        serves = any(one.stage is Stage.RUNNING and one.stop is None for one in self._of(Role.APP, Role.SIDECAR))
        return serves and not vanished and not overdue and now < leave_at

    def all(self, kill_at: float) -> bool:
        """Sees all containers out, sidecars last and in reverse order (R14). True when none is left."""
        for one in self._of(Role.INIT, Role.APP, Role.EPHEMERAL):
            self._let_go(one, kill_at)
        if not any(one.active for one in self._of(Role.INIT, Role.APP, Role.EPHEMERAL)):
            for one in reversed(list(self._of(Role.SIDECAR))):
                if one.active:
                    self._let_go(one, kill_at)
                    break
        return self.quiet

    def drive(self, now: float) -> None:
        """What is due of each container that is being stopped."""
        for one in self._containers.values():
            stop = one.stop
            if stop is None or one.stage is not Stage.RUNNING or stop.killed:
                continue
            left = stop.kill_at - now
            if left <= 0:
                stop.killed = True
                self._out.do(Kill(one.name, one.id))
                continue
            self._out.wake_at(stop.kill_at)
            if stop.hook is None:
                lifecycle = one.spec.lifecycle
                stop.hook = lifecycle is None or lifecycle.pre_stop is None
                if not stop.hook:
                    self._out.do(RunHook(one.name, one.id, left))
            if stop.hook and not stop.signalled:
                stop.signalled = True
                self._out.do(Terminate(one.name, one.id))

    def _of(self, *roles: Role) -> Iterable[Container]:
        return (one for one in self._containers.values() if one.role in roles)

    def _let_go(self, one: Container, kill_at: float) -> None:
        one.later = None
        self._abort(one)
        if one.stage is Stage.RUNNING and one.stop is None:
            one.stop = Stop(kill_at)
            self._out.do(Event("Normal", "Killing", f"Stopping container {one.name}", one.name))

    def _abort(self, one: Container) -> None:
        if one.stage is Stage.LAUNCHING and not one.aborted:
            one.aborted = True
            self._out.do(AbortLaunch(one.name))
