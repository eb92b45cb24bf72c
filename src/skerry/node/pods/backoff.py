"""How long to wait before trying again (R18): 10 s, doubling to 300 s, forgotten after 10 quiet minutes. Pure.

Called by machine.py, one for a container's restarts and one for its image.
"""

from __future__ import annotations

from dataclasses import dataclass

INITIAL = 10.0
LIMIT = 300.0
FORGET = 2 * LIMIT


@dataclass(slots=True)
class Backoff:
    """`seconds`: the pause that now holds (0: none yet). `since`: when it was last lengthened."""

    seconds: float = 0.0
    since: float = 0.0

    def due(self, at: float) -> float:
        """When what went wrong at `at` may be tried again: at once the first time and after a long quiet time."""
        if not self.seconds or at - self.since > FORGET:
            return at
        return at + self.seconds

    def lengthen(self, at: float, now: float) -> float:
        """Counts a new try at `now` after what went wrong at `at`. Returns the pause that holds from now on."""
        if not self.seconds or at - self.since > FORGET:
            self.seconds = INITIAL
        else:
            self.seconds = min(2 * self.seconds, LIMIT)
        self.since = now
        return self.seconds

    def reset(self) -> None:
        """It went well."""
        self.seconds = 0.0
