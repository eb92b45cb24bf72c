"""How much Python's collector of cyclic garbage has to look at. Called by control plane, nodes and proxy once up.

What a process has by then it has for good, so it is not looked at again. Most objects end without the collector's help;
it walks over those that happen to live when it comes, and the control plane has thousands: of the requests that wait
for the disk. Coming seldom, it finds next to none, at the price of a few megabytes of garbage.
"""

from __future__ import annotations

import gc

SELDOM = 50_000
"""New objects between two looks; Python's own number is 700."""


def settle(*, seldom: bool = False) -> None:
    """The process is up. `seldom`: it handles so much at a time that looking often costs more than it frees."""
    gc.collect()
    gc.freeze()
    if seldom:
        gc.set_threshold(SELDOM, 20, 100)
