"""The timestamp of what caused a write (E43, E48). Called by the controller's shell before each decision.

Consumers subtract it from now to learn how long a change took to reach them, so it must be the earliest cause that
has not been told yet. What was told is kept apart from what is being decided: the shell keeps the new memory only
after the write went through, so that a failed write does not lose its cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skerry import clock
from skerry.api.types import core
from skerry.controllers.endpoints import members


@dataclass(frozen=True, slots=True)
class Memory:
    """What the last sync of one Service saw: its creation, and since when each pod has been (not) ready."""

    created: str = ""
    pods: Mapping[str, str] = field(default_factory=dict)


def observe(memory: Memory | None, service: core.Service, pods: Iterable[core.Pod]) -> tuple[str, Memory]:
    """(the trigger time as RFC3339, or "" for none; what to remember once it is written).

    `memory` is None when the Service has never been synced.
    """
    created = service.metadata.creation_timestamp or ""
    now = Memory(created, {one.metadata.name: members.ready_since(one) for one in pods})
    if memory is None:
        return _text(created), now
    causes = [since for name, since in now.pods.items() if later(since, memory.pods.get(name, ""))]
    if later(created, memory.created):
        causes.append(created)
    return _text(min(causes, key=clock.parse_rfc3339, default="")), now


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
