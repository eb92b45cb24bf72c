"""Checks of CronJob."""

from __future__ import annotations

from skerry.api import cron
from skerry.api.status import FieldError, field_invalid, field_not_supported, field_required
from skerry.api.types import batch
from skerry.api.validation import meta as checks
from skerry.api.validation.errors import not_negative, shown
from skerry.api.validation.jobs import job_spec

NAME_LIMIT = 52
"""The Job's name has the time after it, and the pod's name some letters after that."""
_POLICIES = ("Allow", "Forbid", "Replace")


def create_cronjob(obj: batch.CronJob) -> list[FieldError]:
    """A new CronJob."""
    out = _spec(obj.spec, None)
    if len(obj.metadata.name) > NAME_LIMIT:
        out.append(field_invalid("metadata.name", obj.metadata.name, f"must be no more than {NAME_LIMIT} characters"))
    return out


def update_cronjob(new: batch.CronJob, old: batch.CronJob) -> list[FieldError]:
    """A CronJob that exists: all of it may change."""
    return _spec(new.spec, old.spec)


def _spec(spec: batch.CronJobSpec, old: batch.CronJobSpec | None) -> list[FieldError]:
    out: list[FieldError] = []
    if not spec.schedule:
        out.append(field_required("spec.schedule"))
    else:
        out += _schedule(spec)
    if spec.time_zone is not None and (old is None or spec.time_zone != old.time_zone):
        out += _zone(spec.time_zone)
    out += not_negative("spec.startingDeadlineSeconds", spec.starting_deadline_seconds)
    if not spec.concurrency_policy:
        out.append(field_required("spec.concurrencyPolicy"))
    elif spec.concurrency_policy not in _POLICIES:
        out.append(field_not_supported("spec.concurrencyPolicy", spec.concurrency_policy, _POLICIES))
    out += not_negative("spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit)
    out += not_negative("spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit)
    return out + _template(spec.job_template, "spec.jobTemplate")


def _schedule(spec: batch.CronJobSpec) -> list[FieldError]:
    text = spec.schedule
    if "TZ" in text:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        if spec.time_zone is not None:
            why = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        return [field_invalid("spec.schedule", text, why)]
    try:
        cron.parse(text)
    except ValueError as error:
        return [field_invalid("spec.schedule", text, str(error))]
    return []


def _zone(name: str) -> list[FieldError]:
    why = ""
    if not name:
        why = "timeZone must be nil or non-empty string"
    elif name.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
    else:
        try:
            cron.zone(name)
        except ValueError as error:
            why = str(error)
    return [field_invalid("spec.timeZone", name, why)] if why else []


def _template(one: batch.JobTemplateSpec, path: str) -> list[FieldError]:
    out = checks.labels(f"{path}.metadata.labels", one.metadata.labels)
    out += checks.annotation_map(f"{path}.metadata.annotations", one.metadata.annotations)
    out += job_spec(one.spec, f"{path}.spec")
    if one.spec.selector is not None:
        at = f"{path}.spec.selector"
        out.append(field_invalid(at, shown(one.spec.selector), "`selector` will be auto-generated"))
    if one.spec.manual_selector:
        out.append(field_not_supported(f"{path}.spec.manualSelector", one.spec.manual_selector, ("nil", "false")))
    return out
