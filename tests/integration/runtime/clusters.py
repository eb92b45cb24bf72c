"""Helpers: a cluster of namespaces whose agent runs a test's coroutine, an image made from busybox, and survivors."""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import shutil
import signal
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skerry.clock import SystemClock
from skerry.cluster import namespaces
from skerry.cluster.plan import NodeContext, NodePlan, Plan
from skerry.node.runtime.client import Runtime
from skerry.node.runtime.spec import ContainerSpec, HostImage, Overlay, PodSandboxSpec, Started

Work = Callable[[NodeContext, Runtime], Awaitable[Any]]
LONG = 10.0


def on_node(
    data_dir: Path, work: Work, *, nodes: int = 1, outside: Callable[[namespaces.Handle], None] | None = None
) -> Any:
    """Runs `work` in the agent of node-1 of a fresh cluster; what it returned. `outside` runs here meanwhile."""
    result = data_dir / "result"

    def main(context: NodeContext) -> int:
        if context.node.index > 1:
            signal.pause()
        try:
            answer = (True, asyncio.run(_with_runtime(context, work)))
        except BaseException:  # noqa: BLE001  shown by the test
            answer = (False, traceback.format_exc())
        result.write_bytes(pickle.dumps(answer))
        return 0

    handle = start(data_dir, main, nodes)
    try:
        if outside:
            outside(handle)
        assert select.select([handle.nodes["node-1"].pidfd], [], [], 60)[0], "the node's agent did not end"
    finally:
        handle.kill()
    logs = "".join(path.read_text() for path in sorted((data_dir / "logs").iterdir()))
    assert result.exists(), logs
    done, value = pickle.loads(result.read_bytes())
    assert done, f"{value}\n{logs}"
    return value


def start(data_dir: Path, main: Callable[[NodeContext], int | None], nodes: int = 1) -> namespaces.Handle:
    """A cluster whose agents run `main`."""
    plans = tuple(NodePlan.of(index) for index in range(1, nodes + 1))
    return namespaces.start(Plan("test", str(data_dir), plans, main, allow_single_uid=True))


def wait_for_signal(_: NodeContext) -> int:
    """An agent that does nothing until it is told to end."""
    signal.pause()
    return 0


async def _with_runtime(context: NodeContext, work: Work) -> Any:
    node = context.node
    runtime = Runtime(context.spawner, pod_cidrs=node.pod_cidrs, node_ips=node.node_ips, clock=SystemClock())
    return await asyncio.wait_for(work(context, runtime), 50)


def busybox(directory: Path) -> Path:
    """The root of a small image: busybox with its names, and users."""
    if shutil.which("busybox") is None:
        pytest.skip("busybox-static is not installed")
    for name in ("bin", "etc", "www", "var"):
        (directory / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", directory / "bin/busybox")
    for name in (
        "sh",
        "cat",
        "echo",
        "sleep",
        "id",
        "ls",
        "wget",
        "httpd",
        "touch",
        "true",
        "hostname",
        "pwd",
        "grep",
        "stat",
        "env",
    ):
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:101:102::/home/web:/bin/sh\n")
    (directory / "www/index.html").write_text("hello\n")
    directory.chmod(0o755)
    return directory


class Image:
    """Containers of one image, each with an upper directory of its own."""

    def __init__(self, lower: Path, uppers: Path) -> None:
        self.lower, self.uppers = lower, uppers

    def overlay(self, name: str) -> Overlay:
        return Overlay(
            lowerdirs=[str(self.lower)], upper=str(self.uppers / name / "upper"), work=str(self.uppers / name / "work")
        )


async def pod(runtime: Runtime, uid: str = "pod-1", **options: Any) -> str:
    """A pod; its address."""
    return (await runtime.create_pod(PodSandboxSpec(uid=uid, hostname=uid, **options))).ips[0]


def host(name: str, script: str, **options: Any) -> ContainerSpec:
    """A shell script in a container of this machine's own files."""
    options = {"pod_uid": "pod-1", **options}
    return ContainerSpec(id=name, rootfs=HostImage(), argv=["sh", "-c", script], **options)


async def output(started: Started, lines: int = -1) -> tuple[str, str]:
    """All that a container writes to stdout and stderr, or the first lines of its stdout alone."""
    if lines >= 0:
        return await _read(started.stdout, lines), ""
    return await _read(started.stdout), await _read(started.stderr)


async def _read(fd: int, lines: int = -1) -> str:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        if lines >= 0:
            return b"".join([await reader.readline() for _ in range(lines)]).decode()
        return (await reader.read()).decode()
    finally:
        transport.close()


async def run(runtime: Runtime, spec: ContainerSpec) -> tuple[int, str, str]:
    """Runs a container to its end: exit code, stdout, stderr."""
    started = await runtime.start(spec)
    out, err = await output(started)
    ended = await runtime.wait(spec.id)
    await runtime.remove_container(spec.id)
    return ended.code, out, err


class Members:
    """Every process of a cluster, held by pidfds: those in the user namespace of process `pid`."""

    def __init__(self, pid: int) -> None:
        space = os.readlink(f"/proc/{pid}/ns/user")
        self.pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and _user_namespace(name) == space]
        self._pidfds = [os.pidfd_open(one) for one in self.pids]

    def survivors(self) -> list[int]:
        """Those that still live after a good while."""
        left = []
        for pid, pidfd in zip(self.pids, self._pidfds, strict=True):
            if not select.select([pidfd], [], [], LONG)[0]:
                left.append(pid)
            os.close(pidfd)
        return left


def _user_namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/user")
    except OSError:
        return ""
