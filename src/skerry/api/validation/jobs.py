"""Checks of Job. Called through validation, and by cronjobs.py for the template of a CronJob."""

from __future__ import annotations

from skerry.api import codec, indexes, labels
from skerry.api.jobs import CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME
from skerry.api.status import (
    FieldError,
    field_duplicate,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_many,
)
from skerry.api.types import batch, core
from skerry.api.validation import meta as checks
from skerry.api.validation import names
from skerry.api.validation.errors import checked, not_negative, one_of, shown, unchanged
from skerry.api.validation.pod import template

_PARALLEL = 100_000
_PARALLEL_MANY = 10_000
_RULES, _CODES = 20, 255
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_NEVER_NAMES = "requires indexed completion mode"
_OF_SUSPENDED = ("node_selector", "tolerations", "scheduling_gates")


def create_job(obj: batch.Job) -> list[FieldError]:
    """A new Job, its selector generated."""
    out = _selector(obj)
    out += job_spec(obj.spec, "spec")
    if obj.spec.completion_mode == "Indexed" and (obj.spec.completions or 0) > 0:
        last = f"{obj.metadata.name}-{(obj.spec.completions or 0) - 1}"
        for wrong in names.dns1123_label(last):
            why = f"will not able to create pod with invalid DNS label: {last}: {wrong}"
            out.append(field_invalid("metadata.name", obj.metadata.name, why))
    return out


def _selector(obj: batch.Job) -> list[FieldError]:
    spec, out = obj.spec, list[FieldError]()
    if spec.selector is None:
        out.append(field_required("spec.selector"))
    else:
        out += checks.label_selector("spec.selector", spec.selector)
    if not spec.manual_selector:
        uid, name = obj.metadata.uid, obj.metadata.name
        wanted = {CONTROLLER_UID: uid, JOB_NAME: name, OLD_CONTROLLER_UID: uid, OLD_JOB_NAME: name}
        found = spec.template.metadata.labels
        for key, value in wanted.items():
            if key not in found:
                out.append(field_required(f"spec.template.metadata.labels[{key}]", f"must be '{value}'"))
            elif found[key] != value:
                out.append(field_invalid("spec.template.metadata.labels", shown(found), f"must be '{value}'"))
        if spec.selector is not None and not _matches(spec.selector, wanted):
            out.append(field_invalid("spec.selector", shown(spec.selector), "`selector` not auto-generated"))
    if spec.selector is not None and not _matches(spec.selector, spec.template.metadata.labels):
        why = "`selector` does not match template `labels`"
        out.append(field_invalid("spec.template.metadata.labels", shown(spec.template.metadata.labels) or None, why))
    return out


def _matches(selector: object, found: dict[str, str]) -> bool:
    try:
        return labels.from_selector(selector).matches(found)  # type: ignore[arg-type]
    except ValueError:
        return True  # is complained of already


def job_spec(spec: batch.JobSpec, path: str) -> list[FieldError]:
    """What a Job asks for, but for its selector."""
    out: list[FieldError] = []
    for name, value in (
        ("parallelism", spec.parallelism),
        ("completions", spec.completions),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ):
        out += not_negative(f"{path}.{name}", value)
    if spec.max_failed_indexes is not None and spec.backoff_limit_per_index is None:
        out.append(field_required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.managed_by is not None:
        out += _managed_by(f"{path}.managedBy", spec.managed_by)
    out += _mode(spec, path)
    if spec.pod_failure_policy is not None:
        out += _failure_policy(spec.pod_failure_policy, spec, f"{path}.podFailurePolicy")
    if spec.success_policy is not None:
        out += _success_policy(spec, f"{path}.successPolicy")
    chosen = spec.pod_replacement_policy
    if chosen is not None:
        allowed = ("Failed",) if spec.pod_failure_policy is not None else ("Failed", "TerminatingOrFailed")
        out += one_of(f"{path}.podReplacementPolicy", chosen, allowed)
    return out + _template(spec, f"{path}.template")


def _managed_by(path: str, value: str) -> list[FieldError]:
    if "/" not in value:
        return [field_invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    if len(value) > 63:
        return [FieldError("FieldValueTooLong", path, "may not be more than 63 bytes", shows_value=False)]
    return checked(path, value, names.qualified_name)


def _mode(spec: batch.JobSpec, path: str) -> list[FieldError]:
    mode, out = spec.completion_mode, list[FieldError]()
    if mode is None:
        return out
    if mode not in ("Indexed", "NonIndexed"):
        return [field_not_supported(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))]
    if mode == "NonIndexed":
        for name, value in (
            ("backoffLimitPerIndex", spec.backoff_limit_per_index),
            ("maxFailedIndexes", spec.max_failed_indexes),
        ):
            if value is not None:
                out.append(field_invalid(f"{path}.{name}", value, _NEVER_NAMES))
        return out
    if spec.completions is None:
        out.append(field_required(f"{path}.completions", "when completion mode is Indexed"))
    if spec.parallelism is not None and spec.parallelism > _PARALLEL:
        why = f"must be less than or equal to {_PARALLEL} when completion mode is Indexed"
        out.append(field_invalid(f"{path}.parallelism", spec.parallelism, why))
    if spec.completions is None or spec.backoff_limit_per_index is None:
        return out
    most = spec.max_failed_indexes
    if most is not None and most > spec.completions:
        out.append(field_invalid(f"{path}.maxFailedIndexes", most, "must be less than or equal to completions"))
    if most is not None and most > _PARALLEL:
        out.append(field_invalid(f"{path}.maxFailedIndexes", most, f"must be less than or equal to {_PARALLEL}"))
    if spec.completions > _PARALLEL:
        if most is None:
            why = f"must be specified when completions is above {_PARALLEL}"
            out.append(field_required(f"{path}.maxFailedIndexes", why))
        many = f"must be less than or equal to {_PARALLEL_MANY} when completions are above {_PARALLEL} and used with "
        if most is not None and most > _PARALLEL_MANY:
            out.append(field_invalid(f"{path}.maxFailedIndexes", most, many + "backoff limit per index"))
        if spec.parallelism is not None and spec.parallelism > _PARALLEL_MANY:
            out.append(field_invalid(f"{path}.parallelism", spec.parallelism, many + "backoff limit per index"))
    return out


def _failure_policy(policy: batch.PodFailurePolicy, spec: batch.JobSpec, path: str) -> list[FieldError]:
    if len(policy.rules) > _RULES:
        return [field_too_many(f"{path}.rules", len(policy.rules), _RULES)]
    known = {one.name for one in (*spec.template.spec.containers, *spec.template.spec.init_containers)}
    out: list[FieldError] = []
    for i, rule in enumerate(policy.rules):
        at = f"{path}.rules[{i}]"
        if not rule.action:
            out.append(field_required(f"{at}.action", "valid values: " + ", ".join(f'"{one}"' for one in _ACTIONS)))
        elif rule.action not in _ACTIONS:
            out.append(field_not_supported(f"{at}.action", rule.action, _ACTIONS))
        elif rule.action == "FailIndex" and spec.backoff_limit_per_index is None:
            out.append(field_invalid(f"{at}.action", rule.action, "requires the backoffLimitPerIndex to be set"))
        if rule.on_exit_codes is not None:
            out += _codes(rule.on_exit_codes, known, f"{at}.onExitCodes")
        if len(rule.on_pod_conditions) > _RULES:
            out.append(field_too_many(f"{at}.onPodConditions", len(rule.on_pod_conditions), _RULES))
        for j, pattern in enumerate(rule.on_pod_conditions):
            out += _pattern(pattern, f"{at}.onPodConditions[{j}]")
        if rule.on_exit_codes is not None and rule.on_pod_conditions:
            why = "specifying both OnExitCodes and OnPodConditions is not supported"
            out.append(field_invalid(at, shown(rule), why))
        if rule.on_exit_codes is None and not rule.on_pod_conditions:
            why = "specifying one of OnExitCodes and OnPodConditions is required"
            out.append(field_invalid(at, shown(rule), why))
    return out


def _codes(one: batch.PodFailurePolicyOnExitCodesRequirement, known: set[str], path: str) -> list[FieldError]:
    out: list[FieldError] = []
    if not one.operator:
        out.append(field_required(f"{path}.operator", 'valid values: "In", "NotIn"'))
    elif one.operator not in ("In", "NotIn"):
        out.append(field_not_supported(f"{path}.operator", one.operator, ("In", "NotIn")))
    if one.container_name is not None and one.container_name not in known:
        why = "must be one of the container or initContainer names in the pod template"
        out.append(field_invalid(f"{path}.containerName", one.container_name, why))
    at = f"{path}.values"
    if not one.values:
        out.append(field_invalid(at, one.values, "at least one value is required"))
    elif len(one.values) > _CODES:
        out.append(field_too_many(at, len(one.values), _CODES))
    seen: set[int] = set()
    for i, value in enumerate(one.values):
        if one.operator == "In" and value == 0:
            out.append(field_invalid(f"{at}[{i}]", value, "must not be 0 for the In operator"))
        if value in seen:
            out.append(field_duplicate(f"{at}[{i}]", value))
        seen.add(value)
    if one.values != sorted(one.values):
        out.append(field_invalid(at, one.values, "must be ordered"))
    return out


def _pattern(one: batch.PodFailurePolicyOnPodConditionsPattern, path: str) -> list[FieldError]:
    out = checked(f"{path}.type", one.type, names.qualified_name)
    if not one.status:
        return [*out, field_required(f"{path}.status", 'valid values: "False", "True", "Unknown"')]
    return out + one_of(f"{path}.status", one.status, ("False", "True", "Unknown"))


def _success_policy(spec: batch.JobSpec, path: str) -> list[FieldError]:
    policy = spec.success_policy
    assert policy is not None
    if spec.completion_mode != "Indexed":
        return [field_invalid(path, shown(policy), _NEVER_NAMES)]
    if not policy.rules:
        return [
            field_required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
        ]
    if len(policy.rules) > _RULES:
        return [field_too_many(f"{path}.rules", len(policy.rules), _RULES)]
    out: list[FieldError] = []
    completions = spec.completions or 0
    for i, rule in enumerate(policy.rules):
        at, named = f"{path}.rules[{i}]", completions
        if rule.succeeded_count is None and rule.succeeded_indexes is None:
            out.append(field_required(at, "at least one of succeededCount or succeededIndexes must be specified"))
        if rule.succeeded_indexes is not None:
            try:
                ranges = indexes.parse(rule.succeeded_indexes, completions)
            except ValueError as error:
                why = f"error parsing succeededIndexes: {error}"
                out.append(field_invalid(f"{at}.succeededIndexes", rule.succeeded_indexes, why))
            else:
                named = sum(last - first + 1 for first, last in ranges)
        count = rule.succeeded_count
        if count is not None:
            out += not_negative(f"{at}.succeededCount", count)
            if count > completions:
                why = f"must be less than or equal to {completions} (the number of specified completions)"
                out.append(field_invalid(f"{at}.succeededCount", count, why))
            elif count > named:
                most = f"{named} (the number of indexes in the specified succeededIndexes field)"
                why = f"must be less than or equal to {most}"
                out.append(field_invalid(f"{at}.succeededCount", count, why))
    return out


def _template(spec: batch.JobSpec, path: str) -> list[FieldError]:
    out = template(spec.template, path)
    at, chosen = f"{path}.spec.restartPolicy", spec.template.spec.restart_policy
    if chosen in ("", "Always"):
        out.append(field_required(at, 'valid values: "OnFailure", "Never"'))
    elif chosen not in ("OnFailure", "Never"):
        out.append(field_not_supported(at, chosen, ("Never", "OnFailure")))
    elif spec.pod_failure_policy is not None and chosen != "Never":
        out.append(field_invalid(at, chosen, 'only "Never" is supported when podFailurePolicy is specified'))
    elif spec.backoff_limit_per_index is not None and chosen != "Never":
        out.append(field_invalid(at, chosen, 'only "Never" is supported when backoffLimitPerIndex is specified'))
    return out


def update_job(new: batch.Job, old: batch.Job) -> list[FieldError]:
    """A Job that exists: how many pods, deadlines and suspension may change, and little else."""
    out = checks.label_selector("spec.selector", new.spec.selector)
    out += job_spec(new.spec, "spec")
    out += _completions(new, old)
    for name, now, was in (
        ("selector", new.spec.selector, old.spec.selector),
        ("template", new.spec.template, _template_allowed(new, old)),
        ("completionMode", new.spec.completion_mode, old.spec.completion_mode),
        ("podFailurePolicy", new.spec.pod_failure_policy, old.spec.pod_failure_policy),
        ("backoffLimitPerIndex", new.spec.backoff_limit_per_index, old.spec.backoff_limit_per_index),
        ("managedBy", new.spec.managed_by, old.spec.managed_by),
        ("successPolicy", new.spec.success_policy, old.spec.success_policy),
    ):
        out += unchanged(f"spec.{name}", now, was)
    return out


def _completions(new: batch.Job, old: batch.Job) -> list[FieldError]:
    """Those of an Indexed Job may change together with its parallelism."""
    now, was = new.spec.completions, old.spec.completions
    path = "spec.completions"
    if now == was or new.spec.completion_mode != "Indexed" or now is None or was is None:
        return unchanged(path, now, was)
    if now != new.spec.parallelism:
        why = "can only be modified in tandem with spec.parallelism"
        return [field_invalid(path, now, f"{why}: completions must equal parallelism")]
    return []


def _template_allowed(new: batch.Job, old: batch.Job) -> core.PodTemplateSpec:
    """The old template; of a suspended Job that never began with the new one's wishes for nodes, and its metadata."""
    is_idle = old.spec.suspend and any(
        one.type == "Suspended" and one.status == "True" for one in old.status.conditions
    )
    if not (old.spec.suspend and (is_idle or old.status.start_time is None)):
        return old.spec.template
    allowed = codec.copy(old.spec.template)
    allowed.metadata.labels = new.spec.template.metadata.labels
    allowed.metadata.annotations = new.spec.template.metadata.annotations
    for name in _OF_SUSPENDED:
        setattr(allowed.spec, name, getattr(new.spec.template.spec, name))
    theirs = new.spec.template.spec.affinity
    if theirs is not None:
        mine = allowed.spec.affinity = allowed.spec.affinity or core.Affinity()
        mine.node_affinity = theirs.node_affinity
    elif allowed.spec.affinity is not None:
        allowed.spec.affinity.node_affinity = None
        if allowed.spec.affinity == core.Affinity():
            allowed.spec.affinity = None
    return allowed


def status_job(new: batch.Job, old: batch.Job) -> list[FieldError]:
    """A write of a Job's status: counts do not shrink, what is over stays over."""
    status, out = new.status, list[FieldError]()
    for name, count in (
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ):
        out += not_negative(f"status.{name}", count)
    uncounted = status.uncounted_terminated_pods or batch.UncountedTerminatedPods()
    seen: set[str] = set()
    for name, uids in (("succeeded", uncounted.succeeded), ("failed", uncounted.failed)):
        for i, uid in enumerate(uids):
            at = f"status.uncountedTerminatedPods.{name}[{i}]"
            if not uid:
                out.append(field_invalid(at, uid, "must not be empty"))
            elif uid in seen:
                out.append(field_duplicate(at, uid))
            seen.add(uid)
    for kind in ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"):
        if _is(old, kind) and not _is(new, kind):
            why = f"cannot disable a {'terminal' if kind in ('Complete', 'Failed') else 'set'} Job condition"
            out.append(field_invalid("status.conditions", kind, why))
    if _is(new, "Complete") and _is(new, "Failed"):
        why = "cannot set Complete=True and Failed=true conditions"
        out.append(field_invalid("status.conditions", shown(status.conditions), why))
    if _is(new, "Complete") and status.completion_time is None:
        out.append(field_required("status.completionTime", "completionTime is required for Complete jobs"))
    if status.completion_time is not None and not _is(new, "Complete"):
        why = "completionTime cannot be set when there is no Complete=True condition"
        out.append(field_invalid("status.completionTime", status.completion_time, why))
    return out


def _is(job: batch.Job, kind: str) -> bool:
    return any(one.type == kind and one.status == "True" for one in job.status.conditions)
