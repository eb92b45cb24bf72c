"""Weights as repetitions: a backend that shall get more connections is in its list more often. Pure.

Called by brain.py. The back ends choose each place of a list alike, so neither they nor the kernel know of weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from skerry.proxy.endpoints import Candidate
from skerry.proxy.table import Backend

PLACES_MOST = 1000
"""Places of a list at most, or as many as backends if those are more: shares are exact to a thousandth."""


def places(chosen: Sequence[Candidate]) -> tuple[Backend, ...]:
    """The backends, each as often as its weight says, in the fewest places that do."""
    first = chosen[0].weight if chosen else 0
    if all(one.weight == first for one in chosen):
        return tuple(one.backend for one in chosen)
    counts = _counts([one.weight for one in chosen])
    return tuple(_repeated(chosen, counts))


def _repeated(chosen: Sequence[Candidate], counts: Sequence[int]) -> Iterator[Backend]:
    for one, count in zip(chosen, counts, strict=True):
        yield from [one.backend] * count


def _counts(weights: Sequence[int]) -> list[int]:
    """Whole numbers in the same proportions, not all of which are 0; where they would be too many, nearly."""
    divisor = math.gcd(*weights)
    exact = [weight // divisor for weight in weights]
    most = max(PLACES_MOST, len(weights))
    if sum(exact) <= most:
        return exact
    total = sum(weights)
    shares = [weight * most / total for weight in weights]
    return [max(1, round(share)) if weight else 0 for share, weight in zip(shares, weights, strict=True)]
