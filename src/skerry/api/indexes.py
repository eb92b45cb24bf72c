"""Completion indexes of Indexed Jobs as text: `0,3-5,8`. Pure; called by validation and by the Job controller."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def text(indexes: Iterable[int]) -> str:
    """Sorted, runs of three or more (and of two) as ranges: `0,2-4`."""
    out: list[str] = []
    first = last = -2
    for one in [*sorted(set(indexes)), None]:
        if one is not None and one == last + 1:
            last = one
            continue
        if last >= 0:
            out.append(str(first) if first == last else f"{first}-{last}")
        if one is not None:
            first = last = one
    return ",".join(out)


def parse(said: str, limit: int) -> list[tuple[int, int]]:
    """Ranges (first, last), which must grow and be below `limit`. ValueError with upstream's words."""
    out: list[tuple[int, int]] = []
    for part in said.split(",") if said else ():
        found = _PART.fullmatch(part)
        if found is None:
            wrong = next((one for one in part.split("-") if not one.isdigit()), part)
            raise ValueError(f"cannot convert string to integer for index: {wrong!r}".replace("'", '"'))
        first, last = int(found[1]), int(found[2] or found[1])
        for one in (first, last):
            if one >= limit:
                raise ValueError(f"too large index: {str(one)!r}".replace("'", '"'))
        if out and first <= out[-1][1]:
            raise ValueError(f"non-increasing order, previous: {out[-1][1]}, current: {first}")
        if found[2] and last <= first:
            raise ValueError(f"non-increasing order, previous: {first}, current: {last}")
        out.append((first, last))
    return out


def numbers(said: str | None, limit: int) -> set[int]:
    """The indexes of a text that is known to be good; those at or above `limit` are left out."""
    out: set[int] = set()
    for part in (said or "").split(",") if said else ():
        first, _, last = part.partition("-")
        out.update(range(int(first), min(int(last or first), limit - 1) + 1))
    return out
