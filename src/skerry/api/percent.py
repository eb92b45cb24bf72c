"""Amounts that are a number or a percentage of another one, as maxUnavailable and minAvailable are. Pure."""

from __future__ import annotations


def scaled(value: int | str | None, of: int, *, up: bool) -> int:
    """The number that is meant; a percentage of `of` is rounded up or down. Nothing means 0."""
    if value is None or isinstance(value, int):
        return value or 0
    hundredths = int(value.rstrip("%")) * of
    return -(-hundredths // 100) if up else hundredths // 100
