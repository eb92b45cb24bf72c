"""Host names of listeners and routes: which both mean, and whose a name is. Pure. Called by desired.py.

A wildcard of the Gateway API stands for one label or more, unlike one of Ingress. "" means every host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"(\*\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def sound(pattern: str) -> bool:
    """Can Envoy be told this, a lower-case name or wildcard, or ""?"""
    return not pattern or (len(pattern) < 254 and _NAME.fullmatch(pattern) is not None)


def both(one: str, other: str) -> str | None:
    """The hosts that two patterns both mean, which is one of them; None if there are none."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def covers(pattern: str, host: str) -> bool:
    """Does a pattern mean everything that `host`, a name or a pattern, means?"""
    if pattern in ("", host):
        return True
    return pattern.startswith("*.") and host != "" and host.endswith(pattern[1:])


def closest(patterns: Iterable[str], host: str) -> str | None:
    """The pattern that says most of those that cover a host."""
    return max((one for one in patterns if covers(one, host)), key=lambda one: (one == host, len(one)), default=None)
