"""Which Jobs of a CronJob are started and removed, and when."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.api.types import batch, core, meta
from skerry.clock import parse_rfc3339, rfc3339
from skerry.controllers.cronjob import decide

NOON = parse_rfc3339("2026-01-01T12:00:00Z")


def cronjob(schedule: str = "*/10 * * * *", last: str | None = "2026-01-01T11:50:00Z", **spec: Any) -> batch.CronJob:
    active = [core.ObjectReference(name=name, uid=name) for name in spec.pop("active", ())]
    spec.setdefault("concurrency_policy", "Allow")
    return batch.CronJob(
        metadata=meta.ObjectMeta(
            name="tick", namespace="default", uid="c", creation_timestamp="2026-01-01T00:00:00Z"
        ),
        spec=batch.CronJobSpec(schedule=schedule, **spec),
        status=batch.CronJobStatus(last_schedule_time=last, active=active),
    )  # fmt: skip


def job(name: str, state: str = "", at: float = NOON - 600) -> batch.Job:
    done = [batch.JobCondition(type=state, status="True")] if state else []
    return batch.Job(
        metadata=meta.ObjectMeta(name=name, uid=name),
        status=batch.JobStatus(
            conditions=done, start_time=rfc3339(at), completion_time=rfc3339(at + 5) if state == "Complete" else None
        ),
    )


def said(found: decide.Decision) -> list[str]:
    return [reason for _, reason, _ in found.events]


@pytest.mark.parametrize(
    ("made", "now", "wanted"),
    [
        (cronjob(), NOON - 1, None),
        (cronjob(), NOON, NOON),
        (cronjob(), NOON + 300, NOON),  # late is better than never
        (cronjob(last="2026-01-01T11:20:00Z"), NOON + 300, NOON),  # of several that were missed the last
        (cronjob(starting_deadline_seconds=299), NOON + 300, None),
        (cronjob(starting_deadline_seconds=301), NOON + 300, NOON),
        (cronjob(suspend=True), NOON, None),
        (cronjob(last=None), NOON, NOON),
        (cronjob("0 13 * * *", time_zone="Europe/Berlin"), NOON, NOON),
        (cronjob("@every 10m"), NOON, NOON),
    ],
)  # fmt: skip
def test_when(made: batch.CronJob, now: float, wanted: float | None) -> None:
    found = decide.decide(made, [], now)
    started = found.create
    assert (started is not None) == (wanted is not None)
    if started is not None and wanted is not None:
        assert started.metadata.name == f"tick-{int(wanted) // 60}"
        after = decide.started(found.status, started)
        assert after.last_schedule_time == rfc3339(wanted) and [one.name for one in after.active]
    assert (found.wait is None) == bool(made.spec.suspend)


def test_the_time_is_told_by_its_own_clocks() -> None:
    found = decide.decide(cronjob("0 13 * * *", time_zone="Europe/Berlin"), [], NOON).create
    assert found is not None and found.metadata.annotations == {decide.SCHEDULED: "2026-01-01T13:00:00+01:00"}


def test_too_many_missed() -> None:
    found = decide.decide(cronjob("* * * * *", "2025-06-01T00:00:30Z"), [], NOON + 5)
    assert "TooManyMissedTimes" in said(found)
    assert found.create is not None and found.create.metadata.name == f"tick-{int(NOON) // 60}"
    found = decide.decide(cronjob("@every 1m", "2025-06-01T00:00:30Z"), [], NOON + 5)
    assert found.create is not None


def test_one_that_still_runs() -> None:
    running = [job("tick-1")]
    assert decide.decide(cronjob(active=["tick-1"]), running, NOON).create is not None
    found = decide.decide(cronjob(active=["tick-1"], concurrency_policy="Forbid"), running, NOON)
    assert found.create is None and said(found) == ["JobAlreadyActive"]
    found = decide.decide(cronjob(active=["tick-1"], concurrency_policy="Replace"), running, NOON)
    assert found.create is not None and [one.metadata.name for one in found.replace] == ["tick-1"]
    assert found.status.active == []


def test_what_became_of_its_jobs() -> None:
    made = cronjob(active=["a", "b", "gone"])
    found = decide.decide(made, [job("a", "Complete"), job("b"), job("mine")], NOON - 1)
    assert [one.name for one in found.status.active] == ["b"]
    assert said(found) == ["SawCompletedJob", "MissingJob", "UnexpectedJob"]
    assert found.status.last_successful_time == rfc3339(NOON - 595)


def test_history() -> None:
    jobs = [job(f"good-{one}", "Complete", NOON - 1000 + one) for one in range(4)]
    jobs += [job(f"bad-{one}", "Failed", NOON - 1000 + one) for one in range(3)]
    made = cronjob(successful_jobs_history_limit=3, failed_jobs_history_limit=1, suspend=True)
    assert [one.metadata.name for one in decide.decide(made, jobs, NOON).expire] == ["good-0", "bad-0", "bad-1"]


def test_a_schedule_that_is_none() -> None:
    assert said(decide.decide(cronjob("nonsense"), [], NOON)) == ["UnparseableSchedule"]
