"""How important pods are: PriorityClasses resolved when a pod is made. Called by verbs.py and deletion.py.

A class is looked up once, when a pod is created: what is done to the class later does not touch pods that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import codec, resources, status
from skerry.api.types import core, scheduling
from skerry.api.validation.policy import SYSTEM_PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.store.base import Store

_PREEMPTS = "PreemptLowerPriority"


async def admit_pod(store: Store, pod: core.Pod) -> None:
    """Fills in priority and preemptionPolicy. ApiError 403 for a class that is not there, or values that contradict."""
    spec, row = pod.spec, resources.of(scheduling.PriorityClass)
    priority, policy = 0, _PREEMPTS
    if spec.priority_class_name:
        record = await store.get(row.key("", spec.priority_class_name))
        if record is None:
            raise _refused(pod, f"no PriorityClass with name {spec.priority_class_name} was found")
        found = codec.decode(scheduling.PriorityClass, record.value)
        priority, policy = found.value, found.preemption_policy or _PREEMPTS
    else:
        standard = await _default(store)
        if standard is not None:
            spec.priority_class_name = standard.metadata.name
            priority, policy = standard.value, standard.preemption_policy or _PREEMPTS
    if spec.priority is not None and spec.priority != priority:
        raise _refused(pod, _contradicts("integer value of priority", spec.priority, priority))
    if spec.preemption_policy is not None and spec.preemption_policy != policy:
        raise _refused(pod, _contradicts("string value of PreemptionPolicy", spec.preemption_policy, policy))
    spec.priority, spec.preemption_policy = priority, policy


async def admit_class(store: Store, wanted: scheduling.PriorityClass) -> None:
    """ApiError 403 if it wants to be the default beside another one."""
    if not wanted.global_default:
        return
    other = await _default(store, lambda one: one.metadata.name != wanted.metadata.name)
    if other is not None:
        row = resources.of(scheduling.PriorityClass)
        why = f"PriorityClass {other.metadata.name} is already marked as default. Only one default can exist"
        raise status.forbidden(row.group, row.plural, wanted.metadata.name, why)


def refuse_deletion(name: str) -> None:
    """ApiError 403 for the classes that every cluster has."""
    if name in SYSTEM_PRIORITIES:
        row = resources.of(scheduling.PriorityClass)
        why = "this is a system priority class and cannot be deleted"
        raise status.forbidden(row.group, row.plural, name, why)


async def _default(
    store: Store, suits: Callable[[scheduling.PriorityClass], bool] = lambda _: True
) -> scheduling.PriorityClass | None:
    """The class that pods without one get; the least important, should there be several."""
    records, _ = await store.range(resources.of(scheduling.PriorityClass).prefix)
    # Every new pod asks: most clusters have no default, and its bytes say so.
    marked = (one.value for one in records if b'"globalDefault":true' in one.value)
    found = [one for one in (codec.decode(scheduling.PriorityClass, each) for each in marked) if one.global_default]
    return min(filter(suits, found), key=lambda one: one.value, default=None)


def _contradicts(what: str, said: object, computed: object) -> str:
    return (
        f"the {what} ({said}) must not be provided in pod spec; priority admission controller computed {computed} "
        "from the given PriorityClass name"
    )


def _refused(pod: core.Pod, why: str) -> status.ApiError:
    return status.forbidden("", "pods", pod.metadata.name, why)
