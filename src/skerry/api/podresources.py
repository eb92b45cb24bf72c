"""What a pod asks for and may use, summed over its containers. Pure.

Called by the scheduler and the node's admission (requests against capacity) and by the node's cgroups.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from skerry.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skerry.api.types import core

Amounts = dict[str, Fraction]
"""By resource: cores, bytes."""
Whole = dict[str, int]
"""By resource, as upstream counts: thousandths of a CPU, bytes or pieces of everything else."""


def requests(pod: core.Pod, at_least: Mapping[str, str] | None = None) -> Amounts:
    """What a pod asks for: the sum over its containers, or more if an init container needs more.

    `at_least` stands in for what a container does not say.
    """
    return _sum(pod.spec, "requests", at_least)


def whole(amounts: Amounts) -> Whole:
    """Rounded up."""
    return {name: math.ceil(number * 1000 if name == "cpu" else number) for name, number in amounts.items()}


def amount(name: str, text: str) -> int:
    """A quantity of one resource as a whole number."""
    return quantity.milli(text) if name == "cpu" else quantity.whole(text)


def limits(pod: core.Pod) -> Amounts:
    """What a pod may use. A resource that any container may use without a limit is not in it."""
    total = _sum(pod.spec, "limits")
    own = pod.spec.resources.limits if pod.spec.resources is not None else {}
    everyone = [*pod.spec.containers, *pod.spec.init_containers]
    return {
        name: amount
        for name, amount in total.items()
        if name in own or all(name in container.resources.limits for container in everyone)
    }


def said_limits(pod: core.Pod) -> Amounts:
    """The limits that containers have, summed, whoever has none."""
    return _sum(pod.spec, "limits")


def _sum(spec: core.PodSpec, kind: Literal["requests", "limits"], at_least: Mapping[str, str] | None = None) -> Amounts:
    def of(container: core.Container) -> Mapping[str, str]:
        said: dict[str, str] = getattr(container.resources, kind)
        return {**at_least, **said} if at_least else said

    total: Amounts = {}
    for container in spec.containers:
        _add(total, of(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.init_containers:
        if container.restart_policy == "Always":
            _add(sidecars, of(container))
            _raise(peak, sidecars)
        else:
            step = dict(sidecars)
            _add(step, of(container))
            _raise(peak, step)
    for name, amount in sidecars.items():
        total[name] = total.get(name, Fraction()) + amount
    _raise(total, peak)
    if spec.resources is not None:  # said for the pod as a whole, it counts instead of the sum
        total |= {name: quantity.parse(text) for name, text in getattr(spec.resources, kind).items()}
    _add(total, spec.overhead if kind == "requests" else {k: v for k, v in spec.overhead.items() if k in total})
    return total


def _add(total: Amounts, more: Mapping[str, str]) -> None:
    for name, text in more.items():
        total[name] = total.get(name, Fraction()) + quantity.parse(text)


def _raise(total: Amounts, least: Amounts) -> None:
    for name, amount in least.items():
        total[name] = max(total.get(name, Fraction()), amount)
