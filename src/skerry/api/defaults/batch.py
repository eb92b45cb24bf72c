"""Defaults of Job and CronJob."""

from __future__ import annotations

from skerry.api.defaults import pod
from skerry.api.types import batch

_NO_LIMIT = 2**31 - 1


def job(obj: batch.Job) -> None:
    spec = obj.spec
    if spec.completions is None and spec.parallelism is None:
        spec.completions = 1
    if spec.parallelism is None:
        spec.parallelism = 1
    if spec.backoff_limit is None:
        spec.backoff_limit = 6 if spec.backoff_limit_per_index is None else _NO_LIMIT
    if spec.completion_mode is None:
        spec.completion_mode = "NonIndexed"
    if spec.suspend is None:
        spec.suspend = False
    if spec.manual_selector is None:
        spec.manual_selector = False
    if spec.pod_failure_policy is not None:
        for rule in spec.pod_failure_policy.rules:
            for pattern in rule.on_pod_conditions:
                pattern.status = pattern.status or "True"
    if spec.pod_replacement_policy is None:
        spec.pod_replacement_policy = "TerminatingOrFailed" if spec.pod_failure_policy is None else "Failed"
    if not obj.metadata.labels:
        obj.metadata.labels = dict(spec.template.metadata.labels)
    pod.spec(spec.template.spec)


def cronjob(obj: batch.CronJob) -> None:
    spec = obj.spec
    spec.concurrency_policy = spec.concurrency_policy or "Allow"
    if spec.suspend is None:
        spec.suspend = False
    if spec.successful_jobs_history_limit is None:
        spec.successful_jobs_history_limit = 3
    if spec.failed_jobs_history_limit is None:
        spec.failed_jobs_history_limit = 1
    pod.spec(spec.job_template.spec.template.spec)
