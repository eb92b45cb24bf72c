"""What binds PersistentVolumeClaims and PersistentVolumes: names, and which volume a claim can have. Pure.

Called by the storage controller, the scheduler and the node agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import labels as selectors
from skerry.api import nodefit, quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from skerry.api.types import core, storage

PROVISIONER = "skerry.dev/host-path"
STANDARD = "standard"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAITS = "WaitForFirstConsumer"
IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
BOUND_BY_US = "pv.kubernetes.io/bound-by-controller"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
WHO_PROVISIONS = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
HOSTNAME = "kubernetes.io/hostname"


def class_of(claim: core.PersistentVolumeClaim) -> str:
    """The storage class that a claim names, "" for none."""
    return claim.metadata.annotations.get(OLD_CLASS) or claim.spec.storage_class_name or ""


def is_bound(claim: core.PersistentVolumeClaim) -> bool:
    """Whether a claim has its volume and knows it."""
    return bool(claim.spec.volume_name) and claim.status.phase == "Bound"


def waits(claim: core.PersistentVolumeClaim, chosen: storage.StorageClass | None) -> bool:
    """Whether a claim of this class gets its volume only when a pod that uses it has been given a node."""
    return chosen is not None and chosen.volume_binding_mode == WAITS and not claim.spec.volume_name


def is_of(volume: core.PersistentVolume, claim: core.PersistentVolumeClaim) -> bool:
    """Whether a volume is kept for this claim, or is its own."""
    ref = volume.spec.claim_ref
    if ref is None or (ref.namespace, ref.name) != (claim.metadata.namespace, claim.metadata.name):
        return False
    return ref.uid in ("", claim.metadata.uid)


def is_free(volume: core.PersistentVolume) -> bool:
    """Whether a volume is kept for nobody."""
    return volume.spec.claim_ref is None and not volume.metadata.deletion_timestamp


def suits(volume: core.PersistentVolume, claim: core.PersistentVolumeClaim) -> bool:
    """Whether a volume that is nobody's could be this claim's."""
    spec, wanted = volume.spec, claim.spec
    if volume.metadata.deletion_timestamp or (spec.claim_ref is not None and not is_of(volume, claim)):
        return False
    if spec.claim_ref is None and volume.status.phase != "Available":
        return False
    if spec.storage_class_name != class_of(claim) or not set(wanted.access_modes) <= set(spec.access_modes):
        return False
    if (spec.volume_mode or "Filesystem") != (wanted.volume_mode or "Filesystem"):
        return False
    asked = wanted.resources.requests.get("storage", "0")
    if quantity.parse(spec.capacity.get("storage", "0")) < quantity.parse(asked):
        return False
    return wanted.selector is None or selectors.from_selector(wanted.selector).matches(volume.metadata.labels)


def reached(volume: core.PersistentVolume, node: str, labels: Mapping[str, str]) -> bool:
    """Whether a node with this name and these labels can use a volume."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return True
    return any(nodefit.matches_term(one, node, labels) for one in affinity.required.node_selector_terms)


def best(claim: core.PersistentVolumeClaim, volumes: Iterable[core.PersistentVolume]) -> core.PersistentVolume | None:
    """The volume that a claim gets: the one kept for it, else the smallest that suits."""
    suitable = [one for one in volumes if suits(one, claim)]
    return min(
        suitable,
        key=lambda one: (
            one.spec.claim_ref is None,
            quantity.parse(one.spec.capacity.get("storage", "0")),
            one.metadata.name,
        ),
        default=None,
    )


def names_of(pod: core.Pod) -> list[str]:
    """The claims that a pod uses."""
    return [
        one.persistent_volume_claim.claim_name for one in pod.spec.volumes if one.persistent_volume_claim is not None
    ]
