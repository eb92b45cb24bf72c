"""Which images are to go: unused ones, when the disk is full or when they have not been used for long. Pure.

Called by housekeeping.py. The rules are the kubelet's: above a high mark the images that were used least recently go
until the disk is below a low mark; what came in the last minutes stays, and so does what was loaded by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Disk(NamedTuple):
    """The disk that holds the images, in bytes. `available`: to us."""

    size: int
    available: int


class Kept(NamedTuple):
    """An image on disk. `names`: every reference to it. `layers`: its layers' sizes in bytes, by name.

    `used`: when it was last asked for or in use; `loaded`: by hand. Times are seconds since 1970.
    """

    id: str
    names: tuple[str, ...]
    layers: dict[str, int]
    used: float
    loaded: bool = False


class Policy(NamedTuple):
    """`high`, `low`: percent of the disk in use. Ages in seconds."""

    high: int = 85
    low: int = 80
    min_age: float = 120.0
    max_age: float = 30 * 86400.0


class Decision(NamedTuple):
    """`remove`: images, in this order. `wanted`, `found`: bytes to be freed, and to be had by removing those."""

    remove: list[Kept]
    wanted: int = 0
    found: int = 0


def decide(
    images: Sequence[Kept], in_use: Collection[str], disk: Disk, now: float, policy: Policy | None = None
) -> Decision:
    """What to remove. `in_use`: names of images that pods need; one used name keeps an image."""
    policy = policy or Policy()
    wanted = to_free(disk, policy)
    free = [
        one
        for one in images
        if not one.loaded and now - one.used >= policy.min_age and not any(name in in_use for name in one.names)
    ]
    free.sort(key=lambda one: (one.used, one.id))
    holders = _holders(images)
    removed: list[Kept] = []
    found = 0
    for one in free:
        if found < wanted or now - one.used >= policy.max_age:
            removed.append(one)
            found += _release(one, holders)
    return Decision(removed, wanted, found)


def to_free(disk: Disk, policy: Policy) -> int:
    """Bytes, 0 as long as the disk is below the high mark."""
    if disk.size <= 0 or 100 - disk.available * 100 // disk.size < policy.high:
        return 0
    return max(0, disk.size * (100 - policy.low) // 100 - disk.available)


def _holders(images: Iterable[Kept]) -> dict[str, int]:
    """How many images have a layer."""
    out: dict[str, int] = {}
    for one in images:
        for layer in one.layers:
            out[layer] = out.get(layer, 0) + 1
    return out


def _release(one: Kept, holders: dict[str, int]) -> int:
    """Bytes of the layers that no other image has any more."""
    freed = 0
    for layer, size in one.layers.items():
        holders[layer] -= 1
        if not holders[layer]:
            freed += size
    return freed
