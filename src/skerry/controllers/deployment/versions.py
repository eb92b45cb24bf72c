"""ReplicaSets as versions of a Deployment: which one is new, what it is called, its revision (A2). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from skerry.api import codec
from skerry.api.numerals import whole
from skerry.api.types import apps, core, meta
from skerry.controllers import owners, templates

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
)


def template_hash(template: core.PodTemplateSpec, collisions: int) -> str:
    """A short name for a template; `collisions` counts how often it was taken already."""
    return templates.short(codec.encode(_without_hash(template)), collisions)


def _without_hash(template: core.PodTemplateSpec) -> core.PodTemplateSpec:
    if HASH_LABEL not in template.metadata.labels:
        return template
    labels = {key: value for key, value in template.metadata.labels.items() if key != HASH_LABEL}
    return msgspec.structs.replace(template, metadata=msgspec.structs.replace(template.metadata, labels=labels))


def same_template(one: core.PodTemplateSpec, other: core.PodTemplateSpec) -> bool:
    """Whether two templates make the same pods, apart from the hash."""
    return _without_hash(one) == _without_hash(other)


def by_age(sets: Iterable[apps.ReplicaSet]) -> list[apps.ReplicaSet]:
    """Oldest first."""
    return sorted(sets, key=lambda one: (one.metadata.creation_timestamp or "", one.metadata.name))


def find_new(deployment: apps.Deployment, sets: Iterable[apps.ReplicaSet]) -> apps.ReplicaSet | None:
    """The ReplicaSet of the Deployment's present template; the oldest, should there be several."""
    for one in by_age(sets):
        if same_template(one.spec.template, deployment.spec.template):
            return one
    return None


def revision(obj: apps.ReplicaSet | apps.Deployment) -> int:
    return whole(obj.metadata.annotations.get(REVISION, "0")) or 0


def next_revision(old: Sequence[apps.ReplicaSet]) -> int:
    return max((revision(one) for one in old), default=0) + 1


def annotations_of(deployment: apps.Deployment, known: apps.ReplicaSet | None, number: int) -> dict[str, str]:
    """The annotations of the new ReplicaSet (`known`, if it is there): the Deployment's own and its revision."""
    out = dict(known.metadata.annotations) if known is not None else {}
    out |= {key: value for key, value in deployment.metadata.annotations.items() if key not in _NOT_COPIED}
    before = revision(known) if known is not None else 0
    if number > before:
        if before:
            # A rollback: the revision it had is kept, so that `kubectl rollout history` can still be read.
            out[HISTORY] = ",".join(filter(None, [out.get(HISTORY, ""), str(before)]))
        out[REVISION] = str(number)
    return out


def sizes(deployment: apps.Deployment, most: int) -> dict[str, str]:
    """What the Deployment wanted when a set was last scaled: proportions are computed from it."""
    return {DESIRED: str(deployment.spec.replicas or 0), MAXIMUM: str(most)}


def new_set(deployment: apps.Deployment, replicas: int, noted: dict[str, str]) -> apps.ReplicaSet:
    """The ReplicaSet of the present template (A2)."""
    template = deployment.spec.template
    digest = template_hash(template, deployment.status.collision_count or 0)
    labels = {**template.metadata.labels, HASH_LABEL: digest}
    selector = deployment.spec.selector or meta.LabelSelector()
    return apps.ReplicaSet(
        metadata=meta.ObjectMeta(
            name=f"{deployment.metadata.name}-{digest}",
            namespace=deployment.metadata.namespace,
            labels=labels,
            annotations=noted,
            owner_references=[owners.reference(deployment)],
        ),
        spec=apps.ReplicaSetSpec(
            replicas=replicas,
            min_ready_seconds=deployment.spec.min_ready_seconds,
            selector=meta.LabelSelector(
                match_labels={**selector.match_labels, HASH_LABEL: digest},
                match_expressions=selector.match_expressions,
            ),
            template=msgspec.structs.replace(
                template, metadata=msgspec.structs.replace(template.metadata, labels=labels)
            ),
        ),
    )


def with_size(one: apps.ReplicaSet, replicas: int, noted: dict[str, str]) -> apps.ReplicaSet:
    """The set with another size; `noted` goes into its annotations."""
    return msgspec.structs.replace(
        one,
        metadata=msgspec.structs.replace(one.metadata, annotations={**one.metadata.annotations, **noted}),
        spec=msgspec.structs.replace(one.spec, replicas=replicas),
    )


def expired(deployment: apps.Deployment, old: Iterable[apps.ReplicaSet]) -> list[apps.ReplicaSet]:
    """Old, empty ReplicaSets beyond revisionHistoryLimit, oldest revisions first."""
    limit = deployment.spec.revision_history_limit
    if limit is None:
        return []
    known = [one for one in old if one.metadata.deletion_timestamp is None]
    surplus = len(known) - limit
    if surplus <= 0:
        return []
    known.sort(key=lambda one: (revision(one), one.metadata.creation_timestamp or "", one.metadata.name))
    return [
        one
        for one in known[:surplus]
        if not one.spec.replicas
        and not one.status.replicas
        and one.metadata.generation <= one.status.observed_generation
    ]
