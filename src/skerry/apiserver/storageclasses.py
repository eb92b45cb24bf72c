"""The class of PersistentVolumeClaims that name none. Called by verbs.py when a claim is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import claims, codec, resources
from skerry.api.types import core, storage

if TYPE_CHECKING:
    from skerry.store.base import Store


async def admit(store: Store, claim: core.PersistentVolumeClaim) -> None:
    """Fills in the default class (of several the newest, then the first by name) unless the claim says one, or ""."""
    if claim.spec.storage_class_name is not None or claims.OLD_CLASS in claim.metadata.annotations:
        return
    records, _ = await store.range(resources.of(storage.StorageClass).prefix)
    classes = sorted(
        (codec.decode(storage.StorageClass, one.value) for one in records), key=lambda one: one.metadata.name
    )
    defaults = [one for one in classes if one.metadata.annotations.get(claims.IS_DEFAULT) == "true"]
    if defaults:
        claim.spec.storage_class_name = max(
            defaults, key=lambda one: one.metadata.creation_timestamp or ""
        ).metadata.name
