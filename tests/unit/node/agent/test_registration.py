"""The Node object and its Lease, against a real API server in fake time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from tests.helpers import server

from skerry.api.types import coordination, core
from skerry.clock import FakeClock, rfc3339
from skerry.node.agent.registration import Registration


@pytest.fixture
async def node(tmp_path):
    clock = FakeClock()
    api = await server.start(clock)
    ready = asyncio.Event()
    services = SimpleNamespace(
        name="node-1",
        ip="10.243.0.2",
        pod_cidr="10.244.1.0/24",
        client=api.client,
        clock=clock,
        data=tmp_path,
        ready=ready,
    )
    yield services
    for task in services.tasks:
        task.cancel()
    await asyncio.gather(*services.tasks, return_exceptions=True)


async def register(services):
    services.tasks = [*getattr(services, "tasks", ()), asyncio.create_task(Registration(services).run())]
    await services.clock.advance(0.1)
    return await services.client.get(core.Node, "node-1")


def ready_of(node):
    return next(one for one in node.status.conditions if one.type == "Ready")


async def test_a_node_is_ready_when_its_network_is(node):
    found = await register(node)
    assert (ready_of(found).status, ready_of(found).reason) == ("False", "KubeletNotReady")
    node.ready.set()
    await node.clock.advance(1)
    found = await node.client.get(core.Node, "node-1")
    ready = ready_of(found)
    assert (ready.status, ready.reason, ready.message) == ("True", "KubeletReady", "kubelet is posting ready status")
    assert {one.type: one.address for one in found.status.addresses} == {
        "InternalIP": "10.243.0.2",
        "Hostname": "node-1",
    }
    assert found.spec.pod_cid_rs == ["10.244.1.0/24"]


async def test_the_lease_is_renewed_every_ten_seconds(node):
    await register(node)
    lease = await node.client.get(coordination.Lease, "node-1", "kube-node-lease")
    assert lease.metadata.owner_references[0].kind == "Node"
    first = lease.spec.renew_time
    await node.clock.advance(10)
    second = (await node.client.get(coordination.Lease, "node-1", "kube-node-lease")).spec.renew_time
    assert second > first


async def test_a_node_that_comes_back_keeps_what_others_gave_it(node):
    node.ready.set()
    await register(node)
    labels = {"metadata": {"labels": {"zone": "a", "kubernetes.io/os": "wrong"}}, "spec": {"unschedulable": True}}
    await node.client.patch(core.Node, "node-1", labels)
    lost = {
        "conditions": [{"type": "Ready", "status": "Unknown"}],
        "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
    }
    await node.client.patch(core.Node, "node-1", {"status": lost}, type="strategic", subresource="status")
    await node.clock.advance(60)
    node.tasks[0].cancel()
    found = await register(node)
    assert found.metadata.labels["zone"] == "a" and found.metadata.labels["kubernetes.io/os"] == "linux"
    assert found.spec.unschedulable
    assert [one.address for one in found.status.addresses] == ["10.243.0.2", "node-1"]
    ready = ready_of(found)
    assert ready.status == "True"
    assert ready.last_transition_time >= rfc3339(node.clock.now() - 1)
    memory = next(one for one in found.status.conditions if one.type == "MemoryPressure")
    assert memory.last_transition_time < ready.last_transition_time  # it never changed
