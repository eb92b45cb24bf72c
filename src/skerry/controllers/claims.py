"""Which pods belong to an owner: its own that still match its selector, and orphans that do. Pure.

Called by the decisions of everything that owns pods.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from skerry.api import labels
from skerry.api.types import core, meta
from skerry.controllers import owners


@dataclass
class Claim:
    """`pods` are those that belong to the owner once `adopt` and `release` are done."""

    pods: list[core.Pod] = field(default_factory=list)
    adopt: list[core.Pod] = field(default_factory=list)
    release: list[core.Pod] = field(default_factory=list)


def claim(owner: Any, selector: meta.LabelSelector | None, pods: Iterable[core.Pod]) -> Claim:
    """`pods` are the owner's own and the namespace's orphans. An owner that is being deleted takes and lets go none."""
    wanted = labels.from_selector(selector)
    found = Claim()
    going = owner.metadata.deletion_timestamp is not None
    for pod in pods:
        known = owners.controller_of(pod)
        matches = wanted.matches(pod.metadata.labels)
        if known is None:
            if matches and not going and pod.metadata.deletion_timestamp is None:
                found.adopt.append(pod)
                found.pods.append(pod)
        elif known.uid == owner.metadata.uid:
            if matches:
                found.pods.append(pod)
            elif not going:
                found.release.append(pod)
    return found
