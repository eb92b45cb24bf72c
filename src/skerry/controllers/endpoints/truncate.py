"""At most 1000 addresses in one Endpoints object (E35-E38). Called by `roster` with the sizes of packed subsets."""

from __future__ import annotations

from collections.abc import Sequence

CAPACITY = 1000
ANNOTATION = "endpoints.kubernetes.io/over-capacity"
TRUNCATED = "truncated"


def shares(sizes: Sequence[tuple[int, int]], capacity: int = CAPACITY) -> tuple[list[tuple[int, int]], bool]:
    """(how many (ready, not ready) addresses of each subset stay, whether any had to go).

    Ready addresses come first; what is left of the capacity, or all of it, is shared out in proportion, rounded up
    for each subset until nothing is left.
    """
    ready, waiting = sum(one for one, _ in sizes), sum(one for _, one in sizes)
    if ready + waiting <= capacity:
        return list(sizes), False
    if ready <= capacity:
        kept = _proportional([one for _, one in sizes], capacity - ready)
        return [(one, share) for (one, _), share in zip(sizes, kept, strict=True)], True
    return [(share, 0) for share in _proportional([one for one, _ in sizes], capacity)], True


def _proportional(sizes: Sequence[int], room: int) -> list[int]:
    total, left = sum(sizes), room
    out: list[int] = []
    for size in sizes:
        share = min(-(-size * room // total), left)
        out.append(share)
        left -= share
    return out
