"""Whether the kernel killed for want of memory, where no cgroup of the container's own tells.

Called by pods.py. /proc/vmstat counts such kills of the whole machine: if a process was ended by a SIGKILL that nobody
here sent, and the count has just grown, that was it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class KernelKills:
    """Compares counts over time. `sample` is to be called now and then: the pause between is what "just" means."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        # Two samples back: one taken between the kill and the news of it must not hide it.
        self._before = self._latest = count()

    def sample(self) -> None:
        self._before, self._latest = self._latest, self._count()

    def just_now(self) -> bool:
        return self._count() > self._before


def machine_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started; 0 where it does not say."""
    try:
        with open("/proc/vmstat") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
