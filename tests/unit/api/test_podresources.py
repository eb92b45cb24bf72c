"""What a pod asks for and may use, summed over its containers."""

from __future__ import annotations

from typing import Any

from skerry.api import podresources
from skerry.api.types import core


def container(name: str, restart_policy: str | None = None, **resources: Any) -> core.Container:
    return core.Container(name=name, restart_policy=restart_policy, resources=core.ResourceRequirements(**resources))


def test_requests_are_the_sum_or_what_the_largest_init_container_needs() -> None:
    spec = core.PodSpec(containers=[container("c", requests={"cpu": "100m", "memory": "1Gi"})], overhead={"cpu": "10m"})
    spec.init_containers = [
        container("i", requests={"cpu": "300m"}),
        container("s", "Always", requests={"cpu": "50m"}),
    ]
    amounts = podresources.requests(core.Pod(spec=spec))
    assert (float(amounts["cpu"]), int(amounts["memory"])) == (0.31, 2**30)
    spec.containers[0].resources.requests["cpu"] = "400m"
    assert float(podresources.requests(core.Pod(spec=spec))["cpu"]) == 0.46


def test_a_pod_has_a_limit_where_all_of_its_containers_have() -> None:
    spec = core.PodSpec(
        containers=[container("a", limits={"cpu": "1", "memory": "1Gi"}), container("b", limits={"memory": "1Gi"})],
        overhead={"cpu": "10m", "memory": "1Mi"},
    )
    assert podresources.limits(core.Pod(spec=spec)) == {"memory": (2 << 30) + (1 << 20)}
    spec.init_containers = [container("i", limits={"cpu": "5"})]
    assert podresources.limits(core.Pod(spec=spec)) == {}


def test_what_is_said_for_the_whole_pod_counts_instead() -> None:
    spec = core.PodSpec(containers=[container("a", requests={"cpu": "1"}), container("b", limits={"memory": "1Gi"})])
    spec.resources = core.ResourceRequirements(requests={"cpu": "3"}, limits={"cpu": "4"})
    assert podresources.requests(core.Pod(spec=spec)) == {"cpu": 3}
    assert podresources.limits(core.Pod(spec=spec)) == {"cpu": 4}
