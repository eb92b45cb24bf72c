"""Defaults of LimitRange."""

from __future__ import annotations

from skerry.api.types import core


def limitrange(obj: core.LimitRange) -> None:
    """What a container gets: the maximum where there is no default, as a request what it gets as a limit."""
    for item in obj.spec.limits:
        if item.type == "Container":
            item.default = {**item.max, **item.default}
            item.default_request = {**item.min, **item.default, **item.default_request}
