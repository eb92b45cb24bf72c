"""Schedules of CronJobs: five fields or a name like @daily, and when they come due. Pure.

Called by validation and by the CronJob controller. The dialect is that of the Go library which upstream uses: names of
months and days, steps, `?` for `*`, days 0-6, and a day that matches either of the two day fields if both are said.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from dataclasses import dataclass
from typing import NamedTuple

_YEARS = 5
"""A schedule that has not come due for so long (February 30th) never does."""


class _Bounds(NamedTuple):
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (_Bounds(0, 59), _Bounds(0, 23), _Bounds(1, 31), _Bounds(1, 12, _MONTHS, 1), _Bounds(0, 6, _DAYS))
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|us|µs|ns|m|s)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """`every`: seconds between two times, for `@every`; otherwise what each field allows."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    either_day: bool = False
    every: int = 0

    def after(self, time: float, zone: datetime.tzinfo = datetime.UTC) -> float | None:
        """The first due time later than `time` (both seconds since 1970), by the clocks of a zone; None: never.

        Hours that a zone leaves out are left out, hours that it has twice come twice.
        """
        if self.every:
            return float(int(time) + self.every)
        moment = (int(time) // 60 + 1) * 60
        last = datetime.datetime.fromtimestamp(moment, zone).year + _YEARS
        while True:
            wall = datetime.datetime.fromtimestamp(moment, zone)
            if wall.year > last:
                return None
            if wall.month not in self.months:
                year, month = (wall.year + 1, 1) if wall.month == 12 else (wall.year, wall.month + 1)
                moment = int(datetime.datetime(year, month, 1, tzinfo=zone).timestamp())
            elif not self._on(wall):
                day = wall.date() + datetime.timedelta(days=1)
                moment = int(datetime.datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
            elif wall.hour not in self.hours:
                moment += 3600 - wall.minute * 60 - wall.second
            elif wall.minute not in self.minutes:
                moment += 60 - wall.second
            else:
                return float(moment)

    def _on(self, wall: datetime.datetime) -> bool:
        by_number, by_name = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return by_number or by_name if self.either_day else by_number and by_name


def parse(text: str) -> Schedule:
    """A schedule as `spec.schedule` has it. ValueError with upstream's words."""
    if not text:
        raise ValueError("empty spec string")
    if text.startswith(_EVERY):
        return Schedule(every=max(1, int(duration(text.removeprefix(_EVERY)))))
    if text.startswith("@"):
        known = _NAMED.get(text)
        if known is None:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = known
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    parsed = [_field(one, bounds) for one, bounds in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = (values for values, _ in parsed)
    either = not parsed[2][1] and not parsed[4][1]
    return Schedule(minutes, hours, days, months, weekdays, either)


def zone(name: str | None) -> datetime.tzinfo:
    """The time zone of `spec.timeZone`; UTC for None. ValueError if there is none of that name."""
    if name is None or name == "UTC":
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name}") from None


def duration(text: str) -> float:
    """A Go duration (`1h30m`) in seconds. ValueError if it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"failed to parse duration {_EVERY}{text}: invalid duration {text!r}".replace("'", '"'))
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _field(text: str, bounds: _Bounds) -> tuple[frozenset[int], bool]:
    """What a field allows, and whether it says `*` (or `?`), which decides how the two day fields go together."""
    values: set[int] = set()
    star = False
    for one in text.split(","):
        if one:
            found, any_ = _range(one, bounds)
            values |= found
            star |= any_
    return frozenset(values), star


def _range(text: str, bounds: _Bounds) -> tuple[set[int], bool]:
    span, *steps = text.split("/")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    low, *rest = span.split("-")
    star = low in ("*", "?")
    if star:
        start, end = bounds.low, bounds.high
    else:
        start = _value(low, bounds)
        if len(rest) > 1:
            raise ValueError(f"too many hyphens: {text}")
        end = _value(rest[0], bounds) if rest else bounds.high if steps else start
    step = _number(steps[0]) if steps else 1
    if start < bounds.low:
        raise ValueError(f"beginning of range ({start}) below minimum ({bounds.low}): {text}")
    if end > bounds.high:
        raise ValueError(f"end of range ({end}) above maximum ({bounds.high}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return set(range(start, end + 1, step)), star and step == 1


def _value(text: str, bounds: _Bounds) -> int:
    if text.lower() in bounds.names:
        return bounds.names.index(text.lower()) + bounds.first
    return _number(text)


def _number(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]+", text):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise ValueError(f"negative number ({number}) not allowed: {text}")
    return number
