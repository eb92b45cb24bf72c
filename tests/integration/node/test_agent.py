"""The agent itself: following logs, starting again, objects that go behind its back."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from tests.integration.node.world import PATIENCE, condition, in_world, ready, shell, state

from skerry.api.types import core, meta
from skerry.node.agent.worker import PodWorker


def test_logs_are_followed_until_the_container_ends(tmp_path: Path) -> None:
    async def work(world):
        script = "echo one; while ! test -e /tmp/go; do sleep 0.01; done; echo two"
        await world.create(shell(script), restart_policy="Never")
        pod = await world.until(ready)
        reader, writer = await asyncio.open_unix_connection(str(world.socket))
        writer.write(b"GET /containerLogs/default/p/web?follow=true HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            seen = b""
            while b"one\n" not in seen:
                seen += await reader.read(1000)
            assert b"transfer-encoding: chunked" in seen.lower() and b"two" not in seen
            instance = pod.status.container_statuses[0].container_id.removeprefix("skerry://")
            await world.runtime.exec(instance, ["touch", "/tmp/go"])
            while not seen.endswith(b"\r\n0\r\n\r\n"):
                seen += await reader.read(1000)
        assert b"two\n" in seen
        writer.close()
        assert (await world.logs("timestamps=true&tailLines=1")).endswith("Z two\n")
        assert (await world.logs("tailLines=nonsense")).startswith("400 tailLines")
        assert (await world.logs(name="nobody")) == '404 pods "nobody" not found'

    in_world(tmp_path, work)


def test_a_pod_whose_object_is_taken_away_is_stopped(tmp_path: Path) -> None:
    async def work(world):
        await world.create(shell("trap '' TERM; while :; do sleep 0.05; done"))
        pod = await world.until(ready)
        instance = pod.status.container_statuses[0].container_id.removeprefix("skerry://")
        await world.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
        await world.gone()
        # The name is free at once: a new pod does not wait for the old one, and shares nothing with it.
        await world.create(shell("sleep 100"))
        second = await world.until(ready)
        assert second.metadata.uid != pod.metadata.uid
        with contextlib.suppress(KeyError):
            ended = await asyncio.wait_for(world.runtime.wait(instance), PATIENCE)
            assert ended.code == 137

    in_world(tmp_path, work)


def test_an_agent_that_starts_again_starts_its_pods_again(tmp_path: Path) -> None:
    async def work(world):
        await world.create(shell("echo $HOSTNAME; sleep 100"))
        await world.create(shell("exit 4"), name="done", restart_policy="Never")
        await world.until(ready)
        done = await world.until(lambda one: one.status.phase == "Failed", "done")
        await world.stop_agent()
        await world.runtime.remove_pod((await world.client.get(core.Pod, "p", "default")).metadata.uid)
        left = world.data / "pods" / "default_old_1234"
        left.mkdir()
        seen = len(world.seen)
        await world.agent()
        pod = await world.until(lambda one: ready(one) and one.status.container_statuses[0].restart_count == 1)
        assert pod.status.container_statuses[0].last_state.terminated.reason == "ContainerStatusUnknown"
        assert not left.exists()
        assert all(one.metadata.name != "done" for one in world.seen[seen:])
        assert state(done) == "Error"
        assert await world.logs("previous=true") == "p\n"

    in_world(tmp_path, work)


def asking(**requests: str) -> core.ResourceRequirements:
    return core.ResourceRequirements(requests=requests)


def test_what_the_node_has_no_room_for_fails(tmp_path: Path) -> None:
    """Whoever bound it; but what the node took once it keeps, also when its agent starts again."""

    async def work(world):
        async def rejected(name):
            found = await world.until(lambda one: one.status.phase == "Failed", name)
            events = [one for one in await world.events(name) if one[0] == found.status.reason]
            assert found.status.message.startswith("Pod was rejected: ")
            assert events == [(found.status.reason, found.status.message.removeprefix("Pod was rejected: "))]
            assert not found.status.pod_ip and condition(found, "PodReadyToStartContainers") == "False"
            return events[0]

        def label(value):
            return world.client.patch(core.Node, world.node.name, {"metadata": {"labels": {"disk": value}}})

        await world.node_seen(lambda node: bool(node.status.allocatable))
        await label("ssd")
        await world.node_seen(lambda node: node.metadata.labels.get("disk") == "ssd")
        quick = {"termination_grace_period_seconds": 0}
        await world.create(
            shell("exec sleep 1000", resources=asking(cpu="100m")), node_selector={"disk": "ssd"}, **quick
        )
        await world.until(ready)
        node = await world.client.get(core.Node, world.node.name)
        cores = int(node.status.allocatable["cpu"])
        text = f"Node didn't have enough resource: cpu, requested: 5000000, used: 100, capacity: {cores * 1000}"
        await world.create(shell("sleep 1000", resources=asking(cpu="5k")), name="big")
        assert await rejected("big") == ("OutOfcpu", text)
        await world.create(shell("sleep 1000"), name="elsewhere", node_selector={"disk": "tape"})
        assert (await rejected("elsewhere"))[0] == "NodeAffinity"
        # The ended one has left its room, and the rejected ones never had any.
        await world.create(shell("exit 0", resources=asking(cpu="100m")), name="done", restart_policy="Never")
        await world.until(lambda one: one.status.phase == "Succeeded", "done")
        rest = asking(cpu=f"{cores * 1000 - 100}m")
        await world.create(shell("exec sleep 1000", resources=rest), name="rest", **quick)
        await world.until(ready, "rest")

        await world.stop_agent()
        for name in ("p", "rest"):
            await world.runtime.remove_pod((await world.client.get(core.Pod, name, "default")).metadata.uid)
        await label(None)
        await world.create(shell("sleep 1000", resources=asking(cpu="1m")), name="a-late-one")
        await world.agent()
        assert (await rejected("a-late-one"))[0] == "OutOfcpu"
        for name in ("p", "rest"):
            await world.until(lambda one: ready(one) and one.status.container_statuses[0].restart_count == 1, name)

    in_world(tmp_path, work)


def test_readiness_gates_and_other_peoples_conditions(tmp_path: Path) -> None:
    """R11: what another client writes into the status stays, and is believed."""

    async def work(world):
        gate = core.PodReadinessGate(condition_type="example.test/fed")
        await world.create(shell("sleep 100"), readiness_gates=[gate])
        pod = await world.until(lambda one: condition(one, "ContainersReady") == "True")
        assert condition(pod) == "False"
        fed = {"status": {"conditions": [{"type": "example.test/fed", "status": "True"}]}}
        await world.client.patch(core.Pod, "p", fed, "default", type="strategic", subresource="status")
        pod = await world.until(ready)
        assert condition(pod, "example.test/fed") == "True"
        # A condition of the agent's own that another overwrites is put right.
        wrong = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}}
        await world.client.patch(core.Pod, "p", wrong, "default", type="strategic", subresource="status")
        pod = await world.until(ready)
        assert next(one.reason for one in pod.status.conditions if one.type == "Ready") == ""

    in_world(tmp_path, work)


def test_a_finalizer_keeps_the_object_but_not_the_processes(tmp_path: Path) -> None:
    async def work(world):
        pod = core.Pod(
            metadata=meta.ObjectMeta(name="p", namespace="default", finalizers=["example.test/hold"]),
            spec=core.PodSpec(
                containers=[shell("trap 'exit 0' TERM; while :; do sleep 0.02; done")], node_name=world.node.name
            ),
        )
        await world.client.create(pod)
        await world.until(ready)
        await world.client.delete(core.Pod, "p", "default")
        pod = await world.until(
            lambda one: one.status.phase == "Succeeded" and not one.metadata.deletion_grace_period_seconds
        )
        await world.cleaned_up()
        await world.client.patch(core.Pod, "p", {"metadata": {"finalizers": None}}, "default")
        await world.gone()

    in_world(tmp_path, work)


def test_a_worker_that_breaks_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = PodWorker._step
    broken = []

    def breaks(worker):
        if worker.status.phase == "Running" and not broken:
            broken.append(worker)
            raise RuntimeError("a mistake of ours")
        step(worker)

    monkeypatch.setattr(PodWorker, "_step", breaks)

    async def work(world):
        await world.create(shell("sleep 100"))
        pod = await world.until(ready)
        await world.client.patch(core.Pod, "p", {"metadata": {"labels": {"poke": "it"}}}, "default")
        again = await world.until(lambda one: ready(one) and one.status.container_statuses[0].restart_count == 1)
        assert broken and again.metadata.uid == pod.metadata.uid
        await world.client.delete(core.Pod, "p", "default", grace_period_seconds=1)
        await world.gone()
        await world.cleaned_up()

    in_world(tmp_path, work)
