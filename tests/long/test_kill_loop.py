"""`kill -9` at random moments under a write load: nothing of the cluster is left, and nothing acknowledged is lost.

The seed is printed; SKERRY_SEED=N plays the same choices again (the scheduling of processes stays chance).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.cluster import SKERRY, Cluster, eventually
from tests.long import machine
from tests.long.load import Book, connect, write

from skerry.cluster import entrance, paths, state

pytestmark = [pytest.mark.long, pytest.mark.rootless]

ROUNDS = 30 if os.geteuid() == 0 else 6
STARTS = 12 if os.geteuid() == 0 else 4
WRITERS = 6
VICTIMS = ("control plane", "cluster init", "node's spawner", "node agent")

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: host
          command: [/usr/bin/python3, -m, http.server, "8080"]
          env: [{name: MARK, value: "NAME-pod"}]
          readinessProbe: {httpGet: {path: /proc/self/environ, port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def seeded() -> random.Random:
    seed = int(os.environ.get("SKERRY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SKERRY_SEED={seed}")
    return random.Random(seed)


def pids(cluster: Cluster) -> dict[str, int]:
    """The processes above the pods, by what they are."""
    control_plane = int(cluster.status()["pid"])
    spawner = entrance.node_processes(paths.cluster_paths(cluster.name, cluster.data))["node-1"]
    init = machine.parent(spawner)
    assert machine.parent(init) == control_plane
    agent = next(
        pid for pid in machine.children(spawner) if cluster.name in machine.processes(cluster.name).get(pid, "")
    )
    return dict(zip(VICTIMS, (control_plane, init, spawner, agent), strict=True))


def nothing_left(cluster: Cluster, before: dict[str, str]) -> None:
    """No process of it lives, and the machine is as it was before the cluster was made."""
    assert state.wait_until_gone(paths.cluster_paths(cluster.name, cluster.data), 10), machine.processes(cluster.name)
    eventually(lambda: not machine.processes(cluster.name) or _say(machine.processes(cluster.name)), 5, "its end")
    assert machine.host() == before


def _say(left: dict[int, str]) -> bool:
    raise AssertionError(f"left: {left}")


def web_answers(cluster: Cluster) -> None:
    """Both pods run, are ready, and answer behind their Service."""

    def ready() -> bool:
        pods = cluster.kubectl().json("get", "pods", "-l", "app=web")["items"]
        running = machine.processes(f"{cluster.name}-pod")
        conditions = [one for pod in pods for one in pod["status"].get("conditions", ()) if one["type"] == "Ready"]
        states = [one["status"] for one in conditions]
        assert states == ["True", "True"] and len(running) == 2, f"{states}, {running}"
        return True

    eventually(ready, 30, "two ready pods")

    def answer() -> bool:
        done = cluster.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "2", "http://web/etc/hostname")
        assert done.out in ("200", "404"), f"{done.code} {done.out} {done.err}"
        return True

    eventually(answer, 10, "an answer of the Service")


async def test_what_was_acknowledged_survives_a_kill_and_nothing_else_does(
    new_cluster: Callable[..., Cluster],
) -> None:
    skip_without_namespaces()
    chance = seeded()
    before = machine.host()
    cluster = new_cluster("--nodes", "1", *machine.api_port())
    await asyncio.to_thread(cluster.up)
    await asyncio.to_thread(cluster.kubectl(), "apply", "-f", "-", stdin=WEB.replace("NAME", cluster.name))
    await asyncio.to_thread(web_answers, cluster)
    book = Book()
    for number in range(ROUNDS):
        victim = VICTIMS[number % 4] if number < 4 else chance.choice(VICTIMS)
        targets = await asyncio.to_thread(pids, cluster)
        client, transport = connect(cluster.kubeconfig)
        writers = [
            asyncio.create_task(write(client, book, each, random.Random(chance.random()))) for each in range(WRITERS)
        ]
        try:
            reached = book.acknowledged + chance.randint(1, 400)
            await asyncio.wait_for(book.reach(reached), 60)
            await asyncio.sleep(chance.random() * 0.02)  # the random moment
            print(f"round {number}: kill -9 of the {victim} after {book.acknowledged} acknowledged writes")
            before_kill = machine.processes(cluster.name)
            os.kill(targets[victim], signal.SIGKILL)
            if victim in VICTIMS[2:]:
                # The node is gone, and is started again; the API goes on acknowledging until it is killed as well.
                await asyncio.to_thread(node_is_gone, before_kill, targets)
                await asyncio.wait_for(book.reach(book.acknowledged + 50), 30)
                os.kill(targets["control plane"], signal.SIGKILL)
            await asyncio.wait_for(asyncio.gather(*writers), 30)
        finally:
            for one in writers:
                one.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
        await transport.close()
        await asyncio.to_thread(nothing_left, cluster, before)
        await asyncio.to_thread(cluster.up)
        client, transport = connect(cluster.kubeconfig)
        await book.verify(client)
        await transport.close()
        await asyncio.to_thread(web_answers, cluster)
    assert book.acknowledged > ROUNDS * 50
    assert not book.refused
    await asyncio.to_thread(cluster.down)
    await asyncio.to_thread(nothing_left, cluster, before)


def node_is_gone(before: dict[int, str], targets: dict[str, int]) -> None:
    """What the kernel ends with a node's first process or agent: the whole node, pods included."""
    ended = {
        pid: line for pid, line in before.items() if pid not in (targets["control plane"], targets["cluster init"])
    }

    def gone() -> bool:
        left = {pid: line for pid, line in ended.items() if Path(f"/proc/{pid}").exists()}
        assert not left, left
        return True

    eventually(gone, 10, "the end of the node")


def test_a_start_killed_at_any_moment_leaves_nothing_and_can_be_repeated(new_cluster: Callable[..., Cluster]) -> None:
    skip_without_namespaces()
    chance = seeded()
    before = machine.host()
    cluster = new_cluster("--nodes", "1", *machine.api_port())
    for number in range(STARTS):
        # 0 to 1 s: from the interpreter's first line to some time after a quick machine is ready.
        moment = chance.random()
        command = [*SKERRY, "up", "--name", cluster.name, *cluster.options]
        starting = subprocess.Popen(
            command,
            env=cluster.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            starting.wait(moment)
        except subprocess.TimeoutExpired:
            pass
        victims = sorted(machine.processes(cluster.name))
        print(f"start {number}: kill -9 of {victims} after {moment:.3f} s")
        chance.shuffle(victims)
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # its parent was killed before it
        starting.wait()
        if cluster.data.exists():
            nothing_left(cluster, before)
    cluster.up()
    assert cluster.kubectl().json("get", "nodes")["items"]
    cluster.down()
    nothing_left(cluster, before)
