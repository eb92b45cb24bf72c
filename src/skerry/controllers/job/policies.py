"""What a Job's podFailurePolicy says of a failed pod, and its successPolicy of the indexes that are done. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from skerry.api import indexes
from skerry.api.types import batch, core

COUNT, IGNORE, FAIL_JOB, FAIL_INDEX = "Count", "Ignore", "FailJob", "FailIndex"


class Verdict(NamedTuple):
    """The action of the first rule that matches (Count if none does), and why."""

    action: str
    message: str = ""


def of_failure(job: batch.Job, pod: core.Pod) -> Verdict:
    """What to do about a failed pod."""
    policy = job.spec.pod_failure_policy
    if policy is None or pod.status.phase != "Failed":
        return Verdict(COUNT)
    for number, rule in enumerate(policy.rules):
        found = _matched(rule, pod)
        if found:
            return Verdict(rule.action, f"{found} matching {rule.action} rule at index {number}")
    return Verdict(COUNT)


def _matched(rule: batch.PodFailurePolicyRule, pod: core.Pod) -> str:
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    codes = rule.on_exit_codes
    if codes is not None:
        for one in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            ended = one.state.terminated
            if ended is None or not ended.exit_code or codes.container_name not in (None, one.name):
                continue
            if (ended.exit_code in codes.values) == (codes.operator == "In"):
                return f"Container {one.name} for pod {name} failed with exit code {ended.exit_code}"
        return ""
    for pattern in rule.on_pod_conditions:
        for condition in pod.status.conditions:
            if (condition.type, condition.status) == (pattern.type, pattern.status):
                return f"Pod {name} has condition {condition.type}"
    return ""


def of_success(job: batch.Job, completed: Collection[int]) -> str:
    """Why the indexes that are done are enough; "" if they are not."""
    policy = job.spec.success_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        if rule.succeeded_indexes is not None:
            named = indexes.numbers(rule.succeeded_indexes, job.spec.completions or 0)
            needed = len(named) if rule.succeeded_count is None else rule.succeeded_count
            enough = len(named.intersection(completed)) >= needed
        else:
            enough = rule.succeeded_count is not None and len(completed) >= rule.succeeded_count
        if enough:
            return f"Matched rules at index {number}"
    return ""
