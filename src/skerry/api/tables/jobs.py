"""Job and CronJob."""

from __future__ import annotations

from typing import Any

from skerry.api.tables.column import AGE, NAME, NONE, UNSET, column, containers, selector
from skerry.api.tables.duration import human, since
from skerry.api.tables.workloads import WIDE
from skerry.api.types import batch
from skerry.clock import parse_rfc3339

JOB_COLUMNS = (
    NAME,
    column("Status", "How far the job is."),
    column("Completions", "Pods that succeeded, of those wanted."),
    column("Duration", "How long it has been at work, or was."),
    AGE,
    *WIDE,
)

CRONJOB_COLUMNS = (
    NAME,
    column("Schedule", "When jobs are due."),
    column("Timezone", "By which clocks."),
    column("Suspend", "Whether no job is started."),
    column("Active", "How many of its jobs are at work.", type="integer"),
    column("Last Schedule", "Time since a job was last due."),
    AGE,
    *WIDE,
)

_STATES = (("Complete", "Complete"), ("Failed", "Failed"))
_ON_THE_WAY = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def job_cells(obj: batch.Job, now: float) -> list[Any]:
    spec, status = obj.spec, obj.status
    if spec.completions is not None:
        done = f"{status.succeeded}/{spec.completions}"
    elif (spec.parallelism or 0) > 1:
        done = f"{status.succeeded}/1 of {spec.parallelism}"
    else:
        done = f"{status.succeeded}/1"
    return [
        obj.metadata.name,
        _state(obj),
        done,
        _duration(status, now),
        since(obj.metadata.creation_timestamp, now),
        *containers(spec.template.spec),
        selector(spec.selector),
    ]


def _state(obj: batch.Job) -> str:
    true = {one.type for one in obj.status.conditions if one.status == "True"}
    for kind, said in _STATES:
        if kind in true:
            return said
    if obj.metadata.deletion_timestamp:
        return "Terminating"
    return next((one for one in _ON_THE_WAY if one in true), "Running")


def _duration(status: batch.JobStatus, now: float) -> str:
    if not status.start_time:
        return ""
    end = parse_rfc3339(status.completion_time) if status.completion_time else now
    return human(end - parse_rfc3339(status.start_time))


def cronjob_cells(obj: batch.CronJob, now: float) -> list[Any]:
    spec, last = obj.spec, obj.status.last_schedule_time
    return [
        obj.metadata.name,
        spec.schedule,
        spec.time_zone if spec.time_zone is not None else NONE,
        UNSET if spec.suspend is None else str(spec.suspend),
        len(obj.status.active),
        since(last, now) if last else NONE,
        since(obj.metadata.creation_timestamp, now),
        *containers(spec.job_template.spec.template.spec),
        selector(spec.job_template.spec.selector),
    ]
