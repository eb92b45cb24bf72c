"""When a probe runs and what its outcomes add up to (R1, R3, R4). Pure: time is handed in.

Called by worker.py. Until a container is ready (or started) for the first time its probe runs at once and then after
10 ms, 20 ms, 40 ms ... up to periodSeconds; such extra runs can only make it ready sooner: their failures count at most
once a period. From then on it runs every periodSeconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.api.types import core

FIRST_PAUSE = 0.010


class Kind(enum.Enum):
    """The values are the words of upstream's events."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`passed`: the new result if it changed, else None. `say`: whether this failure deserves an event."""

    passed: bool | None = None
    say: bool = False


class Schedule:
    """One probe of one container instance that began at `begun` (seconds, as all times here)."""

    def __init__(self, kind: Kind, probe: core.Probe, begun: float, now: float) -> None:
        self.kind = kind
        self.period = float(probe.period_seconds or 10)
        self.timeout = float(probe.timeout_seconds or 1)
        self.passed: bool | None = {Kind.READINESS: False, Kind.LIVENESS: True, Kind.STARTUP: None}[kind]
        """R3: what holds before the first result."""
        self._success_threshold = probe.success_threshold or 1
        self._failure_threshold = probe.failure_threshold or 3
        self._fast = kind is not Kind.LIVENESS
        self._pause = FIRST_PAUSE
        self._successes = self._failures = 0
        delay = float(probe.initial_delay_seconds)
        # What has just begun cannot be expected to answer: the first failure that counts is a period later.
        self._count_at = begun + (delay or self.period)
        self._say_at = begun + delay + min(1.0, self.period)
        self.due = max(now, begun + delay if self._fast else self._count_at)
        """When to run next."""

    def record(self, success: bool | None, began: float, now: float) -> Verdict:
        """An outcome of a run from `began` to `now`; None: it could not be run, which changes nothing (R4)."""
        if success:
            self._fast = False
            self._successes, self._failures = self._successes + 1, 0
            flips = self.passed is not True and self._successes >= self._success_threshold
        else:
            counts = now >= self._count_at
            if success is False:
                self._successes = 0
                self._failures += counts
            if counts:
                self._count_at = max(self._count_at + self.period, now + self.period / 2)
            flips = self.passed is not False and self._failures >= self._failure_threshold
        if self._fast:
            self.due = now + self._pause
            self._pause = min(2 * self._pause, self.period)
        else:
            self._count_at = 0.0
            self.due = max(now, began + self.period)
        say = not success and now >= self._say_at
        if say:
            self._say_at = now + self.period / 2
        if not flips:
            return Verdict(None, say)
        self.passed = bool(success)
        return Verdict(self.passed, say)
