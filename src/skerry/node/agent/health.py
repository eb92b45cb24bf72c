"""What a node's status tells beside its being ready: found by housekeeping.py, reported by registration.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.api.types import core


@dataclass
class Health:
    """`disk_pressure`: the disk of pods and images is nearly full. `images`: what Node.status.images says."""

    disk_pressure: bool = False
    images: list[core.ContainerImage] = field(default_factory=list)
    on_change: Callable[[], None] | None = None

    def update(self, *, disk_pressure: bool, images: list[core.ContainerImage]) -> None:
        """Takes what was found; `on_change` is called if it is news."""
        if (disk_pressure, images) != (self.disk_pressure, self.images):
            self.disk_pressure, self.images = disk_pressure, images
            if self.on_change is not None:
                self.on_change()
