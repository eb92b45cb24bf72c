"""The pods of a Job: what they are made of and what became of them. Pure. Called by the modules beside it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from skerry.api.numerals import whole
from skerry.api.types import batch, core, meta
from skerry.clock import parse_rfc3339
from skerry.controllers import owners

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
_VARIABLE = "JOB_COMPLETION_INDEX"


def is_tracked(pod: core.Pod) -> bool:
    """Whether its end is still to be counted."""
    return FINALIZER in pod.metadata.finalizers


def tracked(pod: core.Pod) -> core.Pod:
    """The pod with that finalizer."""
    if is_tracked(pod):
        return pod
    wanted = [*pod.metadata.finalizers, FINALIZER]
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, finalizers=wanted))


def is_indexed(job: batch.Job) -> bool:
    return job.spec.completion_mode == "Indexed"


def index_of(pod: core.Pod) -> int:
    """The pod's completion index, -1 if it has none."""
    found = whole(pod.metadata.annotations.get(INDEX, ""))
    return -1 if found is None else found


def replaces_only_failed(job: batch.Job) -> bool:
    """Whether a pod that is on its way out keeps its place until it has ended."""
    return job.spec.pod_replacement_policy == "Failed" or job.spec.pod_failure_policy is not None


def has_ended(pod: core.Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def has_failed(job: batch.Job, pod: core.Pod) -> bool:
    """Whether it counts as a failure: it failed, or is being deleted where that is enough."""
    if pod.status.phase == "Failed":
        return True
    going = pod.metadata.deletion_timestamp is not None and pod.status.phase != "Succeeded"
    return going and not replaces_only_failed(job)


def is_terminating(pod: core.Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None and not has_ended(pod)


def ended_at(pod: core.Pod, now: float) -> float:
    """When the pod ended, as well as its status can tell."""
    times = [
        one.state.terminated.finished_at
        for one in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        if one.state.terminated is not None and one.state.terminated.finished_at
    ]
    if times:
        return max(parse_rfc3339(one) for one in times)
    condition = owners.ready_condition(pod)
    told = pod.metadata.deletion_timestamp or (condition.last_transition_time if condition is not None else None)
    return min(now, parse_rfc3339(told)) if told else now


def count_of(pod: core.Pod, annotation: str) -> int:
    return whole(pod.metadata.annotations.get(annotation, "")) or 0


def new_pod(job: batch.Job, index: int = -1, failures: int | None = None, ignored: int = 0) -> core.Pod:
    """A pod from the template; of an Indexed Job one that knows its index, and how often that failed before."""
    template, name = job.spec.template, job.metadata.name
    labels, annotations, spec = dict(template.metadata.labels), dict(template.metadata.annotations), template.spec
    prefix = f"{name}-"
    if index >= 0:
        prefix = f"{name}-{index}-"
        labels[INDEX] = annotations[INDEX] = str(index)
        if failures is not None:
            annotations[FAILURES] = str(failures)
            if ignored:
                annotations[IGNORED] = str(ignored)
        spec = msgspec.structs.replace(
            spec,
            hostname=f"{name}-{index}",
            containers=[_told(one) for one in spec.containers],
            init_containers=[_told(one) for one in spec.init_containers],
        )
    return core.Pod(
        metadata=meta.ObjectMeta(
            generate_name=prefix,
            namespace=job.metadata.namespace,
            labels=labels,
            annotations=annotations,
            finalizers=[*template.metadata.finalizers, FINALIZER],
            owner_references=[owners.reference(job)],
        ),
        spec=spec,
    )


def _told(one: core.Container) -> core.Container:
    """The container with its index in the environment."""
    if any(each.name == _VARIABLE for each in one.env):
        return one
    field = core.ObjectFieldSelector(field_path=f"metadata.labels['{INDEX}']")
    variable = core.EnvVar(name=_VARIABLE, value_from=core.EnvVarSource(field_ref=field))
    return msgspec.structs.replace(one, env=[*one.env, variable])


def newest(pods: Iterable[core.Pod], now: float) -> core.Pod | None:
    """The one that ended last."""
    return max(pods, key=lambda one: (ended_at(one, now), one.metadata.name), default=None)
