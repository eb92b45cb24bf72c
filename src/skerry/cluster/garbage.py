"""What Python's collector of cyclic garbage need not look at. Called by control plane, nodes and proxy once up.

Only that: to come more seldom saves the control plane a few hundredths of a create, and lets what went wrong with a
request, which refers to itself, hold megabytes of bodies and unsent events until then.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """What the process has by now it has for good."""
    gc.collect()
    gc.freeze()
