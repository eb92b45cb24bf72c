"""The timestamp of what caused a write (E43, E48). Called by the controller's shell before each decision.

Consumers subtract it from now to learn how long a change took to reach them, so it must be the earliest cause that
has not been told yet. What was told is kept apart from what is being decided: the shell calls `told` only after the
write went through, so that a failed write does not lose its cause.
"""

from __future__ import annotations

from skerry import clock
from skerry.api.types import core
from skerry.controllers.endpoints import members


class Causes:
    """What one Service's consumers have been told, and what they have not: each pod's last change of readiness."""

    def __init__(self) -> None:
        self._created: str | None = None  # the Service's creation; None: never told anything
        self._told: dict[str, str] = {}  # pod -> since when it has been (not) ready
        self._untold: dict[str, str | None] = {}  # the same, None for a pod that is gone

    def put(self, pod: core.Pod) -> None:
        """Takes in a pod that the selector matches, in place of what was known of it."""
        name, since = members.key(pod), members.ready_since(pod)
        if self._told.get(name) == since:
            self._untold.pop(name, None)
        else:
            self._untold[name] = since

    def remove(self, name: str) -> None:
        """Forgets a pod; unknown ones are fine."""
        if name in self._told:
            self._untold[name] = None
        else:
            self._untold.pop(name, None)

    def keep_only(self, names: set[str]) -> None:
        """Forgets all other pods."""
        for name in (self._told.keys() | self._untold.keys()) - names:
            self.remove(name)

    def time(self, service: core.Service) -> str:
        """The trigger time to tell as RFC3339, or "" for none.

        The first time it is the Service's creation; then the earliest change of readiness that was not told, or the
        creation of a Service that took the name of another.
        """
        created = service.metadata.creation_timestamp or ""
        if self._created is None:
            return _text(created)
        causes = [since for name, since in self._untold.items() if since and later(since, self._told.get(name, ""))]
        if later(created, self._created):
            causes.append(created)
        return _text(min(causes, key=clock.parse_rfc3339, default=""))

    def told(self, service: core.Service) -> None:
        """What was put so far has been told."""
        self._created = service.metadata.creation_timestamp or ""
        for name, since in self._untold.items():
            if since is None:
                del self._told[name]
            else:
                self._told[name] = since
        self._untold.clear()


def later(one: str, other: str) -> bool:
    """Whether a Time is later than another; "" is the zero time."""
    if one == other or not one:
        return False
    return not other or clock.parse_rfc3339(one) > clock.parse_rfc3339(other)


def _text(time: str) -> str:
    """UTC, with a fraction only where there is one."""
    if not time or (time.endswith("Z") and not time.rstrip("Z").endswith("0") and "." in time):
        return time
    if len(time) == 20 and time.endswith("Z"):
        return time
    seconds = clock.parse_rfc3339(time)
    if seconds == int(seconds):
        return clock.rfc3339(seconds)
    return clock.rfc3339_micro(seconds).rstrip("Z").rstrip("0") + "Z"
