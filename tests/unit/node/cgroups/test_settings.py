"""Requests and limits become the kernel's numbers, by upstream's formulas."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.types import core
from skerry.node.cgroups import settings
from skerry.node.cgroups.settings import Settings


def container(name: str = "c", **resources: Any) -> core.Container:
    return core.Container(name=name, resources=core.ResourceRequirements(**resources))


def pod(*containers: core.Container, **spec: Any) -> core.Pod:
    return core.Pod(spec=core.PodSpec(containers=list(containers), **spec))


@pytest.mark.parametrize(
    ("cores", "shares"),
    [("0", 2), ("0.001", 2), ("0.1", 102), ("0.25", 256), ("1", 1024), ("1.5", 1536), ("1000", 262144)],
)
def test_shares(cores: str, shares: int) -> None:
    assert settings.shares_of(Fraction(cores)) == shares


@pytest.mark.parametrize(
    ("cores", "quota"), [("0", None), ("0.001", 1000), ("0.01", 1000), ("0.2", 20000), ("1", 100000), ("2.5", 250000)]
)
def test_quota(cores: str, quota: int | None) -> None:
    assert settings.quota_of(Fraction(cores)) == quota


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (102, 17), (1024, 100), (2048, 174), (262144, 10000)])
def test_weight(shares: int, weight: int) -> None:
    assert settings.weight_of(shares) == weight


@given(st.integers(0, 1 << 20))
def test_a_weight_is_always_one_that_the_kernel_takes(shares: int) -> None:
    assert 1 <= settings.weight_of(shares) <= settings.weight_of(shares + 1) <= 10_000


def test_a_container() -> None:
    both = container(requests={"cpu": "250m", "memory": "64Mi"}, limits={"cpu": "500m", "memory": "128Mi"})
    assert settings.for_container(both) == Settings(256, 50_000, 128 << 20, together=True)
    assert settings.for_container(container()) == Settings(2, None, None, together=True)
    assert settings.for_container(container(limits={"cpu": "1"})) == Settings(1024, 100_000, None, together=True)


def test_a_pod_of_each_class() -> None:
    guaranteed = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    two = pod(container("a", **guaranteed), container("b", **guaranteed))
    assert (settings.level(two), settings.for_pod(two)) == ("", Settings(2048, 200_000, 2 << 30))
    # A container without a limit: the pod has none either.
    open_end = pod(container("a", **guaranteed), container("b", requests={"cpu": "500m"}, limits={"memory": "1Mi"}))
    assert settings.level(open_end) == "burstable"
    assert settings.for_pod(open_end) == Settings(1536, None, (1 << 30) + (1 << 20))
    best = pod(container())
    assert (settings.level(best), settings.for_pod(best)) == ("besteffort", Settings(2))
    assert settings.for_burstable([two, open_end]) == Settings(3584)
    assert settings.for_burstable([]) == Settings(2)


@pytest.mark.parametrize(
    ("resources", "score"),
    [
        ({}, 1000),
        ({"requests": {"memory": "1"}}, 999),
        ({"requests": {"memory": "4Gi"}}, 500),
        ({"requests": {"memory": "8Gi"}}, 3),
        ({"requests": {"cpu": "1"}}, 999),
        ({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, 0),
    ],
)
def test_who_is_killed_first(resources: dict[str, Any], score: int) -> None:
    one = container(**resources)
    assert settings.oom_score(pod(one), one, 8 << 30) == score


def test_the_files_of_both_versions() -> None:
    all_of_it = Settings(1024, 50_000, 1 << 20, 100, together=True)
    assert [(one.controller, one.name, one.text) for one in settings.files(1, all_of_it)] == [
        ("cpu", "cpu.shares", "1024"),
        ("cpu", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("memory", "memory.limit_in_bytes", "1048576"),
        ("memory", "memory.memsw.limit_in_bytes", "1048576"),
        ("pids", "pids.max", "100"),
    ]
    assert [(one.controller, one.name, one.text) for one in settings.files(2, all_of_it)] == [
        ("cpu", "cpu.weight", "100"),
        ("cpu", "cpu.max", "50000 100000"),
        ("memory", "memory.max", "1048576"),
        ("memory", "memory.swap.max", "0"),
        ("memory", "memory.oom.group", "1"),
        ("pids", "pids.max", "100"),
    ]
    assert settings.files(1, Settings()) == settings.files(2, Settings()) == []


def test_how_many_were_killed() -> None:
    assert settings.killed("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n") == 2
    assert settings.killed("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n") == 1
    assert settings.killed("") == 0
