"""Nodes that fall silent, before the real API server and on a clock that the test moves: what is written, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.helpers import server

from skerry.api import status
from skerry.api.types import coordination, core, meta
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import FakeClock, rfc3339, rfc3339_micro
from skerry.controllers.manager import Manager
from skerry.controllers.nodelifecycle.controller import NodeLifecycleController
from skerry.controllers.nodelifecycle.eviction import TaintEvictionController
from skerry.controllers.podgc.controller import PodGcController

UNREACHABLE = "node.kubernetes.io/unreachable"


class Nodes:
    """Plays the node agents: nodes that beat, and pods on them that are ready."""

    def __init__(self, client: Client, clock: FakeClock) -> None:
        self.client, self.clock = client, clock
        self.alive: list[str] = []

    async def add(self, *names: str) -> None:
        for name in names:
            now = rfc3339(self.clock.now())
            ready = core.NodeCondition(type="Ready", status="True", last_heartbeat_time=now)
            made = core.Node(metadata=meta.ObjectMeta(name=name), status=core.NodeStatus(conditions=[ready]))
            await self.client.create(made)
            spec = coordination.LeaseSpec(renew_time=rfc3339_micro(self.clock.now()))
            where = meta.ObjectMeta(name=name, namespace="kube-node-lease")
            await self.client.create(coordination.Lease(metadata=where, spec=spec))
            self.alive.append(name)

    async def pass_(self, seconds: float) -> None:
        """Time passes, and nodes that are alive renew their Leases every ten seconds, as agents do."""
        while seconds > 0:
            step = min(10.0, seconds)
            await self.clock.advance(step)
            for name in self.alive:
                change = {"spec": {"renewTime": rfc3339_micro(self.clock.now())}}
                await self.client.patch(coordination.Lease, name, change, "kube-node-lease")
            seconds -= step
        await self.clock.settle(200)

    async def returns(self, name: str) -> None:
        """An agent that was silent says that its node is ready."""
        now = rfc3339(self.clock.now())
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
        change = {"status": {"conditions": [ready]}}
        await self.client.patch(core.Node, name, change, type="strategic", subresource="status")
        self.alive.append(name)
        await self.pass_(10)

    async def pod(self, name: str, node: str, *tolerations: core.Toleration, ready: bool = True) -> core.Pod:
        spec = core.PodSpec(
            node_name=node,
            containers=[core.Container(name="c", image="host")],
            tolerations=list(tolerations),
        )
        await self.client.create(core.Pod(metadata=meta.ObjectMeta(name=name, namespace="default"), spec=spec))
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        change = {"status": {"phase": "Running", "conditions": conditions}}
        return await self.client.patch(core.Pod, name, change, "default", type="strategic", subresource="status")

    async def ready(self, name: str) -> tuple[str, str]:
        """Status and reason of a node's Ready condition."""
        node = await self.client.get(core.Node, name)
        (found,) = (one for one in node.status.conditions if one.type == "Ready")
        return found.status, found.reason

    async def taints(self, name: str) -> list[tuple[str, str]]:
        node = await self.client.get(core.Node, name)
        return sorted((one.key.rpartition("/")[2], one.effect) for one in node.spec.taints)

    async def get(self, pod: str) -> core.Pod | None:
        try:
            return await self.client.get(core.Pod, pod, "default")
        except status.ApiError as error:
            if status.is_not_found(error):
                return None
            raise

    async def goes(self, pod: str) -> bool:
        """Whether a pod is being deleted, or is gone."""
        found = await self.get(pod)
        return found is None or bool(found.metadata.deletion_timestamp)

    async def events(self, name: str) -> list[tuple[str, str, str]]:
        found = (await self.client.list(core.Event)).items
        return [(one.type, one.reason, one.message) for one in found if one.involved_object.name == name]


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    clock = FakeClock()
    api = await server.start(clock)
    informers = Informers(api.client, clock)
    controllers = [kind(api.client, clock, informers) for kind in (NodeLifecycleController, TaintEvictionController)]
    running = Manager([*controllers, PodGcController(api.client, clock, informers, kept=2)])
    await informers.start()
    await informers.synced()
    yield Nodes(api.client, clock)
    await running.stop()
    await informers.stop()
    await api.store.close()


def tolerate(seconds: int | None, key: str = UNREACHABLE) -> core.Toleration:
    return core.Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds)


async def test_a_silent_node_is_unknown_after_50_seconds_and_its_pods_are_not_ready(nodes: Nodes) -> None:
    """R13."""
    await nodes.add("a", "b")
    await nodes.pod("web", "b")
    await nodes.pass_(30)
    nodes.alive.remove("b")
    await nodes.pass_(49)
    assert await nodes.ready("b") == ("True", "")
    assert await nodes.taints("b") == []
    await nodes.pass_(2)
    assert await nodes.ready("b") == ("Unknown", "NodeStatusUnknown")
    assert await nodes.ready("a") == ("True", "")
    assert await nodes.taints("b") == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]
    assert await nodes.taints("a") == []
    web = await nodes.get("web")
    assert web is not None
    assert [one.status for one in web.status.conditions if one.type == "Ready"] == ["False"]
    assert web.status.phase == "Running"
    assert ("Warning", "NodeNotReady", "Node is not ready") in await nodes.events("web")
    assert await nodes.events("b") == [
        ("Normal", "RegisteredNode", "Node b event: Registered Node b in Controller"),
        ("Normal", "NodeNotReady", "Node b status is now: NodeNotReady"),
    ]


async def test_a_node_that_returns_loses_its_taints_and_keeps_its_pods(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("web", "b")
    nodes.alive.remove("b")
    await nodes.pass_(60)
    assert await nodes.taints("b")
    await nodes.returns("b")
    assert await nodes.taints("b") == []
    await nodes.pass_(600)
    assert not await nodes.goes("web")
    assert ("Normal", "TaintManagerEviction", "Cancelling deletion of Pod default/web") in await nodes.events("web")


async def test_pods_leave_when_their_toleration_ends_by_default_after_300_seconds(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("default", "b")
    await nodes.pod("short", "b", tolerate(5))
    await nodes.pod("patient", "b", tolerate(None))
    nodes.alive.remove("b")
    await nodes.pass_(51)
    assert [await nodes.goes(name) for name in ("default", "short", "patient")] == [False, False, False]
    await nodes.pass_(5)
    assert [await nodes.goes(name) for name in ("default", "short", "patient")] == [False, True, False]
    await nodes.pass_(290)
    assert [await nodes.goes(name) for name in ("default", "short", "patient")] == [False, True, False]
    await nodes.pass_(10)
    assert [await nodes.goes(name) for name in ("default", "short", "patient")] == [True, True, False]
    short = await nodes.get("short")  # its node has not confirmed its end
    assert short is not None
    (why,) = (one for one in short.status.conditions if one.type == "DisruptionTarget")
    assert (why.status, why.reason) == ("True", "DeletionByTaintManager")
    assert why.message == "Taint manager: deleting due to NoExecute taint"


async def test_a_taint_by_hand_evicts_at_once_what_does_not_tolerate_it(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("plain", "b")
    await nodes.pod("tolerant", "b", tolerate(None, "k"))
    await nodes.pod("for-a-while", "b", tolerate(60, "k"))
    node = await nodes.client.get(core.Node, "b")
    node.spec.taints = [core.Taint(key="k", value="v", effect="NoExecute")]
    await nodes.client.update(node)
    await nodes.pass_(1)
    names = ("plain", "tolerant", "for-a-while")
    assert [await nodes.goes(name) for name in names] == [True, False, False]
    await nodes.pass_(60)
    assert [await nodes.goes(name) for name in names] == [True, False, True]
    assert await nodes.taints("b") == [("k", "NoExecute")]


async def test_when_all_nodes_are_silent_nobody_is_evicted(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("web", "b", tolerate(5))
    nodes.alive.clear()
    await nodes.pass_(400)
    assert await nodes.ready("a") == await nodes.ready("b") == ("Unknown", "NodeStatusUnknown")
    assert await nodes.taints("b") == [("unreachable", "NoSchedule")]
    assert not await nodes.goes("web")
    await nodes.returns("a")  # b is given its full time again
    await nodes.pass_(30)
    assert not await nodes.goes("web")
    await nodes.pass_(30)
    assert await nodes.goes("web")


async def test_one_node_in_ten_seconds_is_emptied(nodes: Nodes) -> None:
    await nodes.add("a", "b", "c", "d", "e")
    nodes.alive = ["a", "b", "c"]
    await nodes.pass_(51)
    emptied = [("unreachable", "NoExecute") in await nodes.taints(name) for name in ("d", "e")]
    assert sorted(emptied) == [False, True]
    await nodes.pass_(10)
    assert [("unreachable", "NoExecute") in await nodes.taints(name) for name in ("d", "e")] == [True, True]


async def test_a_node_that_says_it_is_not_ready_is_tainted_so(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    change = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}}
    await nodes.client.patch(core.Node, "b", change, type="strategic", subresource="status")
    await nodes.pass_(1)
    assert await nodes.taints("b") == [("not-ready", "NoExecute"), ("not-ready", "NoSchedule")]


async def test_cordon_is_a_taint_too(nodes: Nodes) -> None:
    await nodes.add("a")
    await nodes.client.patch(core.Node, "a", {"spec": {"unschedulable": True}})
    await nodes.pass_(1)
    assert await nodes.taints("a") == [("unschedulable", "NoSchedule")]
    await nodes.client.patch(core.Node, "a", {"spec": {"unschedulable": None}})
    await nodes.pass_(1)
    assert await nodes.taints("a") == []


async def test_a_deleted_node_takes_its_pods_along_after_40_seconds(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("web", "b")
    await nodes.pod("other", "a")
    await nodes.client.delete(core.Node, "b")
    nodes.alive.remove("b")
    await nodes.pass_(39)
    assert await nodes.get("web") is not None
    await nodes.pass_(2)
    assert await nodes.get("web") is None
    assert await nodes.get("other") is not None
    assert ("Normal", "RemovingNode", "Node b event: Removing Node b from Controller") in await nodes.events("b")


async def test_a_node_that_is_made_again_in_time_keeps_its_pods(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("web", "b")
    await nodes.client.delete(core.Node, "b")
    nodes.alive.remove("b")
    await nodes.pass_(30)
    await nodes.client.delete(coordination.Lease, "b", "kube-node-lease")
    await nodes.add("b")
    await nodes.pass_(60)
    assert await nodes.get("web") is not None


async def test_pods_of_a_node_that_is_out_of_service_are_removed_by_force(nodes: Nodes) -> None:
    await nodes.add("a", "b")
    await nodes.pod("web", "b")
    nodes.alive.remove("b")
    await nodes.pass_(51)
    node = await nodes.client.get(core.Node, "b")
    taint = core.Taint(key="node.kubernetes.io/out-of-service", value="nodeshutdown", effect="NoExecute")
    node.spec.taints.append(taint)
    await nodes.client.update(node)
    await nodes.pass_(1)
    assert await nodes.get("web") is None


async def test_of_pods_that_have_ended_only_so_many_stay(nodes: Nodes) -> None:
    await nodes.add("a")
    for name in ("one", "two", "three"):
        await nodes.pod(name, "a")
        change = {"status": {"phase": "Succeeded"}}
        await nodes.client.patch(core.Pod, name, change, "default", type="strategic", subresource="status")
        await nodes.pass_(1)
    assert [await nodes.get(name) is None for name in ("one", "two", "three")] == [True, False, False]
