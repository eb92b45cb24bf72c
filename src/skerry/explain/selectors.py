"""Which pods come near to a selector: one label that differs, and the nearest match. Pure; called by `why`.

Near is: the same labels but one, or what is only misspelt or under another key. Whose labels share nothing is no miss.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_LIMIT = 3
"""Edits at most that can be a slip; and less than half of the word."""


class Miss(NamedTuple):
    """How far a pod's labels are from a selector; the nearest sorts first.

    `wrong` are the labels that are wanted, in the selector's order, each with what the pod has: a (key, value) pair, or
    None if it has nothing like it.
    """

    missing: int
    edits: int
    wrong: tuple[tuple[str, str, tuple[str, str] | None], ...]


def edits(one: str, other: str) -> int:
    """How many characters must be added, dropped, changed or swapped with their neighbour to make one of the other."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, last, row = row, before, [at]
        for to, wanted in enumerate(other, 1):
            cost = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != wanted))
            if last and to > 1 and letter == other[to - 2] and one[at - 2] == wanted:
                cost = min(cost, last[to - 2] + 1)
            row.append(cost)
    return row[-1]


@functools.lru_cache(maxsize=4096)
def is_slip(one: str, other: str) -> bool:
    """Whether one may be the other misspelt. What differs in digits only is another of a series (`db-0`, `db-1`)."""
    if one == other or not one or not other or abs(len(one) - len(other)) > _LIMIT:
        return False
    bare = [text.translate(_DIGITS) for text in (one, other)]
    if bare[0] == bare[1]:
        return False
    if one.lower() == other.lower():
        return True
    return edits(one, other) <= min(_LIMIT, (max(len(one), len(other)) - 1) // 2)


_DIGITS = str.maketrans("", "", "0123456789")


def miss(selector: Mapping[str, str], labels: Mapping[str, str]) -> Miss | None:
    """How the labels miss the selector; None if they match, or if they are nowhere near."""
    wrong: list[tuple[str, str, tuple[str, str] | None]] = []
    far = 0
    for key, value in selector.items():
        if labels.get(key) == value:
            continue
        nearest = _nearest(key, value, labels)
        wrong.append((key, value, nearest))
        far += nearest is None or not is_slip_pair(nearest, (key, value))
        if far > 1 or far == len(selector):
            return None
    if not wrong:
        return None
    total = sum(
        edits("=".join(nearest), f"{key}={value}") if nearest is not None else len(key) + len(value)
        for key, value, nearest in wrong
    )
    return Miss(len(wrong), total, tuple(wrong))


def is_slip_pair(has: tuple[str, str], wanted: tuple[str, str]) -> bool:
    """Whether a label may be meant for another: the value misspelt, or the same value under another key."""
    return is_slip(has[1], wanted[1]) if has[0] == wanted[0] else has[1] == wanted[1]


def _nearest(key: str, value: str, labels: Mapping[str, str]) -> tuple[str, str] | None:
    if key in labels:
        return key, labels[key]
    renamed = [(edits(one, key), one) for one in labels if labels[one] == value]
    return (min(renamed)[1], value) if renamed else None


def sentence(pod: str, found: Miss) -> str:
    """`Pod web-7f has app=wep; the selector wants app=web.`"""
    has = [f"{nearest[0]}={nearest[1]}" for _, _, nearest in found.wrong if nearest is not None]
    lacks = [key for key, _, nearest in found.wrong if nearest is None]
    said = [f"has {_and(has)}"] if has else []
    said += [f"has no label {_and(lacks)}"] if lacks else []
    wants = _and([f"{key}={value}" for key, value, _ in found.wrong])
    return f"Pod {pod} {' and '.join(said)}; the selector wants {wants}."


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that `name` may be a slip of, or ""."""
    near = [(edits(name, one), one) for one in known if is_slip(name, one)]
    return min(near)[1] if near else ""


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
