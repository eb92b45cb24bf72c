"""Which Job of a CronJob is started now, which are removed, and when to look again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

import msgspec

from skerry.api import cron
from skerry.api.types import batch, core, meta
from skerry.clock import parse_rfc3339, rfc3339
from skerry.controllers import owners
from skerry.controllers.job.decide import ended

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY = 100
"""Times missed in a row after which something must be wrong with a clock or with the schedule."""
_TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"


@dataclass
class Decision:
    """`create` is a Job that is due. `replace` go before it, `expire` are old. `wait`: seconds until the next is due.

    `status` is without what is created; see `started`.
    """

    status: batch.CronJobStatus
    create: batch.Job | None = None
    replace: list[batch.Job] = field(default_factory=list)
    expire: list[batch.Job] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    wait: float | None = None


def decide(cronjob: batch.CronJob, jobs: Sequence[batch.Job], now: float) -> Decision:
    """The next step. `jobs` are the CronJob's own."""
    out = Decision(msgspec.structs.replace(cronjob.status))
    _see(cronjob, jobs, out)
    if cronjob.metadata.deletion_timestamp is not None:
        return out
    out.expire = _expired(cronjob, jobs)
    if cronjob.spec.suspend:
        return out
    try:
        schedule, zone = cron.parse(cronjob.spec.schedule), cron.zone(cronjob.spec.time_zone)
    except ValueError as error:
        text = f'unparseable schedule "{cronjob.spec.schedule}": {error}'
        out.events.append(("Warning", "UnparseableSchedule", text))
        return out
    due = _due(cronjob, schedule, zone, now, out)
    following = schedule.after(now, zone)
    out.wait = following - now if following is not None else None
    if due is not None:
        _start(cronjob, jobs, due, zone, out)
    return out


def _see(cronjob: batch.CronJob, jobs: Sequence[batch.Job], out: Decision) -> None:
    """Brings the list of active Jobs up to date, and says what has become of them."""
    known = {one.uid: one for one in cronjob.status.active}
    here = {one.metadata.uid: one for one in jobs}
    active: list[core.ObjectReference] = []
    for ref in cronjob.status.active:
        job = here.get(ref.uid)
        if job is None:
            text = f"Active job went missing: {ref.name}"
            out.events.append(("Normal", "MissingJob", text))
            continue
        over = ended(job)
        if over is None:
            active.append(ref)
            continue
        text = f"Saw completed job: {ref.name}, condition: {over.type}"
        out.events.append(("Normal", "SawCompletedJob", text))
    for job in jobs:
        over = ended(job)
        if over is None and job.metadata.uid not in known and job.metadata.deletion_timestamp is None:
            text = f"Saw a job that the controller did not create or forgot: {job.metadata.name}"
            out.events.append(("Warning", "UnexpectedJob", text))
        last = out.status.last_successful_time
        done = job.status.completion_time
        if over is not None and over.type == "Complete" and done and (not last or done > last):
            out.status.last_successful_time = done
    out.status.active = active


def _due(cronjob: batch.CronJob, schedule: cron.Schedule, zone: tzinfo, now: float, out: Decision) -> float | None:
    """The newest time that has come since the last one; None if there is none, or if it is too late for it."""
    since = cronjob.status.last_schedule_time or cronjob.metadata.creation_timestamp
    earliest = parse_rfc3339(since) if since else now
    deadline = cronjob.spec.starting_deadline_seconds
    if deadline is not None:
        earliest = max(earliest, now - deadline)
    missed, newest = 0, None
    moment = schedule.after(earliest, zone)
    while moment is not None and moment <= now:
        missed, newest = missed + 1, moment
        following = schedule.after(moment, zone)
        if missed > MANY and following is not None:
            newest = _newest(schedule, zone, moment, now)
            break
        moment = following
    if missed > MANY:
        out.events.append(("Warning", "TooManyMissedTimes", _TOO_MANY))
    if newest is not None and deadline is not None and newest + deadline < now:
        told = datetime.fromtimestamp(newest, zone).strftime("%a, %d %b %Y %H:%M:%S %z")
        out.events.append(("Warning", "MissSchedule", f"Missed scheduled time to start a job: {told}"))
        return None
    return newest


def _newest(schedule: cron.Schedule, zone: tzinfo, low: float, now: float) -> float:
    """The last due time up to now, found by halves: there may be a million in between. `low` is one of them."""
    if schedule.every:
        return low + (now - low) // schedule.every * schedule.every
    best, high = low, now
    while high - low > 1:
        middle = (low + high) // 2
        found = schedule.after(middle, zone)
        if found is not None and found <= now:
            best = low = max(found, middle)
        else:
            high = middle
    return best


def _start(cronjob: batch.CronJob, jobs: Sequence[batch.Job], due: float, zone: tzinfo, out: Decision) -> None:
    name = job_name(cronjob, due)
    if any(one.name == name for one in out.status.active) or _was_started(cronjob, due):
        return
    policy = cronjob.spec.concurrency_policy
    if policy == "Forbid" and out.status.active:
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        out.events.append(("Normal", "JobAlreadyActive", text))
        return
    if policy == "Replace":
        uids = {one.uid for one in out.status.active}
        out.replace = [one for one in jobs if one.metadata.uid in uids]
        out.status.active = []
    out.create = new_job(cronjob, name, _local(due, zone))


def _was_started(cronjob: batch.CronJob, due: float) -> bool:
    last = cronjob.status.last_schedule_time
    return bool(last) and parse_rfc3339(last or "") >= due


def _local(time: float, zone: tzinfo) -> str:
    text = datetime.fromtimestamp(time, zone).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")


def job_name(cronjob: batch.CronJob, due: float) -> str:
    """One name a minute: a Job that was started and forgotten is not started again."""
    return f"{cronjob.metadata.name}-{int(due) // 60}"


def new_job(cronjob: batch.CronJob, name: str, scheduled: str) -> batch.Job:
    """The Job of one time."""
    template = cronjob.spec.job_template
    return batch.Job(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=cronjob.metadata.namespace,
            labels=template.metadata.labels,
            annotations={**template.metadata.annotations, SCHEDULED: scheduled},
            owner_references=[owners.reference(cronjob)],
        ),
        spec=template.spec,
    )


def started(known: batch.CronJobStatus, job: batch.Job) -> batch.CronJobStatus:
    """The status with a Job that was started."""
    ref = core.ObjectReference(
        kind="Job",
        api_version=job.api_version,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uid=job.metadata.uid,
        resource_version=job.metadata.resource_version,
    )
    due = parse_rfc3339(job.metadata.annotations[SCHEDULED])
    return msgspec.structs.replace(known, active=[*known.active, ref], last_schedule_time=rfc3339(due))


def _expired(cronjob: batch.CronJob, jobs: Iterable[batch.Job]) -> list[batch.Job]:
    """Jobs that have ended, beyond the history limits, the oldest first."""
    done: dict[str, list[batch.Job]] = {"Complete": [], "Failed": []}
    for one in jobs:
        over = ended(one)
        if over is not None and one.metadata.deletion_timestamp is None:
            done[over.type].append(one)
    out: list[batch.Job] = []
    for kind, limit in (
        ("Complete", cronjob.spec.successful_jobs_history_limit),
        ("Failed", cronjob.spec.failed_jobs_history_limit),
    ):
        if limit is not None:
            found = sorted(done[kind], key=lambda one: (one.status.start_time or "", one.metadata.name))
            out += found[: max(0, len(found) - limit)]
    return out
