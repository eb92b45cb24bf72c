"""How long something has lasted, in as few characters as people need (T3). Called by the printed columns."""

from __future__ import annotations

from skerry.clock import parse_rfc3339

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human(seconds: float) -> str:
    """`95s`, `3m20s`, `5h12m`, `4d3h`, `3y20d`; `<invalid>` for what lies more than a second in the future."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def _two(whole: int, large: int, first: str, small: int, second: str) -> str:
    rest = whole % large // small
    return f"{whole // large}{first}{rest}{second}" if rest else f"{whole // large}{first}"


def since(timestamp: str | None, now: float) -> str:
    """The age of a Time at `now` (seconds since 1970); `<unknown>` if there is none."""
    if not timestamp:
        return "<unknown>"
    try:
        return human(now - parse_rfc3339(timestamp))
    except ValueError:
        return "<unknown>"
