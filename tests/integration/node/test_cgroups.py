"""Limits that the kernel keeps: real cgroups of this machine, real containers in them."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runtime.clusters import busybox, on_node

from skerry.api.types import core, meta
from skerry.cluster.plan import NodeContext
from skerry.node.cgroups import subtree
from skerry.node.cgroups.pods import PodCgroups
from skerry.node.cgroups.subtree import Claim
from skerry.node.runtime.client import Runtime
from skerry.node.runtime.spec import ContainerSpec, Exit, Overlay, PodSandboxSpec

pytestmark = pytest.mark.root
HOG = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"


@pytest.fixture
def claim(tmp_path: Path) -> Iterator[Claim]:
    """A subtree of the test's own, in this machine's real cgroups."""
    found = subtree.claim("test", str(tmp_path / "cgroups"))
    if found.tree is None or "memory" in found.tree.missing or "cpu" in found.tree.missing:
        pytest.skip(f"no cgroups here: {found.reason or found.tree}")
    yield found
    assert subtree.release(str(tmp_path / "cgroups"))


def pod(name: str, **resources: Any) -> core.Pod:
    container = core.Container(name="c", resources=core.ResourceRequirements(**resources))
    return core.Pod(metadata=meta.ObjectMeta(name=name, uid=name), spec=core.PodSpec(containers=[container]))


async def run(
    runtime: Runtime, cgroups: PodCgroups, root: Path, one: core.Pod, *argv: str, score: int = 0
) -> tuple[Exit, bool, str]:
    """A container of a pod, to its end: how that was, whether the kernel killed in it, and what it printed."""
    name = one.metadata.name
    await runtime.create_pod(PodSandboxSpec(uid=name, hostname=name))
    joined = cgroups.enter(one, one.spec.containers[0], f"{name}-instance")
    scratch = root.parent / name
    spec = ContainerSpec(
        id=f"{name}-instance",
        pod_uid=name,
        rootfs=Overlay(lowerdirs=[str(root)], upper=f"{scratch}/upper", work=f"{scratch}/work"),
        argv=list(argv),
        cgroups=joined,
        oom_score=score,
    )
    started = await runtime.start(spec)
    ended = await runtime.wait(started.key)
    os.set_blocking(started.stdout, True)
    said = os.read(started.stdout, 1 << 16).decode()
    for fd in (started.stdout, started.stderr):
        assert fd is not None
        os.close(fd)
    killed = cgroups.leave(f"{name}-instance", sigkill=ended.signal == 9)
    await runtime.remove_container(spec.id)
    await runtime.remove_pod(name)
    cgroups.forget(name)
    return ended, killed, said


def test_memory_beyond_the_limit_is_the_end_and_is_noticed(tmp_path: Path, claim: Claim) -> None:
    root = busybox(tmp_path / "root")

    async def work(_: NodeContext, runtime: Runtime) -> tuple[Any, ...]:
        cgroups = PodCgroups(claim, "node-1")
        cgroups.start(2, 1000)
        limited = pod("limited", limits={"memory": "16Mi"})
        hog = await run(runtime, cgroups, root, limited, "/bin/sh", "-c", HOG)
        fine = await run(runtime, cgroups, root, pod("fine", limits={"memory": "16Mi"}), "/bin/sh", "-c", "exit 3")
        return (hog[0].code, hog[0].signal, hog[1]), (fine[0].code, fine[1])

    assert on_node(tmp_path, work) == ((137, 9, True), (3, False))


def test_a_container_sees_its_own_limits(tmp_path: Path, claim: Claim) -> None:
    """In /sys/fs/cgroup, read-only, as language runtimes look for them; and its oom_score_adj."""
    root = busybox(tmp_path / "root")
    assert claim.tree is not None
    old = claim.tree.version == 1
    files = ("memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us") if old else ("memory.max", "cpu.max")
    script = f"cd /sys/fs/cgroup; cat {' '.join(files)}; cat /proc/self/oom_score_adj; mkdir memory/x x; pwd"

    async def work(_: NodeContext, runtime: Runtime) -> str:
        cgroups = PodCgroups(claim, "node-1")
        cgroups.start(2, 1000)
        one = pod("sees", limits={"memory": "64Mi", "cpu": "500m"})
        return (await run(runtime, cgroups, root, one, "/bin/sh", "-c", script, score=900))[2]

    quota = "50000" if old else "50000 100000"
    assert on_node(tmp_path, work) == f"{64 << 20}\n{quota}\n900\n/sys/fs/cgroup\n"


def test_a_command_inside_counts_as_the_container_s(tmp_path: Path, claim: Claim) -> None:
    root = busybox(tmp_path / "root")

    async def work(_: NodeContext, runtime: Runtime) -> tuple[str, str]:
        cgroups = PodCgroups(claim, "node-1")
        cgroups.start(2, 1000)
        one = pod("exec", limits={"memory": "64Mi"})
        await runtime.create_pod(PodSandboxSpec(uid="exec", hostname="exec"))
        spec = ContainerSpec(
            id="exec",
            pod_uid="exec",
            rootfs=Overlay(lowerdirs=[str(root)], upper=str(tmp_path / "u"), work=str(tmp_path / "w")),
            argv=["/bin/sleep", "1000"],
            cgroups=cgroups.enter(one, one.spec.containers[0], "exec"),
        )
        started = await runtime.start(spec)
        first = await asyncio.to_thread(Path(f"/proc/{started.pid}/cgroup").read_text)
        inside = await runtime.exec("exec", ["/bin/cat", "/proc/self/cgroup"])
        await runtime.remove_container("exec")
        for fd in (started.stdout, started.stderr):
            assert fd is not None
            os.close(fd)
        return first, inside.output.decode()

    first, inside = on_node(tmp_path, work)
    key = "" if claim.tree is not None and claim.tree.version == 2 else "memory"
    memory = [next(line for line in text.splitlines() if line.split(":")[1] == key) for text in (first, inside)]
    assert memory[0].endswith("/node-1/burstable/podexec/exec")
    assert memory[1].endswith("/")  # its own namespace of cgroups begins there


def test_every_pod_has_its_place_and_leaves_nothing(tmp_path: Path, claim: Claim) -> None:
    assert claim.tree is not None
    root = next(iter(claim.tree.roots.values()))
    cgroups = PodCgroups(claim, "node-1")
    cgroups.start(2, 1000)
    both = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    pods = {"guaranteed": pod("a", **both), "burstable": pod("b", requests={"cpu": "2"}), "besteffort": pod("c")}
    for one in pods.values():
        cgroups.enter(one, one.spec.containers[0], one.metadata.name)
    found = {os.path.relpath(directory, root) for directory, _, _ in os.walk(root)}
    places = {"node-1/poda/a", "node-1/burstable/podb/b", "node-1/besteffort/podc/c"}
    assert places <= found
    shares = "cpu.shares" if claim.tree.version == 1 else "cpu.weight"
    top = claim.tree.roots["cpu" if claim.tree.version == 1 else ""]
    weights = [
        int(Path(top, "node-1", *where, shares).read_text()) for where in (["burstable"], ["besteffort"], ["poda"])
    ]
    assert weights == ([2048, 2, 1024] if claim.tree.version == 1 else [174, 1, 100])
    for one in pods.values():
        assert not cgroups.leave(one.metadata.name, sigkill=True)
        cgroups.forget(one.metadata.uid)
    left = {os.path.relpath(directory, root) for directory, _, _ in os.walk(root)}
    assert left == {".", "node-1", "node-1/burstable", "node-1/besteffort"}
    assert int(Path(top, "node-1/burstable", shares).read_text()) == (2 if claim.tree.version == 1 else 1)


def test_what_a_killed_cluster_left_is_removed_by_whoever_comes_next(tmp_path: Path) -> None:
    record = str(tmp_path / "cgroups")
    first = subtree.claim("test", record)
    if first.tree is None:
        pytest.skip(first.reason)
    roots = list(first.tree.roots.values())
    PodCgroups(first, "node-1").start(1, 1000)
    assert all(os.path.isdir(root) for root in roots) and Path(record).read_text().split() == roots
    second = subtree.claim("test", record)  # as if nobody had said good-bye
    assert second == first and not any(os.path.isdir(os.path.join(root, "node-1")) for root in roots)
    assert subtree.release(record) and not any(os.path.isdir(root) for root in roots)
    assert not Path(record).exists() and subtree.release(record)


def test_without_cgroups_the_machine_s_count_tells(tmp_path: Path, claim: Claim) -> None:
    """Here the limit is another's, as that of a container in which the whole cluster runs would be."""
    root = busybox(tmp_path / "root")
    assert claim.tree is not None
    outer = Path(claim.tree.roots["memory" if claim.tree.version == 1 else ""], "outer")

    async def work(_: NodeContext, runtime: Runtime) -> tuple[Any, ...]:
        none = PodCgroups(Claim(None, "for this test"), "node-1")
        await asyncio.to_thread(outer.mkdir)
        limit = outer / ("memory.max" if claim.tree and claim.tree.version == 2 else "memory.limit_in_bytes")
        await asyncio.to_thread(limit.write_text, str(16 << 20))
        await runtime.create_pod(PodSandboxSpec(uid="hog", hostname="hog"))
        found = []
        for key, argv in (("hog", ["/bin/sh", "-c", HOG]), ("fine", ["/bin/sh", "-c", "kill -9 $$; exit 3"])):
            none.sample()
            none.sample()
            spec = ContainerSpec(
                id=key,
                pod_uid="hog",
                rootfs=Overlay(lowerdirs=[str(root)], upper=f"{tmp_path}/{key}u", work=f"{tmp_path}/{key}w"),
                argv=argv,
                cgroups={"memory" if claim.tree and claim.tree.version == 1 else "": str(outer)},
            )
            started = await runtime.start(spec)
            ended = await runtime.wait(key)
            for fd in (started.stdout, started.stderr):
                assert fd is not None
                os.close(fd)
            found.append((ended.code, none.leave(key, sigkill=ended.signal == 9)))
        return tuple(found)

    assert on_node(tmp_path, work) == ((137, True), (3, False))


@pytest.fixture
def unified(tmp_path: Path) -> Iterator[Claim]:
    """A subtree in version 2, where a machine has that for one controller at least: its mechanics are the same."""
    words = Path("/proc/self/mountinfo").read_text().splitlines()
    top = next((Path(line.split()[4]) for line in words if " - cgroup2 " in line), None)
    if top is None or not (controllers := (top / "cgroup.controllers").read_text().split()):
        pytest.skip("no cgroups of version 2 with a controller here")
    before = (top / "cgroup.subtree_control").read_text().split()
    found = subtree.claim("test2", str(tmp_path / "cgroups2"), (controllers[0],))
    assert found.tree is not None and found.tree.version == 2, found.reason
    yield found
    assert subtree.release(str(tmp_path / "cgroups2"))
    assert not any(os.path.exists(root) for root in found.tree.roots.values())
    if controllers[0] not in before:
        (top / "cgroup.subtree_control").write_text(f"-{controllers[0]}")


def test_version_2(tmp_path: Path, unified: Claim) -> None:
    """Inner cgroups hand the controllers down, the container's own holds its processes and is all that it sees."""
    root = busybox(tmp_path / "root")
    assert unified.tree is not None
    top = unified.tree.roots[""]

    async def work(_: NodeContext, runtime: Runtime) -> tuple[str, bool]:
        cgroups = PodCgroups(unified, "node-1")
        cgroups.start(2, 1000)
        one = pod("two", limits={"memory": "64Mi"})
        script = "grep ^0 /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | wc -l; ls -d /sys/fs/cgroup/node-1"
        ended, killed, said = await run(runtime, cgroups, root, one, "/bin/sh", "-c", script)
        return said, killed or ended.code == 137

    said, killed = on_node(tmp_path, work)
    left = sorted(os.path.relpath(directory, top) for directory, _, _ in os.walk(top))
    assert said.splitlines()[0] == "0::/" and int(said.splitlines()[1]) >= 2 and not killed
    assert len(said.splitlines()) == 2
    assert left == [".", "node-1", "node-1/besteffort", "node-1/burstable"]
    enabled = Path(top, "node-1", "cgroup.subtree_control").read_text().split()
    assert enabled == Path(top, "cgroup.subtree_control").read_text().split() != []


def test_version_2_where_we_are_alone_in_our_cgroup(tmp_path: Path, unified: Claim) -> None:
    """As in a systemd scope with Delegate=yes: we move aside while pods run, and back at the end."""
    assert unified.tree is not None
    top = Path(unified.tree.roots[""])
    scope = top / "alone.scope"
    scope.mkdir()
    controller = (top / "cgroup.subtree_control").read_text().split()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            (scope / "cgroup.procs").write_text("0")
            record = str(tmp_path / "alone")
            found = subtree.claim("alone", record, tuple(controller))
            assert found.tree is not None, found.reason
            root = Path(found.tree.roots[""])
            assert root.parent == scope and (scope / "cgroup.procs").read_text() == ""
            assert (root / "control" / "cgroup.procs").read_text().split() == [str(os.getpid())]
            PodCgroups(found, "node-1").start(2, 1000)
            assert (root / "node-1/burstable/cgroup.controllers").read_text().split() == controller
            assert subtree.release(record) and not root.exists()
            assert (scope / "cgroup.procs").read_text().split() == [str(os.getpid())]
            code = 0
        except BaseException:  # noqa: BLE001  shown, and told by the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    scope.rmdir()
