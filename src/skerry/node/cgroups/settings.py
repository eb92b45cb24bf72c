"""From a pod's requests and limits to the files of its cgroups, for both versions of the kernel's interface. Pure.

Called by pods.py and, for oom_score_adj, by the node agent. The formulas are the kubelet's and runc's, so that a pod
gets the same share of a machine here and elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from skerry.api import quantity
from skerry.api.podresources import limits, requests
from skerry.api.qos import qos_class

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from skerry.api.types import core

PERIOD = 100_000
"""Microseconds over which a cpu limit is counted."""
MIN_SHARES, MAX_SHARES, MIN_QUOTA = 2, 262_144, 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """What one cgroup gets; None: no limit. `shares` as cgroup v1 counts them (1024 a core), `quota` in microseconds of
    each PERIOD, `memory` in bytes. `together`: if one process is killed for want of memory, all are.
    """

    shares: int | None = None
    quota: int | None = None
    memory: int | None = None
    pids: int | None = None
    together: bool = False


class File(NamedTuple):
    """A file of a cgroup's directory and what to write. `optional`: not every kernel has it."""

    controller: str
    name: str
    text: str
    optional: bool = False


def shares_of(cores: Fraction | int) -> int:
    """How much a cgroup weighs that asks for so many cores."""
    return max(MIN_SHARES, min(MAX_SHARES, _milli(cores) * 1024 // 1000))


def quota_of(cores: Fraction | int) -> int | None:
    """Microseconds of processor time in each PERIOD."""
    milli = _milli(cores)
    return max(MIN_QUOTA, milli * PERIOD // 1000) if milli else None


def weight_of(shares: int) -> int:
    """Shares as cgroup v2's weight: 2 is 1, 1024 (a core) is 100, 262144 is 10000, smoothly in between."""
    if shares <= MIN_SHARES:
        return 1
    if shares >= MAX_SHARES:
        return 10_000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _milli(cores: Fraction | int) -> int:
    return math.ceil(cores * 1000)


def for_container(container: core.Container) -> Settings:
    """Of one container. A cpu limit without a request counts as the request too."""
    asked, allowed = container.resources.requests, container.resources.limits
    cores = _amount(asked, "cpu") or _amount(allowed, "cpu")
    memory = math.ceil(_amount(allowed, "memory"))
    return Settings(
        shares=shares_of(cores), quota=quota_of(_amount(allowed, "cpu")), memory=memory or None, together=True
    )


def for_pod(pod: core.Pod) -> Settings:
    """Of the cgroup around a pod's containers: limits only where every container has one."""
    if qos_class(pod.spec) == "BestEffort":
        return Settings(shares=MIN_SHARES)
    allowed = limits(pod)
    memory = math.ceil(allowed.get("memory", 0))
    return Settings(
        shares=shares_of(requests(pod).get("cpu", 0)), quota=quota_of(allowed.get("cpu", 0)), memory=memory or None
    )


def for_burstable(pods: Iterable[core.Pod]) -> Settings:
    """Of the cgroup around all burstable pods of a node: it weighs what they ask for together."""
    return Settings(shares=shares_of(sum(requests(pod).get("cpu", 0) for pod in pods)))


def for_node(cores: int, processes: int) -> Settings:
    """Of the cgroup around all pods of a node. `processes`: how many the machine can have; pods leave it half of them,
    or a fork bomb in one would be the end of everybody's work.
    """
    return Settings(shares=shares_of(cores), pids=max(1024, processes // 2))


def level(pod: core.Pod) -> str:
    """The directory between a node's cgroup and a pod's: "" for a guaranteed pod, which has none."""
    found = qos_class(pod.spec)
    return "" if found == "Guaranteed" else found.lower()


def oom_score(pod: core.Pod, container: core.Container, memory: int) -> int:
    """oom_score_adj: whom the kernel kills first when the machine (with `memory` bytes) has none left.

    A guaranteed pod's is -997 in upstream; nobody but the machine's root may go below 0, so it is 0 here.
    """
    found = qos_class(pod.spec)
    if found == "Guaranteed":
        return 0
    if found == "BestEffort":
        return 1000
    asked = math.ceil(_amount(container.resources.requests, "memory"))
    return max(3, min(999, 1000 - 1000 * asked // max(1, memory)))


def _amount(found: dict[str, str], name: str) -> Fraction | int:
    return quantity.parse(found[name]) if name in found else 0


def files(version: int, settings: Settings) -> list[File]:
    """What to write, in this order. What is not limited is not written: a new cgroup has no limits."""
    return _v2(settings) if version == 2 else _v1(settings)


def _v1(settings: Settings) -> list[File]:
    out: list[File] = []
    if settings.shares is not None:
        out.append(File("cpu", "cpu.shares", str(settings.shares)))
    if settings.quota is not None:
        out.append(File("cpu", "cpu.cfs_period_us", str(PERIOD)))
        out.append(File("cpu", "cpu.cfs_quota_us", str(settings.quota)))
    if settings.memory is not None:
        out.append(File("memory", "memory.limit_in_bytes", str(settings.memory)))
        # Memory and swap together: as much as memory alone, so that nothing is swapped out.
        out.append(File("memory", "memory.memsw.limit_in_bytes", str(settings.memory), optional=True))
    if settings.pids is not None:
        out.append(File("pids", "pids.max", str(settings.pids)))
    return out


def _v2(settings: Settings) -> list[File]:
    out: list[File] = []
    if settings.shares is not None:
        out.append(File("cpu", "cpu.weight", str(weight_of(settings.shares))))
    if settings.quota is not None:
        out.append(File("cpu", "cpu.max", f"{settings.quota} {PERIOD}"))
    if settings.memory is not None:
        out.append(File("memory", "memory.max", str(settings.memory)))
        out.append(File("memory", "memory.swap.max", "0", optional=True))
    if settings.together:
        out.append(File("memory", "memory.oom.group", "1", optional=True))
    if settings.pids is not None:
        out.append(File("pids", "pids.max", str(settings.pids)))
    return out


def killed(text: str) -> int:
    """How many processes of a cgroup were killed for want of memory, from its `oom_file`."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.strip().isdigit():
            return int(number)
    return 0


def oom_file(version: int) -> str:
    """The file of a memory cgroup that `killed` reads."""
    return "memory.events" if version == 2 else "memory.oom_control"
