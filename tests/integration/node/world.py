"""A node agent with a real runtime and a real API server in one process, inside a node's namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import socket
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers import server as api
from tests.integration.runtime.clusters import Runtime, on_node

from skerry.api import codec
from skerry.api.types import core, meta
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import SystemClock
from skerry.cluster.plan import NodeContext
from skerry.node.agent import main
from skerry.node.agent.services import NodeServices
from skerry.node.images.http import HttpClient
from skerry.node.images.manager import Images
from skerry.node.images.registry import Registry
from skerry.node.images.store import Store

PATIENCE = 15.0


async def _nowhere(host: str, port: int) -> socket.socket:
    raise OSError(f"there is no way out to {host}:{port}")


class World:
    """`client` of the API server; `runtime` of the node; `data` on disk."""

    def __init__(self, context: NodeContext, runtime: Runtime, data: Path) -> None:
        self.node, self.runtime, self.data = context.node, runtime, data
        self.socket = data / "n.sock"
        self.seen: list[core.Pod] = []
        """Every version of every pod that a watch saw."""

    async def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.server = await api.start()
        self.client = self.server.client
        await self.agent()
        self._watching = asyncio.create_task(self._watch())

    async def agent(self) -> None:
        """Starts the agent; again after `stop_agent`."""
        clock = SystemClock()
        self._informers = Informers(self.client, clock)
        await self._informers.start()
        self._recorder = Recorder(self.client, "kubelet", self.node.name, clock=clock)
        self.images = Images(Store(str(self.data / "images")), Registry(HttpClient(_nowhere), {}), clock)
        services = NodeServices(
            name=self.node.name,
            ips=self.node.node_ips,
            pod_cidrs=self.node.pod_cidrs,
            client=self.client,
            informers=self._informers,
            clock=clock,
            runtime=self.runtime,
            images=self.images,
            recorder=self._recorder,
            data=self.data,
            socket=self.socket,
            host_resolv_conf="search corp.example\nnameserver 192.0.2.1\n",
        )
        started = asyncio.Event()
        self._agent = asyncio.create_task(main.run(services, started))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({waiting, self._agent}, return_when=asyncio.FIRST_COMPLETED)
        if self._agent.done():
            self._agent.result()

    async def stop_agent(self) -> None:
        self._agent.cancel()
        await asyncio.gather(self._agent, return_exceptions=True)
        await self._informers.stop()
        await self.images.close()

    async def close(self) -> None:
        self._watching.cancel()
        await self.stop_agent()

    async def _watch(self) -> None:
        found = await self.client.list(core.Pod)
        async for event in self.client.watch(core.Pod, resource_version=found.resource_version):
            if event.type != "BOOKMARK":
                self.seen.append(event.object)

    async def create(self, *containers: core.Container, name: str = "p", **spec: Any) -> core.Pod:
        """A pod that is bound to the node already."""
        spec = {"node_name": self.node.name, **spec}
        made = core.Pod(
            metadata=meta.ObjectMeta(name=name, namespace="default", labels={"app": name}),
            spec=core.PodSpec(containers=list(containers), **spec),
        )
        return await self.client.create(made)

    async def until(self, check: Any, name: str = "p") -> core.Pod:
        """The pod, as soon as `check` says yes to it."""
        found = await self.client.get(core.Pod, name, "default")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                events = self.client.watch(core.Pod, resource_version=found.metadata.resource_version)
                while not check(found):
                    event = await anext(events)
                    if event.type != "BOOKMARK" and event.object.metadata.name == name:
                        found = event.object
                return found
        raise AssertionError(f"not in {PATIENCE} s: {codec.encode(found.status).decode()}\n{await self.events(name)}")

    async def node_seen(self, check: Callable[[core.Node], bool]) -> None:
        """Returns when the agent itself has seen its Node as `check` wants it."""
        cache = self._informers.of(core.Node, field_selector=f"metadata.name={self.node.name}")
        seen = asyncio.Event()
        cache.subscribe(lambda _, node: seen.set() if node is not None and check(node) else None)
        async with asyncio.timeout(PATIENCE):
            await seen.wait()

    async def gone(self, name: str = "p") -> None:
        """Returns when there is no such pod."""
        listed = await self.client.list(core.Pod, "default", field_selector=f"metadata.name={name}")
        if not listed.items:
            return
        async with asyncio.timeout(PATIENCE):
            async for event in self.client.watch(core.Pod, resource_version=listed.resource_version):
                if event.type == "DELETED" and event.object.metadata.name == name:
                    return

    async def cleaned_up(self) -> None:
        """Returns when no pod has left anything on disk."""
        async with asyncio.timeout(PATIENCE):
            while list((self.data / "pods").iterdir()):  # noqa: ASYNC110 - nobody tells of directories
                await asyncio.sleep(0.005)

    async def said(self, reason: str, name: str = "p") -> None:
        """Returns when there is an event with this reason about a pod."""
        async with asyncio.timeout(PATIENCE):
            async for event in self.client.watch(core.Event, resource_version="0"):
                about = (event.object.involved_object.name, event.object.reason)
                if event.type != "BOOKMARK" and about == (name, reason):
                    return

    async def events(self, name: str = "p") -> list[tuple[str, str]]:
        """(reason, message) of what was said about a pod, in order."""
        await self._recorder.flush()
        found = (await self.client.list(core.Event)).items
        about = [one for one in found if one.involved_object.name == name]
        about.sort(key=lambda one: int(one.metadata.name.rpartition(".")[2], 16))
        return [(one.reason, one.message) for one in about]

    async def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        """A request to the node's own server."""
        return await asyncio.to_thread(self._ask, path, method, body)

    def _ask(self, path: str, method: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.socket))
        with contextlib.closing(connection):
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    async def logs(self, query: str = "", name: str = "p", container: str = "web") -> str:
        code, body = await self.ask(f"/containerLogs/default/{name}/{container}?{query}")
        return body.decode() if code == 200 else f"{code} {codec.parse(body)['message']}"

    async def written(self, name: str = "p", container: str = "web") -> list[str]:
        """The lines that a container has written so far; none while there is no log to read."""
        code, body = await self.ask(f"/containerLogs/default/{name}/{container}?")
        return body.decode().splitlines() if code == 200 else []


def in_world(tmp_path: Path, work: Any) -> Any:
    """Runs `work(world)` on a fresh node; what it returned."""

    async def inside(context: NodeContext, runtime: Runtime) -> Any:
        world = World(context, runtime, tmp_path / "node")
        await world.start()
        try:
            return await work(world)
        finally:
            await world.close()

    return on_node(tmp_path, inside)


def shell(script: str, **more: Any) -> core.Container:
    """A container of this machine's files that runs a script."""
    return core.Container(**{"name": "web", "image": "host", "command": ["sh", "-c", script], **more})


def server(port: int = 80, **more: Any) -> core.Container:
    """A web server of this machine's files."""
    code = f"import http.server as h; h.ThreadingHTTPServer(('', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    return core.Container(**{"name": "web", "image": "host", "command": ["python3", "-c", code], **more})


def condition(pod: core.Pod, kind: str = "Ready") -> str:
    return next((one.status for one in pod.status.conditions if one.type == kind), "")


def ready(pod: core.Pod) -> bool:
    return condition(pod) == "True"


def state(pod: core.Pod, name: str = "web") -> str:
    """The one word that kubectl would show for a container."""
    for one in [*pod.status.init_container_statuses, *pod.status.container_statuses]:
        if one.name == name:
            if one.state.waiting:
                return one.state.waiting.reason
            return "running" if one.state.running else one.state.terminated.reason if one.state.terminated else ""
    return ""


def archive(root: Path, name: str, config: dict[str, Any]) -> bytes:
    """A docker archive of one layer with the files at `root`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(root, arcname=".")
    data = layer.getvalue()
    import hashlib

    digest = hashlib.sha256(data).hexdigest()
    document = codec.encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    )
    manifest = codec.encode([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file, content in (("config.json", document), ("layer.tar", data), ("manifest.json", manifest)):
            info = tarfile.TarInfo(file)
            info.size, info.mtime = len(content), int(time.time())
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
