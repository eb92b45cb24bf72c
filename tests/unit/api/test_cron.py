"""Schedules of CronJobs: what is one, and when it comes due."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api import cron
from skerry.clock import parse_rfc3339


def due(schedule: str, after: str, times: int = 3, zone: str | None = None) -> list[str]:
    out, now = [], parse_rfc3339(after)
    parsed, where = cron.parse(schedule), cron.zone(zone)
    for _ in range(times):
        found = parsed.after(now, where)
        if found is None:
            break
        out.append(datetime.datetime.fromtimestamp(found, where).strftime("%m-%d %H:%M"))
        now = found
    return out


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("* * * * *", ["01-01 00:01", "01-01 00:02", "01-01 00:03"]),
        ("*/20 * * * *", ["01-01 00:20", "01-01 00:40", "01-01 01:00"]),
        ("5/20 1-2 * * *", ["01-01 01:05", "01-01 01:25", "01-01 01:45"]),
        ("0 9 * * mon-FRI", ["01-01 09:00", "01-02 09:00", "01-05 09:00"]),  # 2026 begins on a Thursday
        ("0 0 1,15 FEB *", ["02-01 00:00", "02-15 00:00", "02-01 00:00"]),
        ("0 0 13 * 5", ["01-02 00:00", "01-09 00:00", "01-13 00:00"]),  # the 13th or a Friday
        ("0 0 13 * ?", ["01-13 00:00", "02-13 00:00", "03-13 00:00"]),
        ("0 0 */10 * 5", ["01-02 00:00", "01-09 00:00", "01-11 00:00"]),
        ("@hourly", ["01-01 01:00", "01-01 02:00", "01-01 03:00"]),
        ("@weekly", ["01-04 00:00", "01-11 00:00", "01-18 00:00"]),
        ("@monthly", ["02-01 00:00", "03-01 00:00", "04-01 00:00"]),
        ("@yearly", ["01-01 00:00", "01-01 00:00", "01-01 00:00"]),
        ("@every 1h30m", ["01-01 01:30", "01-01 03:00", "01-01 04:30"]),
        ("0 0 30 2 *", []),
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00", "02-29 00:00"]),
    ],
)  # fmt: skip
def test_when_it_is_due(schedule: str, wanted: list[str]) -> None:
    assert due(schedule, "2026-01-01T00:00:00Z") == wanted


def test_in_a_zone_that_changes_its_clocks() -> None:
    berlin = "Europe/Berlin"
    assert due("30 2 * * *", "2026-03-27T12:00:00Z", 3, berlin) == ["03-28 02:30", "03-30 02:30", "03-31 02:30"]
    assert due("30 2 * * *", "2026-10-24T12:00:00Z", 3, berlin) == ["10-25 02:30", "10-25 02:30", "10-26 02:30"]
    assert due("0 0 * * *", "2026-06-01T21:00:00Z", 1, berlin) == ["06-02 00:00"]
    with pytest.raises(ValueError, match="unknown time zone Mars/Olympus"):
        cron.zone("Mars/Olympus")
    with pytest.raises(ValueError, match="unknown time zone"):
        cron.zone("../../etc/passwd")


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ("", "empty spec string"),
        ("* * * *", r"expected exactly 5 fields, found 4: \[\* \* \* \*\]"),
        ("60 * * * *", r"end of range \(60\) above maximum \(59\): 60"),
        ("* * 0 * *", r"beginning of range \(0\) below minimum \(1\): 0"),
        ("* * * * 7", r"end of range \(7\) above maximum \(6\): 7"),
        ("5-3 * * * *", r"beginning of range \(5\) beyond end of range \(3\): 5-3"),
        ("*/0 * * * *", r"step of range should be a positive number: \*/0"),
        ("*/1/2 * * * *", r"too many slashes: \*/1/2"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("@often", "unrecognized descriptor: @often"),
        ("@every x", "failed to parse duration @every x"),
        ("0 0 L * *", "failed to parse int from L"),
    ],
)
def test_what_is_none(schedule: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        cron.parse(schedule)


@given(
    st.integers(0, 59), st.integers(0, 23),
    st.sampled_from(["*", "1", "31", "*/7"]), st.sampled_from(["*", "0", "1-5"]),
    st.integers(1_700_000_000, 1_900_000_000), st.sampled_from([None, "Europe/Berlin", "America/St_Johns"]),
)  # fmt: skip
def test_the_next_time_is_the_first_that_matches(
    minute: int, hour: int, day: str, weekday: str, now: int, name: str | None
) -> None:
    zone = cron.zone(name)
    parsed = cron.parse(f"{minute} {hour} {day} * {weekday}")
    found = parsed.after(float(now), zone)
    assert found is not None and found > now
    wall = datetime.datetime.fromtimestamp(found, zone)
    assert (wall.hour, wall.minute, wall.second) == (hour, minute, 0)
    assert parsed.after(found - 1, zone) == found
    assert parsed.after((now + found) // 2, zone) == found
