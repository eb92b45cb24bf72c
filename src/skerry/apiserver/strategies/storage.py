"""PersistentVolume and PersistentVolumeClaim: none goes while it is in use."""

from __future__ import annotations

from typing import Any

from skerry.api import claims
from skerry.apiserver.strategies.base import Context, Strategy


class _Protected(Strategy):
    finalizer = ""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        obj.status.phase = "Pending"
        if self.finalizer not in obj.metadata.finalizers:
            obj.metadata.finalizers.append(self.finalizer)


class PersistentVolumeStrategy(_Protected):
    """Whoever is bound to it holds it."""

    finalizer = claims.VOLUME_PROTECTION


class PersistentVolumeClaimStrategy(_Protected):
    """The pods that use it hold it."""

    finalizer = claims.CLAIM_PROTECTION
