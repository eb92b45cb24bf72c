"""Counting the ends of a Job's pods exactly once, whatever is restarted in between. Pure. Called by `decide`.

A pod that ended keeps a finalizer. Its uid is first written into the status (uncountedTerminatedPods), then the
finalizer goes, and only then does the number go up and the uid out, in one write. Of an Indexed Job the indexes that
succeeded are the numbers, so that these need no such care.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from skerry.api import indexes
from skerry.api.types import batch, core
from skerry.controllers.job import pods as facts
from skerry.controllers.job import policies

MOST = 500
"""Uids in a status at once."""


@dataclass
class Count:
    """`succeeded` and `failed` are what the status may say now; `uncounted_*` are uids to be counted next.

    `completed` and `broken` are indexes. `settled` are pods whose finalizer may go once the status is written. `held`
    are failed pods, by index, that are kept until they have a successor that remembers how often their index failed.
    """

    succeeded: int = 0
    failed: int = 0
    uncounted_succeeded: list[str] = field(default_factory=list)
    uncounted_failed: list[str] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    settled: list[core.Pod] = field(default_factory=list)
    held: dict[int, core.Pod] = field(default_factory=dict)
    fail_job: str = ""
    is_partial: bool = False

    @property
    def all_succeeded(self) -> int:
        """With those that only wait to be counted."""
        return self.succeeded + len(self.uncounted_succeeded)

    @property
    def all_failed(self) -> int:
        return self.failed + len(self.uncounted_failed)

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left to be counted."""
        return not (self.uncounted_succeeded or self.uncounted_failed or self.is_partial or self.held)


def count(job: batch.Job, pods: Sequence[core.Pod], now: float, *, over: bool) -> Count:
    """`over`: the Job will end, so no failed pod needs a successor."""
    known = job.status
    out = Count(succeeded=known.succeeded, failed=known.failed)
    limit = job.spec.completions or 0
    if facts.is_indexed(job):
        out.completed = indexes.numbers(known.completed_indexes, limit)
        out.broken = indexes.numbers(known.failed_indexes, limit)
    _settle(job, pods, out)
    _collect(job, pods, out, now, over)
    if facts.is_indexed(job):
        out.succeeded = len(out.completed)
    return out


def _settle(job: batch.Job, pods: Sequence[core.Pod], out: Count) -> None:
    """What was written down before and has lost its finalizer is counted."""
    waiting = {one.metadata.uid for one in pods if facts.is_tracked(one)}
    before = job.status.uncounted_terminated_pods or batch.UncountedTerminatedPods()
    for uid in before.succeeded:
        if uid in waiting:
            out.uncounted_succeeded.append(uid)
        else:
            out.succeeded += 1
    for uid in before.failed:
        if uid in waiting:
            out.uncounted_failed.append(uid)
        else:
            out.failed += 1


def _collect(job: batch.Job, pods: Sequence[core.Pod], out: Count, now: float, over: bool) -> None:
    """What has ended since is written down."""
    noted = {*out.uncounted_succeeded, *out.uncounted_failed}
    active = {facts.index_of(one) for one in pods if not facts.has_ended(one) and not one.metadata.deletion_timestamp}
    per_index = job.spec.backoff_limit_per_index
    held: dict[int, list[core.Pod]] = {}
    for pod in pods:
        if not facts.is_tracked(pod):
            continue
        uid, index = pod.metadata.uid, facts.index_of(pod)
        if uid in noted:
            out.settled.append(pod)
        elif len(out.uncounted_succeeded) + len(out.uncounted_failed) >= MOST:
            out.is_partial = out.is_partial or facts.has_ended(pod)
        elif pod.status.phase == "Succeeded":
            if not facts.is_indexed(job):
                out.uncounted_succeeded.append(uid)
            elif 0 <= index < (job.spec.completions or 0) and index not in out.broken:
                out.completed.add(index)
            out.settled.append(pod)
        elif facts.has_failed(job, pod):
            verdict = policies.of_failure(job, pod)
            if verdict.action == policies.FAIL_JOB:
                out.fail_job = out.fail_job or verdict.message
            if per_index is not None and _breaks(pod, verdict.action, per_index):
                out.broken.add(index)
            waits = per_index is not None and not over and index not in {*active, *out.broken, *out.completed}
            if waits:
                held.setdefault(index, []).append(pod)
            else:
                _fail(pod, verdict.action, out)
    for index, found in held.items():
        last = facts.newest(found, now)
        for pod in found:
            if pod is last and index not in out.broken:
                out.held[index] = pod
            else:
                _fail(pod, policies.of_failure(job, pod).action, out)


def _fail(pod: core.Pod, action: str, out: Count) -> None:
    if action != policies.IGNORE:
        out.uncounted_failed.append(pod.metadata.uid)
    out.settled.append(pod)


def _breaks(pod: core.Pod, action: str, limit: int) -> bool:
    """Whether this failure is one too many for its index."""
    if action == policies.FAIL_INDEX:
        return True
    return action != policies.IGNORE and facts.count_of(pod, facts.FAILURES) >= limit
