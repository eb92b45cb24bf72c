"""QoS classes of pods."""

from __future__ import annotations

import pytest

from skerry.api.qos import qos_class
from skerry.api.types import core

FULL = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ([({}, {})], "BestEffort"),
        ([({"cpu": "0"}, {})], "BestEffort"),
        ([(FULL, FULL)], "Guaranteed"),
        ([(FULL, {})], "Guaranteed"),
        ([({"cpu": "1000m", "memory": "1024Mi"}, FULL)], "Guaranteed"),
        ([(FULL, {"cpu": "500m", "memory": "1Gi"})], "Burstable"),
        ([({}, {"cpu": "1"})], "Burstable"),
        ([({"cpu": "1"}, {})], "Burstable"),
        ([(FULL, FULL), ({}, {})], "Burstable"),
        ([({"example.com/gpu": "1"}, {})], "BestEffort"),
    ],
)
def test_class(resources: list[tuple[dict[str, str], dict[str, str]]], wanted: str) -> None:
    containers = [
        core.Container(resources=core.ResourceRequirements(limits=limits, requests=requests))
        for limits, requests in resources
    ]
    assert qos_class(core.PodSpec(containers=containers)) == wanted


def test_init_containers_count() -> None:
    full = core.ResourceRequirements(limits=FULL, requests=FULL)
    spec = core.PodSpec(containers=[core.Container(resources=full)], init_containers=[core.Container()])
    assert qos_class(spec) == "Burstable"
