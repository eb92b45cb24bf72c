"""The Node object and its Lease, against a real API server in fake time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from tests.helpers import server

from skerry.api.types import coordination, core
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import FakeClock, rfc3339
from skerry.node.agent.health import Health
from skerry.node.agent.housekeeping import pressed
from skerry.node.agent.registration import Registration
from skerry.node.cgroups.pods import PodCgroups
from skerry.node.cgroups.subtree import Claim


@pytest.fixture
async def node(tmp_path):
    clock = FakeClock()
    api = await server.start(clock)
    ready = asyncio.Event()
    informers = Informers(api.client, clock)
    await informers.start()
    services = SimpleNamespace(
        name="node-1",
        ips=("10.243.0.2",),
        pod_cidrs=("10.244.1.0/24",),
        client=api.client,
        clock=clock,
        informers=informers,
        recorder=Recorder(api.client, "kubelet", "node-1", clock=clock),
        data=tmp_path,
        ready=ready,
        cgroups=PodCgroups(Claim(None, "for this test"), "node-1"),
        health=Health(),
        max_pods=110,
        conditions=(),
    )
    yield services
    for task in services.tasks:
        task.cancel()
    await asyncio.gather(*services.tasks, return_exceptions=True)
    await informers.stop()


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
    node.tasks[0].cancel()
    labels = {"metadata": {"labels": {"zone": "a", "kubernetes.io/os": "wrong"}}, "spec": {"unschedulable": True}}
    await node.client.patch(core.Node, "node-1", labels)
    lost = {
        "conditions": [{"type": "Ready", "status": "Unknown"}],
        "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
    }
    await node.client.patch(core.Node, "node-1", {"status": lost}, type="strategic", subresource="status")
    await node.clock.advance(60)
    found = await register(node)
    assert found.metadata.labels["zone"] == "a" and found.metadata.labels["kubernetes.io/os"] == "linux"
    assert found.spec.unschedulable
    assert [one.address for one in found.status.addresses] == ["10.243.0.2", "node-1"]
    ready = ready_of(found)
    assert ready.status == "True"
    assert ready.last_transition_time >= rfc3339(node.clock.now() - 1)
    memory = next(one for one in found.status.conditions if one.type == "MemoryPressure")
    assert memory.last_transition_time < ready.last_transition_time  # it never changed


async def test_who_says_that_a_living_node_is_lost_is_contradicted_at_once(node):
    node.ready.set()
    await register(node)
    lost = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}
    await node.client.patch(core.Node, "node-1", {"status": lost}, type="strategic", subresource="status")
    await node.clock.advance(0.1)
    found = ready_of(await node.client.get(core.Node, "node-1"))
    assert (found.status, found.reason) == ("True", "KubeletReady")
    await node.recorder.flush()
    said = [(one.message, one.count) for one in (await node.client.list(core.Event)).items]
    assert said == [("Node node-1 status is now: NodeReady", 2)]


async def test_a_node_that_is_cordoned_says_so(node):
    node.ready.set()
    await register(node)
    for unschedulable in (True, False):
        await node.client.patch(core.Node, "node-1", {"spec": {"unschedulable": unschedulable}})
        await node.clock.advance(0.1)
    await node.recorder.flush()
    said = [(one.reason, one.message) for one in (await node.client.list(core.Event)).items]
    assert said[1:] == [
        ("NodeNotSchedulable", "Node node-1 status is now: NodeNotSchedulable"),
        ("NodeSchedulable", "Node node-1 status is now: NodeSchedulable"),
    ]


async def test_a_status_that_does_not_change_is_written_every_five_minutes(node):
    node.ready.set()
    first = ready_of(await register(node)).last_heartbeat_time
    await node.clock.advance(299)
    assert ready_of(await node.client.get(core.Node, "node-1")).last_heartbeat_time == first
    await node.clock.advance(2)
    assert ready_of(await node.client.get(core.Node, "node-1")).last_heartbeat_time > first


async def test_a_deleted_node_stays_deleted_until_its_process_starts_anew(node):
    node.ready.set()
    await register(node)
    await node.client.delete(core.Node, "node-1")
    await node.client.delete(coordination.Lease, "node-1", "kube-node-lease")
    await node.clock.advance(600)
    assert (await node.client.list(core.Node)).items == []
    assert (await node.client.list(coordination.Lease, "kube-node-lease")).items == []
    assert not node.tasks[0].done()  # or the whole agent would end, and with it the pods
    assert ready_of(await register(node)).status == "True"


async def test_what_housekeeping_finds_is_told_at_once(node):
    node.ready.set()
    await register(node)
    image = core.ContainerImage(names=["docker.io/library/nginx:1"], size_bytes=5)
    node.health.update(disk_pressure=True, images=[image])
    await node.clock.advance(1)
    found = await node.client.get(core.Node, "node-1")
    pressure = next(one for one in found.status.conditions if one.type == "DiskPressure")
    assert (pressure.status, pressure.reason) == ("True", "KubeletHasDiskPressure")
    assert found.status.images == [image]
    node.health.update(disk_pressure=False, images=[])
    await node.clock.advance(1)
    found = await node.client.get(core.Node, "node-1")
    pressure = next(one for one in found.status.conditions if one.type == "DiskPressure")
    assert (pressure.status, pressure.reason, found.status.images) == ("False", "KubeletHasNoDiskPressure", [])


@pytest.mark.parametrize(
    ("size", "free", "inodes", "expected"),
    [
        (1 << 40, 1 << 30, 0.5, False),
        (1 << 40, (1 << 30) - 4096, 0.5, True),
        (1 << 30, 120 << 20, 0.5, False),  # a tenth of a small disk is enough
        (1 << 30, 100 << 20, 0.5, True),
        (1 << 40, 1 << 39, 0.04, True),
    ],
)
def test_when_a_disk_is_nearly_full(size, free, inodes, expected):
    disk = SimpleNamespace(
        f_frsize=4096, f_blocks=size // 4096, f_bavail=free // 4096, f_files=1000, f_favail=int(1000 * inodes)
    )
    assert pressed(disk) is expected
