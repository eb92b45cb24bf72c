"""What a claim and a volume that belong together say of each other, and what a new volume is like. Pure."""

from __future__ import annotations

from skerry.api import claims, codec
from skerry.api.types import core, meta, storage


def bound_volume(volume: core.PersistentVolume, claim: core.PersistentVolumeClaim) -> core.PersistentVolume:
    """The volume as this claim's."""
    made = codec.copy(volume)
    if made.spec.claim_ref is None:
        made.metadata.annotations[claims.BOUND_BY_US] = "yes"
    made.spec.claim_ref = core.ObjectReference(
        kind="PersistentVolumeClaim",
        api_version="v1",
        namespace=claim.metadata.namespace,
        name=claim.metadata.name,
        uid=claim.metadata.uid,
        resource_version=claim.metadata.resource_version,
    )
    return made


def bound_claim(claim: core.PersistentVolumeClaim, volume: core.PersistentVolume) -> core.PersistentVolumeClaim:
    """The claim as one that has this volume; what it says of itself is another write."""
    made = codec.copy(claim)
    if not made.spec.volume_name:
        made.metadata.annotations[claims.BOUND_BY_US] = "yes"
    made.spec.volume_name = volume.metadata.name
    made.metadata.annotations[claims.BIND_COMPLETED] = "yes"
    return made


def claim_status(volume: core.PersistentVolume | None, phase: str) -> core.PersistentVolumeClaimStatus:
    """What a claim says of itself."""
    if volume is None:
        return core.PersistentVolumeClaimStatus(phase=phase)
    return core.PersistentVolumeClaimStatus(
        phase=phase, access_modes=list(volume.spec.access_modes), capacity=dict(volume.spec.capacity)
    )


def directory_name(claim: core.PersistentVolumeClaim) -> str:
    """What the directory of a claim's volume is called."""
    return f"pvc-{claim.metadata.uid}_{claim.metadata.namespace}_{claim.metadata.name}"


def provisioned(
    claim: core.PersistentVolumeClaim, chosen: storage.StorageClass, node: str, hostname: str, path: str
) -> core.PersistentVolume:
    """A new volume for a claim: a directory on one node, which has this label of its host, or none."""
    here = core.NodeSelectorTerm()
    if hostname:
        here.match_expressions = [core.NodeSelectorRequirement(key=claims.HOSTNAME, operator="In", values=[hostname])]
    else:
        here.match_fields = [core.NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])]
    affinity = core.VolumeNodeAffinity(required=core.NodeSelector(node_selector_terms=[here]))
    made = core.PersistentVolume(
        metadata=meta.ObjectMeta(
            name=f"pvc-{claim.metadata.uid}", annotations={claims.PROVISIONED_BY: claims.PROVISIONER}
        ),
        spec=core.PersistentVolumeSpec(
            capacity={"storage": claim.spec.resources.requests["storage"]},
            access_modes=list(claim.spec.access_modes),
            persistent_volume_reclaim_policy=chosen.reclaim_policy or "Delete",
            storage_class_name=chosen.metadata.name,
            volume_mode="Filesystem",
            host_path=core.HostPathVolumeSource(path=path, type="DirectoryOrCreate"),
            node_affinity=affinity,
        ),
    )
    bound = bound_volume(made, claim)
    del bound.metadata.annotations[claims.BOUND_BY_US]
    return bound


def cannot_be_made(claim: core.PersistentVolumeClaim) -> str:
    """Why our provisioner makes no volume for a claim whatever happens, "" if it does."""
    spec = claim.spec
    if spec.selector is not None:
        return "claim.Spec.Selector is not supported"
    if spec.data_source is not None or spec.data_source_ref is not None:
        return "a volume begins empty here: dataSource is not supported"
    return "block volumes are not supported: use volumeMode Filesystem" if spec.volume_mode == "Block" else ""
