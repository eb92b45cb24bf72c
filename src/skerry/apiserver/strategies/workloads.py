"""Deployment, ReplicaSet, StatefulSet and DaemonSet."""

from __future__ import annotations

from typing import Any

from skerry.apiserver.strategies.base import Context, Strategy


class _WorkloadStrategy(Strategy):
    """Templates carry no creation time of their own."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        obj.spec.template.metadata.creation_timestamp = None


class DeploymentStrategy(_WorkloadStrategy):
    """A change of annotations is a new generation too: they are copied to the ReplicaSets."""

    def keep_all_but_status(self, new: Any, old: Any) -> None:
        super().keep_all_but_status(new, old)
        new.metadata.labels = dict(old.metadata.labels)

    def changes_generation(self, new: Any, old: Any) -> bool:
        return super().changes_generation(new, old) or new.metadata.annotations != old.metadata.annotations


class ReplicaSetStrategy(_WorkloadStrategy):
    """As its kind's fields say."""


class StatefulSetStrategy(_WorkloadStrategy):
    """Its claims are templates: nothing has a status or a place yet."""

    def prepare_create(self, obj: Any, ctx: Context) -> None:
        super().prepare_create(obj, ctx)
        for claim in obj.spec.volume_claim_templates:
            claim.metadata.creation_timestamp = None


class DaemonSetStrategy(_WorkloadStrategy):
    """As its kind's fields say."""
