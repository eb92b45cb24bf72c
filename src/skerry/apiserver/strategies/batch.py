"""Job: gets labels and a selector of its own. CronJob."""

from __future__ import annotations

from typing import Any

from skerry.api.jobs import CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME
from skerry.api.types import batch, meta
from skerry.api.validation import names
from skerry.apiserver.strategies.base import Context, Strategy

_LABELS = {CONTROLLER_UID: "uid", OLD_CONTROLLER_UID: "uid", JOB_NAME: "name", OLD_JOB_NAME: "name"}


class JobStrategy(Strategy):
    """A Job's pods are its own by a label that nobody else has, unless it says `manualSelector`."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        obj.spec.template.metadata.creation_timestamp = None
        if not obj.spec.manual_selector:
            generate_selector(obj)

    def default_propagation(self) -> str:
        """Of a Job that is deleted without a word its pods stay, as in its first version."""
        return "Orphan"

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        return _name_warning(new.metadata.name, "Pod names and hostnames") if old is None else []

    def field(self, obj: Any, path: str) -> str:
        return str(obj.status.succeeded) if path == "status.successful" else super().field(obj, path)


class CronJobStrategy(Strategy):
    """As its kind's fields say."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        obj.spec.job_template.metadata.creation_timestamp = None
        obj.spec.job_template.spec.template.metadata.creation_timestamp = None

    def warnings(self, new: Any, old: Any | None) -> list[str]:
        return _name_warning(new.metadata.name, "Job names, Pod names, and hostnames") if old is None else []


def generate_selector(job: batch.Job) -> None:
    """Labels and selector as upstream makes them; what the user has said stays, and is looked at by validation."""
    own_labels = job.metadata.labels != job.spec.template.metadata.labels
    said = job.spec.template.metadata.labels
    for key, name in _LABELS.items():
        said.setdefault(key, getattr(job.metadata, name))
    job.spec.selector = job.spec.selector or meta.LabelSelector()
    chosen = job.spec.selector.match_labels
    if OLD_CONTROLLER_UID not in chosen:
        chosen.setdefault(CONTROLLER_UID, job.metadata.uid)
    if not own_labels:
        job.metadata.labels = dict(said)


def _name_warning(name: str, where: str) -> list[str]:
    complaints = names.dns1123_label(name)
    if not complaints:
        return []
    what = f"this is used in {where}, which can result in surprising behavior; a DNS label is recommended"
    return [f"metadata.name: {what}: [{' '.join(complaints)}]"]
