"""At most 1000 addresses in one Endpoints object (E35-E38). Called by `endpoints` with packed subsets."""

from __future__ import annotations

import msgspec

from skerry.api.types import core

CAPACITY = 1000
ANNOTATION = "endpoints.kubernetes.io/over-capacity"
TRUNCATED = "truncated"


def truncate(subsets: list[core.EndpointSubset], capacity: int = CAPACITY) -> tuple[list[core.EndpointSubset], bool]:
    """(the subsets with at most `capacity` addresses, whether any had to go).

    Ready addresses come first; what is left of the capacity, or all of it, is shared out in proportion, rounded up
    for each subset until nothing is left. The given subsets are not changed.
    """
    ready = sum(len(one.addresses) for one in subsets)
    waiting = sum(len(one.not_ready_addresses) for one in subsets)
    if ready + waiting <= capacity:
        return subsets, False
    cut: list[core.EndpointSubset] = []
    if ready <= capacity:
        shares = _shares([len(one.not_ready_addresses) for one in subsets], capacity - ready)
        for one, share in zip(subsets, shares, strict=True):
            cut.append(msgspec.structs.replace(one, not_ready_addresses=one.not_ready_addresses[:share]))
    else:
        shares = _shares([len(one.addresses) for one in subsets], capacity)
        for one, share in zip(subsets, shares, strict=True):
            cut.append(msgspec.structs.replace(one, addresses=one.addresses[:share], not_ready_addresses=[]))
    return cut, True


def _shares(sizes: list[int], room: int) -> list[int]:
    total, left = sum(sizes), room
    out: list[int] = []
    for size in sizes:
        share = min(-(-size * room // total), left)
        out.append(share)
        left -= share
    return out
