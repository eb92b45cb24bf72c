"""Which pods of a Job are made and deleted next, when it is over, and what its status says. Pure.

A Job that is to end first says why (SuccessCriteriaMet or FailureTarget), then waits until its last pod has ended and
all are counted, then says that it has ended (Complete or Failed).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from skerry.api import indexes
from skerry.api.types import batch, core
from skerry.clock import parse_rfc3339, rfc3339
from skerry.controllers import owners
from skerry.controllers.job import pods as facts
from skerry.controllers.job import policies
from skerry.controllers.job.counting import Count, count
from skerry.controllers.replicaset.decide import worst

BURST = 500
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 600.0
"""Seconds before a failed pod is replaced: the first doubles with each failure in a row up to the second."""
_TARGETS = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


class New(NamedTuple):
    """A pod to be made: its completion index (-1: none) and how often that failed before (None: nobody counts that)."""

    number: int = -1
    failures: int | None = None
    ignored: int = 0


@dataclass
class Decision:
    """`stop` are deleted and count as failures, `drop` are deleted and count as nothing.

    `active` is how many pods are at work before any of that; `settled` lose their finalizer once `status` is written.
    `wait`: seconds until there is something to do anyhow. `expired`: the Job itself is to be deleted.
    """

    status: batch.JobStatus
    create: list[New] = field(default_factory=list)
    stop: list[core.Pod] = field(default_factory=list)
    drop: list[core.Pod] = field(default_factory=list)
    settled: list[core.Pod] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    wait: float | None = None
    expired: bool = False


def condition(job: batch.Job | batch.JobStatus, kind: str) -> batch.JobCondition | None:
    """The condition of this type, if it is true."""
    found = job.status.conditions if isinstance(job, batch.Job) else job.conditions
    return next((one for one in found if one.type == kind and one.status == "True"), None)


def ended(job: batch.Job) -> batch.JobCondition | None:
    """The condition that says that the Job has ended."""
    return condition(job, "Complete") or condition(job, "Failed")


def decide(job: batch.Job, pods: Sequence[core.Pod], now: float) -> Decision:
    """The next step. `pods` are the Job's own, in any state."""
    over = ended(job)
    if over is not None:
        return _afterwards(job, pods, over, now)
    known = msgspec.structs.replace(job.status)
    known.conditions = list(known.conditions)
    out = Decision(known)
    suspended = bool(job.spec.suspend)
    if known.start_time is None and not suspended:
        known.start_time = rfc3339(now)
    active = [one for one in pods if not facts.has_ended(one) and not one.metadata.deletion_timestamp]
    target = next((one for kind in _TARGETS if (one := condition(job, kind)) is not None), None)
    numbers = count(job, pods, now, over=target is not None)
    if target is None:
        target = _target(job, active, numbers, now)
        if target is not None:
            known.conditions.append(target)
            if numbers.held:
                numbers = count(job, pods, now, over=True)
    out.settled = numbers.settled
    if target is not None:
        out.stop = active
    elif job.metadata.deletion_timestamp is None:
        _suspension(job, out, now)
        if suspended:
            out.drop = active
        else:
            _manage(job, pods, active, numbers, out, now)
            _deadline(job, out, now)
    _numbers(job, pods, active, numbers, known)
    left = [one for one in pods if facts.is_tracked(one) and not facts.has_ended(one)]
    if target is not None and numbers.is_exact and not numbers.settled and not (active or left or known.terminating):
        _end(job, target, known, out, now)
    return out


def _end(job: batch.Job, target: batch.JobCondition, known: batch.JobStatus, out: Decision, now: float) -> None:
    kind, ttl = _TARGETS[target.type], job.spec.ttl_seconds_after_finished
    out.wait = float(ttl) if ttl is not None else None
    known.conditions.append(_condition(kind, target.reason, target.message, now))
    if kind == "Complete":
        known.completion_time = rfc3339(now)
        out.events.append(("Normal", "Completed", "Job completed"))
    else:
        out.events.append(("Warning", target.reason, target.message))


def _afterwards(job: batch.Job, pods: Sequence[core.Pod], over: batch.JobCondition, now: float) -> Decision:
    """Nothing holds the pods of a Job that has ended, and it may be told to go."""
    out = Decision(job.status, settled=[one for one in pods if facts.is_tracked(one)])
    seconds = job.spec.ttl_seconds_after_finished
    if seconds is not None and job.metadata.deletion_timestamp is None:
        since = over.last_transition_time or job.status.completion_time
        left = (parse_rfc3339(since) if since else now) + seconds - now
        out.expired = left <= 0
        out.wait = left if left > 0 else None
    return out


def _condition(kind: str, reason: str, message: str, now: float, said: str = "True") -> batch.JobCondition:
    time = rfc3339(now)
    return batch.JobCondition(
        type=kind, status=said, reason=reason, message=message, last_probe_time=time, last_transition_time=time
    )


def _target(job: batch.Job, active: Sequence[core.Pod], numbers: Count, now: float) -> batch.JobCondition | None:
    """Whether the Job is to end now, and how."""
    spec = job.spec
    failed = _failure(job, active, numbers, now)
    if failed is not None:
        return _condition("FailureTarget", *failed, now)
    said = policies.of_success(job, numbers.completed) if spec.success_policy is not None else ""
    if said:
        return _condition("SuccessCriteriaMet", "SuccessPolicy", said, now)
    if spec.completions is None:
        done = numbers.all_succeeded > 0 and not active
    else:
        done = numbers.all_succeeded >= spec.completions
    if done and not (spec.suspend and spec.completions is None):
        text = "Reached expected number of succeeded pods"
        return _condition("SuccessCriteriaMet", "CompletionsReached", text, now)
    return None


def _failure(job: batch.Job, active: Sequence[core.Pod], numbers: Count, now: float) -> tuple[str, str] | None:
    """(reason, message) for which the Job fails."""
    spec = job.spec
    if numbers.fail_job:
        return "PodFailurePolicy", numbers.fail_job
    limit = spec.backoff_limit if spec.backoff_limit is not None else 6
    if numbers.all_failed + len(numbers.held) > limit or _restarted_too_often(job, active, limit):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = _left(job, now)
    if left is not None and left <= 0:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    if spec.backoff_limit_per_index is not None:
        most = spec.max_failed_indexes
        if most is not None and len(numbers.broken) > most:
            return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        all_done = len(numbers.completed | numbers.broken) >= (spec.completions or 0)
        if numbers.broken and all_done:
            return "FailedIndexes", "Job has failed indexes"
    return None


def _restarted_too_often(job: batch.Job, active: Sequence[core.Pod], limit: int) -> bool:
    """Containers that are started anew in their pods count as failures too."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        each.restart_count
        for one in active
        if one.status.phase in ("Running", "Pending")
        for each in (*one.status.init_container_statuses, *one.status.container_statuses)
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def _left(job: batch.Job, now: float) -> float | None:
    """Seconds until the deadline; None if there is none."""
    seconds, since = job.spec.active_deadline_seconds, job.status.start_time
    if seconds is None or since is None or job.spec.suspend:
        return None
    return parse_rfc3339(since) + seconds - now


def _deadline(job: batch.Job, out: Decision, now: float) -> None:
    seconds = job.spec.active_deadline_seconds
    if seconds is not None and out.status.start_time is not None:
        left = parse_rfc3339(out.status.start_time) + seconds - now
        out.wait = left if out.wait is None else min(left, out.wait)


def _suspension(job: batch.Job, out: Decision, now: float) -> None:
    known = out.status
    before = next((one for one in known.conditions if one.type == "Suspended"), None)
    said = "True" if job.spec.suspend else "False"
    if said == (before.status if before is not None else "False"):
        return
    reason, message = ("JobSuspended", "Job suspended") if job.spec.suspend else ("JobResumed", "Job resumed")
    known.conditions = [one for one in known.conditions if one is not before]
    known.conditions.append(_condition("Suspended", reason, message, now, said))
    out.events.append(("Normal", "Suspended" if job.spec.suspend else "Resumed", message))
    if not job.spec.suspend:
        known.start_time = rfc3339(now)


def _manage(
    job: batch.Job, pods: Sequence[core.Pod], active: list[core.Pod], numbers: Count, out: Decision, now: float
) -> None:
    """As many pods at work as there should be."""
    spec = job.spec
    most = spec.parallelism if spec.parallelism is not None else 1
    useless = _useless(job, active, numbers, now) if facts.is_indexed(job) else []
    useful = [one for one in active if not any(one is other for other in useless)]
    if spec.completions is None:
        wanted = min(len(useful), most) if numbers.all_succeeded else most
    else:
        wanted = min(most, spec.completions - numbers.all_succeeded - len(numbers.broken))
    surplus = worst(useful, (), now)[: max(0, len(useful) - max(0, wanted))]
    out.drop = [*useless, *surplus]
    missing = wanted - len(useful)
    if facts.replaces_only_failed(job):
        missing -= sum(facts.is_terminating(one) for one in pods)
    missing = min(missing, BURST)
    if missing <= 0:
        return
    if not facts.is_indexed(job):
        pause = _pause(_failures(job, pods), pods, now)
        if pause > 0:
            out.wait = pause
        else:
            out.create = [New()] * missing
        return
    taken = {facts.index_of(one) for one in active}
    if facts.replaces_only_failed(job):
        taken |= {facts.index_of(one) for one in pods if facts.is_terminating(one)}
    free = (one for one in range(spec.completions or 0) if one not in taken | numbers.completed | numbers.broken)
    _create_indexes(job, pods, numbers, free, missing, out, now)


def _create_indexes(
    job: batch.Job,
    pods: Sequence[core.Pod],
    numbers: Count,
    free: Iterable[int],
    missing: int,
    out: Decision,
    now: float,
) -> None:
    per_index = job.spec.backoff_limit_per_index is not None
    failures = _failures(job, pods)
    common = 0.0 if per_index else _pause(failures, pods, now)
    for index in free:
        if len(out.create) >= missing:
            return
        pause = common
        if per_index:
            pause = _pause([one for one in failures if facts.index_of(one) == index], (), now)
        if pause > 0:
            out.wait = pause if out.wait is None else min(pause, out.wait)
        elif per_index:
            out.create.append(_successor(job, index, numbers.held.get(index)))
        else:
            out.create.append(New(index))


def _successor(job: batch.Job, index: int, before: core.Pod | None) -> New:
    """Remembers how often its index failed."""
    if before is None:
        return New(index, 0)
    ignored = policies.of_failure(job, before).action == policies.IGNORE
    return New(
        index,
        facts.count_of(before, facts.FAILURES) + (not ignored),
        facts.count_of(before, facts.IGNORED) + ignored,
    )


def _failures(job: batch.Job, pods: Iterable[core.Pod]) -> list[core.Pod]:
    """Pods that failed by themselves, those too that are counted and still there."""
    return [
        one
        for one in pods
        if one.status.phase == "Failed"
        and one.metadata.deletion_timestamp is None
        and policies.of_failure(job, one).action != policies.IGNORE
    ]


def _pause(failures: Sequence[core.Pod], pods: Iterable[core.Pod], now: float) -> float:
    """Seconds until the next pod may be made, after failures in a row."""
    good = [facts.ended_at(one, now) for one in pods if one.status.phase == "Succeeded"]
    times = [facts.ended_at(one, now) for one in failures]
    times = [one for one in times if not good or one > max(good)]
    if not times:
        return 0.0
    pause = min(FIRST_PAUSE * 2.0 ** min(len(times) - 1, 30), LONGEST_PAUSE)
    return max(times) + pause - now


def _useless(job: batch.Job, active: Sequence[core.Pod], numbers: Count, now: float) -> list[core.Pod]:
    """Pods of indexes that are not wanted (any more), and all but one of each index."""
    done, limit = numbers.completed | numbers.broken, job.spec.completions or 0
    out, seen = list[core.Pod](), set[int]()
    for one in reversed(worst(active, (), now)):  # the best first
        index = facts.index_of(one)
        if not 0 <= index < limit or index in done or index in seen:
            out.append(one)
        seen.add(index)
    return out


def _numbers(
    job: batch.Job, pods: Sequence[core.Pod], active: Sequence[core.Pod], numbers: Count, known: batch.JobStatus
) -> None:
    known.active = len(active)
    known.ready = sum(owners.is_ready(one) for one in active)
    known.terminating = sum(facts.is_terminating(one) for one in pods)
    known.succeeded, known.failed = numbers.succeeded, numbers.failed
    known.uncounted_terminated_pods = batch.UncountedTerminatedPods(
        succeeded=numbers.uncounted_succeeded, failed=numbers.uncounted_failed
    )
    if facts.is_indexed(job):
        known.completed_indexes = indexes.text(numbers.completed)
        if job.spec.backoff_limit_per_index is not None:
            known.failed_indexes = indexes.text(numbers.broken)
