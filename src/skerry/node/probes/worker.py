"""Runs the probes of one container instance and tells what they found. Called by node/agent, one for each instance.

Results are told by plain calls, at once: the pod's worker must know within the same turn of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from skerry.node.probes.handlers import Exec, ask
from skerry.node.probes.schedule import Kind, Schedule

if TYPE_CHECKING:
    from skerry.api.types import core
    from skerry.clock import Clock

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told. None of it may block."""

    def ready(self, ready: bool) -> None:
        """The readiness probe changed its mind."""

    def startup_passed(self) -> None: ...

    def unhealthy(self, kind: Kind, grace: int | None) -> None:
        """The container must be killed (R6); `grace` is the probe's own (R17)."""

    def say(self, reason: str, message: str) -> None:
        """A Warning event."""


class ContainerProbes:
    """The probes of one instance, from `start` to `stop`."""

    def __init__(
        self, container: core.Container, *, ip: str, began: float, run: Exec, clock: Clock, listener: Listener
    ) -> None:
        self._container, self._ip, self._began = container, ip, began
        self._run, self._clock, self._listener = run, clock, listener
        self._tasks: dict[Kind, asyncio.Task[None]] = {}
        self._leaving = False

    def start(self) -> None:
        """Begins; until the startup probe has passed only that runs (R5)."""
        if self._container.startup_probe is not None:
            self._spawn(Kind.STARTUP, self._container.startup_probe)
        else:
            self._others()

    def leave(self) -> None:
        """The pod is being deleted: only readiness goes on (R7)."""
        self._leaving = True
        for kind in (Kind.STARTUP, Kind.LIVENESS):
            task = self._tasks.pop(kind, None)
            if task is not None:
                task.cancel()

    def stop(self) -> None:
        """The instance is no more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _others(self) -> None:
        if self._container.readiness_probe is not None:
            self._spawn(Kind.READINESS, self._container.readiness_probe)
        if self._container.liveness_probe is not None and not self._leaving:
            self._spawn(Kind.LIVENESS, self._container.liveness_probe)

    def _spawn(self, kind: Kind, probe: core.Probe) -> None:
        self._tasks[kind] = asyncio.create_task(self._work(kind, probe), name=f"{kind.value} {self._container.name}")

    async def _work(self, kind: Kind, probe: core.Probe) -> None:
        clock = self._clock
        schedule = Schedule(kind, probe, self._began, clock.now())
        while True:
            pause = schedule.due - clock.now()
            if pause > 0:
                await clock.sleep(pause)
            began = clock.now()
            try:
                outcome = await ask(probe, self._container, self._ip, self._run, schedule.timeout)
            except Exception:  # noqa: BLE001 - a probe that breaks must not end probing
                _log.exception("%s probe of %s", kind.value, self._container.name)
                schedule.record(None, began, clock.now())
                continue
            verdict = schedule.record(outcome.success, began, clock.now())
            if verdict.say:
                what = "errored" if outcome.success is None else "failed"
                self._listener.say("Unhealthy", f"{kind.value} probe {what}: {outcome.output}")
            if verdict.passed is None:
                continue
            if kind is Kind.READINESS:
                self._listener.ready(verdict.passed)
            elif not verdict.passed:
                self._listener.unhealthy(kind, probe.termination_grace_period_seconds)
                return
            elif kind is Kind.STARTUP:
                self._listener.startup_passed()
                self._others()
                return
