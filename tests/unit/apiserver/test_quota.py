"""ResourceQuota and LimitRange, through a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.helpers import server as helper
from tests.helpers.server import ApiServer

from skerry.api import status
from skerry.api.types import apps, core, meta
from skerry.apiserver import quota
from skerry.clock import SystemClock

NS = "default"


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    started = await helper.start()
    task = asyncio.create_task(quota.report(started.app.server, SystemClock()))
    yield started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def named(name: str) -> meta.ObjectMeta:
    return meta.ObjectMeta(name=name, namespace=NS)


def limits(name: str = "q", *, scopes: tuple[str, ...] = (), **hard: str) -> core.ResourceQuota:
    return core.ResourceQuota(metadata=named(name), spec=core.ResourceQuotaSpec(hard=hard, scopes=list(scopes)))


def pod(name: str, *, requests: Any = None, limits: Any = None, **spec: Any) -> core.Pod:
    resources = core.ResourceRequirements(requests=requests or {}, limits=limits or {})
    box = core.Container(name="c", image="i", resources=resources)
    return core.Pod(metadata=named(name), spec=core.PodSpec(containers=[box], **spec))


async def refused(work: Any) -> str:
    with pytest.raises(status.ApiError) as caught:
        await work
    assert caught.value.code == 403
    return str(caught.value)


async def used(api: ApiServer, wanted: dict[str, str], name: str = "q") -> None:
    """Waits until the quota's status says so."""
    async with asyncio.timeout(5):
        while (found := await api.client.get(core.ResourceQuota, name, NS)).status.used != wanted:  # noqa: ASYNC110  (bounded)
            await asyncio.sleep(0.005)
    assert found.status.hard == found.spec.hard


async def test_pods_are_counted(api: ApiServer) -> None:
    await api.client.create(pod("before"))
    await api.client.create(limits(pods="2"))
    await used(api, {"pods": "1"})
    await api.client.create(pod("a"))
    said = await refused(api.client.create(pod("b")))
    assert said == 'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
    ended = await api.client.get(core.Pod, "a", NS)
    ended.status.phase = "Succeeded"
    await api.client.update(ended, subresource="status")
    await api.client.create(pod("b"))
    await api.client.delete(core.Pod, "b", NS)
    await used(api, {"pods": "1"})
    await api.client.delete(core.ResourceQuota, "q", NS)
    for name in "cde":
        await api.client.create(pod(name))


async def test_who_races_never_passes_the_limit(api: ApiServer) -> None:
    await api.client.create(limits(pods="7"))
    done = await asyncio.gather(*(api.client.create(pod(f"p{i}")) for i in range(30)), return_exceptions=True)
    assert sum(isinstance(one, core.Pod) for one in done) == 7
    await used(api, {"pods": "7"})
    same = await asyncio.gather(
        *(api.client.create(limits("w", **{"count/configmaps": "1"})) for _ in range(2)), return_exceptions=True
    )
    assert sum(isinstance(one, status.ApiError) for one in same) == 1
    config = core.ConfigMap(metadata=named("once"))
    both = await asyncio.gather(*(api.client.create(config) for _ in range(2)), return_exceptions=True)
    assert [one.reason for one in both if isinstance(one, status.ApiError)] == ["AlreadyExists"]
    await used(api, {"count/configmaps": "1"}, "w")


async def test_what_is_refused_otherwise_costs_nothing(api: ApiServer) -> None:
    await api.client.create(limits(pods="1"))
    await api.ask("POST", f"/api/v1/namespaces/{NS}/pods", helper_body("x"), query={"dryRun": "All"})
    with pytest.raises(status.ApiError):
        await api.client.create(pod("bad", restart_policy="Sometimes"))
    await api.client.create(pod("good"))


def helper_body(name: str) -> bytes:
    from skerry.api import codec

    return codec.encode(pod(name))


async def test_amounts(api: ApiServer) -> None:
    hard = {"requests.cpu": "1", "requests.memory": "1Gi", "limits.memory": "2Gi"}
    await api.client.create(limits(**hard))
    said = await refused(api.client.create(pod("none")))
    assert said == (
        'pods "none" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c; '
        "requests.memory for: c"
    )
    asked = {"cpu": "600m", "memory": "256Mi"}
    await api.client.create(pod("a", requests=asked, limits={"memory": "512Mi"}))
    await used(api, {"requests.cpu": "600m", "requests.memory": "256Mi", "limits.memory": "512Mi"})
    said = await refused(api.client.create(pod("b", requests=asked, limits={"memory": "3Gi"})))
    assert said.endswith(
        "exceeded quota: q, requested: limits.memory=3Gi,requests.cpu=600m, used: limits.memory=512Mi,"
        "requests.cpu=600m, limited: limits.memory=2Gi,requests.cpu=1"
    )


async def test_scopes(api: ApiServer) -> None:
    await api.client.create(limits("best", scopes=("BestEffort",), pods="1"))
    await api.client.create(limits("short", scopes=("Terminating",), pods="1"))
    await api.client.create(pod("a"))
    assert "exceeded quota: best" in await refused(api.client.create(pod("b")))
    asked = {"cpu": "1m"}
    await api.client.create(pod("b", requests=asked))
    await api.client.create(pod("c", requests=asked, active_deadline_seconds=9))
    said = await refused(api.client.create(pod("d", requests=asked, active_deadline_seconds=9)))
    assert "exceeded quota: short" in said
    selector = core.ScopeSelector(
        match_expressions=[
            core.ScopedResourceSelectorRequirement(
                scope_name="PriorityClass", operator="In", values=["system-node-critical"]
            )
        ]
    )
    spec = core.ResourceQuotaSpec(hard={"pods": "0"}, scope_selector=selector)
    await api.client.create(core.ResourceQuota(metadata=named("high"), spec=spec))
    said = await refused(api.client.create(pod("e", requests=asked, priority_class_name="system-node-critical")))
    assert "exceeded quota: high" in said
    await api.client.create(pod("e", requests=asked))


async def test_services_and_counts(api: ApiServer) -> None:
    await api.client.create(limits(**{"services.nodeports": "2", "services.loadbalancers": "0",
                                      "count/deployments.apps": "0"}))  # fmt: skip
    spec = core.ServiceSpec(ports=[core.ServicePort(port=1, name="a"), core.ServicePort(port=2, name="b")])
    made = await api.client.create(core.Service(metadata=named("s"), spec=spec))
    made.spec.type = "LoadBalancer"
    said = await refused(api.client.update(made))
    assert said.startswith('services "s" is forbidden: exceeded quota: q, requested: services.loadbalancers=1')
    made.spec.type = "NodePort"
    await api.client.update(made)
    await used(api, {"services.nodeports": "2", "services.loadbalancers": "0", "count/deployments.apps": "0"})
    other = core.ServiceSpec(type="NodePort", ports=[core.ServicePort(port=1)])
    assert "services.nodeports=1" in await refused(api.client.create(core.Service(metadata=named("t"), spec=other)))
    labels = {"a": "b"}
    template = core.PodTemplateSpec(metadata=meta.ObjectMeta(labels=labels), spec=pod("x").spec)
    wanted = apps.DeploymentSpec(selector=meta.LabelSelector(match_labels=labels), template=template)
    said = await refused(api.client.create(apps.Deployment(metadata=named("d"), spec=wanted)))
    assert said.startswith('deployments.apps "d" is forbidden: exceeded quota: q, requested: count/deployments.apps=1')


async def test_a_quota_that_changes(api: ApiServer) -> None:
    made = await api.client.create(limits(pods="0"))
    await refused(api.client.create(pod("a")))
    made = await api.client.get(core.ResourceQuota, "q", NS)
    made.spec.hard = {"pods": "1", "count/secrets": "5"}
    await api.client.update(made)
    await api.client.create(pod("a"))
    await used(api, {"pods": "1", "count/secrets": "0"})


@pytest.mark.parametrize(
    ("hard", "scopes", "said"),
    [
        ({"pods": "1.5"}, (), 'spec.hard[pods]: Invalid value: "1500m": must be an integer'),
        ({"cats": "1"}, (), 'spec.hard[cats]: Invalid value: "cats": must be a standard resource type or fully'),
        ({"pods": "1"}, ("Any",), 'spec.scopes: Invalid value: ["Any"]: unsupported scope'),
        ({"services": "1"}, ("BestEffort",), "unsupported scope applied to resource"),
        ({"pods": "1"}, ("Terminating", "NotTerminating"), "conflicting scopes"),
    ],
)
async def test_quotas_that_mean_nothing(api: ApiServer, hard: Any, scopes: tuple[str, ...], said: str) -> None:
    with pytest.raises(status.ApiError) as caught:
        await api.client.create(limits(scopes=scopes, **hard))
    assert caught.value.code == 422 and said in str(caught.value)


def a_range(**item: Any) -> core.LimitRange:
    given = core.LimitRangeItem(**{"type": "Container", **item})
    return core.LimitRange(metadata=named("r"), spec=core.LimitRangeSpec(limits=[given]))


async def test_a_limit_range_gives_defaults(api: ApiServer) -> None:
    made = await api.client.create(a_range(max={"memory": "1Gi"}, default={"cpu": "1"}, default_request={"cpu": "10m"}))
    item = made.spec.limits[0]
    assert item.default == {"memory": "1Gi", "cpu": "1"} and item.default_request == {"memory": "1Gi", "cpu": "10m"}
    found = await api.client.create(pod("a"))
    resources = found.spec.containers[0].resources
    assert resources.requests == {"memory": "1Gi", "cpu": "10m"} and resources.limits == {"memory": "1Gi", "cpu": "1"}
    assert found.metadata.annotations["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    )
    assert found.status.qos_class == "Burstable"


@pytest.mark.parametrize(
    ("item", "resources", "said"),
    [
        ({"min": {"cpu": "100m"}}, {"requests": {"cpu": "10m"}},
         "minimum cpu usage per Container is 100m, but request is 10m"),
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        ({"max_limit_request_ratio": {"cpu": "2"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
         "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, {},
         "maximum memory usage per Pod is 1Gi.  No limit is specified"),
        ({"type": "Pod", "max": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}},
         "maximum memory usage per Pod is 1Gi, but limit is 2Gi"),
    ],
)  # fmt: skip
async def test_a_limit_range_refuses(api: ApiServer, item: Any, resources: Any, said: str) -> None:
    await api.client.create(a_range(**item))
    assert await refused(api.client.create(pod("a", **resources))) == f'pods "a" is forbidden: {said}'


async def test_limit_ranges_that_mean_nothing(api: ApiServer) -> None:
    for item, said in (
        ({"min": {"cpu": "2"}, "max": {"cpu": "1"}},
         'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'),
        ({"type": "Pod", "default": {"cpu": "1"}}, "may not be specified when `type` is 'Pod'"),
        ({"type": "PersistentVolumeClaim"}, "either minimum or maximum storage value is required"),
    ):  # fmt: skip
        with pytest.raises(status.ApiError) as caught:
            await api.client.create(a_range(**item))
        assert said in str(caught.value)
