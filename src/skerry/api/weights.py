"""How much of a Service's new connections a pod gets, as its annotation says and as EndpointSlices pass it on. Pure.

Called by the endpoints controller, which writes for each slice the weights of those of its endpoints that have another
one than most, and by the proxy, which reads them. A slice is the only thing of a pod that every proxy follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

WEIGHT = "skerry.dev/weight"
"""On a pod: 0 to 100, compared with the weights of the Service's other pods."""

WEIGHTS = "skerry.dev/weights"
"""On an EndpointSlice: a JSON object of addresses and weights, for those that have not the usual one."""

USUAL = 100
"""What a pod weighs that says nothing."""


def parse(said: str) -> int | None:
    """The weight that an annotation's value means, None if it means none."""
    if not (said.isascii() and said.isdigit() and len(said) <= 3):
        return None
    weight = int(said)
    return weight if weight <= USUAL else None


def encode(weights: Mapping[str, int]) -> str:
    """Weights by address as a slice's annotation has them; "" where all are as usual."""
    unusual = {address: weight for address, weight in sorted(weights.items()) if weight != USUAL}
    return msgspec.json.encode(unusual).decode() if unusual else ""


def decode(said: str) -> dict[str, int]:
    """What a slice's annotation says. What is not understood, in a slice that somebody wrote by hand, is as usual."""
    if not said:
        return {}
    try:
        found: Any = msgspec.json.decode(said)
    except msgspec.DecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        address: weight
        for address, weight in found.items()
        if isinstance(weight, int) and not isinstance(weight, bool) and 0 <= weight <= USUAL
    }
