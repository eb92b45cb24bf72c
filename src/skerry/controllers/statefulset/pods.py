"""The pods of a StatefulSet: their names, what they are made of, the claims they keep. Pure.

Called by `decide` and by the shell beside it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from skerry.api.types import apps, core, meta
from skerry.controllers import owners, revisions

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


def start(statefulset: apps.StatefulSet) -> int:
    """The first ordinal."""
    return statefulset.spec.ordinals.start if statefulset.spec.ordinals is not None else 0


def ordinal_of(statefulset: apps.StatefulSet, pod: core.Pod) -> int:
    """The pod's number, -1 if its name is none of the set's."""
    found = _ORDINAL.fullmatch(pod.metadata.name)
    good = found is not None and found[1] == statefulset.metadata.name and found[2] == str(int(found[2]))
    return int(found[2]) if good and found is not None else -1


def revision_of(pod: core.Pod) -> str:
    """The name of the revision that a pod was made from."""
    return pod.metadata.labels.get(revisions.HASH_LABEL, "")


def named(statefulset: apps.StatefulSet, ordinal: int, revision: apps.ControllerRevision) -> core.Pod:
    """The pod with this number, of this version of the template."""
    template = revisions.template_of(revision)
    name = f"{statefulset.metadata.name}-{ordinal}"
    spec = msgspec.structs.replace(template.spec, hostname=name, subdomain=statefulset.spec.service_name)
    claims = statefulset.spec.volume_claim_templates
    if claims:
        own = [
            core.Volume(
                name=one.metadata.name,
                persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(claim_name=claim_name(one, name)),
            )
            for one in claims
        ]
        taken = {one.name for one in own}
        spec = msgspec.structs.replace(spec, volumes=[*own, *(one for one in spec.volumes if one.name not in taken)])
    return core.Pod(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=statefulset.metadata.namespace,
            labels={**template.metadata.labels, **_identity(name), revisions.HASH_LABEL: revision.metadata.name},
            annotations=template.metadata.annotations,
            finalizers=template.metadata.finalizers,
            owner_references=[owners.reference(statefulset)],
        ),
        spec=spec,
    )


def _identity(name: str) -> dict[str, str]:
    return {NAME_LABEL: name, INDEX_LABEL: name.rpartition("-")[2]}


def mended(pod: core.Pod) -> core.Pod | None:
    """The pod with the labels that say who it is; None if it has them."""
    wanted = _identity(pod.metadata.name)
    if wanted.items() <= pod.metadata.labels.items():
        return None
    labels = {**pod.metadata.labels, **wanted}
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, labels=labels))


def claim_name(template: core.PersistentVolumeClaim, pod: str) -> str:
    """What a pod's claim is called."""
    return f"{template.metadata.name}-{pod}"


def claims(statefulset: apps.StatefulSet, pod: str) -> list[core.PersistentVolumeClaim]:
    """The claims that a pod of this name needs, owned by whoever takes them along when it goes."""
    selector = statefulset.spec.selector or meta.LabelSelector()
    return [
        core.PersistentVolumeClaim(
            metadata=meta.ObjectMeta(
                name=claim_name(one, pod),
                namespace=statefulset.metadata.namespace,
                labels={**one.metadata.labels, **selector.match_labels},
                annotations=one.metadata.annotations,
                owner_references=claim_owners(statefulset, None),
            ),
            spec=one.spec,
        )
        for one in statefulset.spec.volume_claim_templates
    ]


def claim_owners(statefulset: apps.StatefulSet, condemned: core.Pod | None) -> list[meta.OwnerReference]:
    """Who owns a claim: the set if it is to go with it, the pod if that is scaled away and the claim is to go too."""
    kept = statefulset.spec.persistent_volume_claim_retention_policy
    if kept is None:
        return []
    owner: Any = None
    if condemned is not None and kept.when_scaled == "Delete":
        owner = condemned
    elif kept.when_deleted == "Delete":
        owner = statefulset
    if owner is None:
        return []
    return [
        meta.OwnerReference(
            api_version=owner.api_version, kind=owner.kind, name=owner.metadata.name, uid=owner.metadata.uid
        )
    ]
