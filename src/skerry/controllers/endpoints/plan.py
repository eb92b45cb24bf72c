"""What the controllers decided to write of a Service's slices. Made by placement.py and mirroring.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from skerry.api.types import discovery


@dataclass
class Plan:
    """What to write, in this order (L32), and which Nodes were looked for in vain (L19).

    `problems` says for each address type why mode Auto gives no hints, "" where it does (L39); `added` and `removed`
    count endpoints.
    """

    create: list[discovery.EndpointSlice] = field(default_factory=list)
    update: list[discovery.EndpointSlice] = field(default_factory=list)
    delete: list[discovery.EndpointSlice] = field(default_factory=list)
    missing_nodes: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    by_zone: dict[str, Counter[str]] = field(default_factory=dict)
    added: int = 0
    removed: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.create or self.update or self.delete)
