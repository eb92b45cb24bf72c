"""LimitRanges, applied when a pod or a claim is created. Called by verbs.py, after the object has its defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skerry.api import limitranges, resources, status
from skerry.api.types import core
from skerry.apiserver import known

if TYPE_CHECKING:
    from skerry.store.base import Store


async def admit(store: Store, obj: Any) -> None:
    """Fills in what a LimitRange gives. ApiError 403 for what none of the namespace's allows."""
    if not isinstance(obj, core.Pod | core.PersistentVolumeClaim):
        return
    row = resources.of(core.LimitRange)
    records, _ = await store.range(f"{row.prefix}{obj.metadata.namespace}/")
    if not records:
        return
    ranges: list[core.LimitRange] = [known.typed(row, one) for one in records]
    if isinstance(obj, core.Pod):
        limitranges.fill(obj, ranges)
    for one in ranges:
        said = limitranges.refused_pod(obj, one) if isinstance(obj, core.Pod) else limitranges.refused_claim(obj, one)
        if said:
            text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
            raise status.forbidden("", resources.of(type(obj)).plural, obj.metadata.name, text)
