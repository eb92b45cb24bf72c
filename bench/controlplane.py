"""A control plane of one process for benches: API server, store on disk, all controllers; HTTP(S) on loopback.

`serving(seed)` starts it as a child process whose store holds the objects of `seed` already, so that a bench can begin
with a hundred thousand pods without writing them one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import uvloop

from skerry.api import codec, resources
from skerry.api.types import coordination, core, meta
from skerry.api.wire import Pieces, Request, Response, User
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.clock import SystemClock, rfc3339_micro
from skerry.cluster import certificates, garbage
from skerry.cluster.paths import ClusterPaths
from skerry.store.log import Log, Row

CREATED = "2026-01-01T00:00:00Z"
TOKEN = "bench"
ADMIN = User("bench", ("system:masters",))


def service(name: str) -> core.Service:
    """Selects app=<name>; port 80 to 8080. All share a label with each other, as charts do."""
    return core.Service(
        metadata=_metadata(name, {"app": name}),
        spec=core.ServiceSpec(
            type="ClusterIP", selector={"app": name, "part-of": "bench"}, cluster_ip="10.96.0.9",
            cluster_i_ps=["10.96.0.9"], ip_families=["IPv4"], ip_family_policy="SingleStack",
            internal_traffic_policy="Cluster", session_affinity="None",
            ports=[core.ServicePort(port=80, target_port=8080, protocol="TCP")],
        ),
    )  # fmt: skip


def pod(name: str, app: str, number: int, *, ready: bool) -> core.Pod:
    """A running pod with an address, as a node reports it."""
    ip = f"10.{64 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"
    return core.Pod(
        metadata=_metadata(name, {"app": app, "part-of": "bench", "pod-template-hash": "6d7db47894"}),
        spec=core.PodSpec(
            node_name="node-1", restart_policy="Always", scheduler_name="default-scheduler", dns_policy="ClusterFirst",
            termination_grace_period_seconds=30, service_account_name="default",
            containers=[
                core.Container(
                    name="web", image="nginx:1.27", image_pull_policy="IfNotPresent",
                    ports=[core.ContainerPort(container_port=8080, protocol="TCP")],
                )
            ],
        ),
        status=core.PodStatus(
            phase="Running", pod_ip=ip, pod_i_ps=[core.PodIP(ip=ip)], host_ip="10.243.0.2", start_time=CREATED,
            conditions=[
                core.PodCondition(type=one, status=str(ready), last_transition_time=CREATED)
                for one in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
        ),
    )  # fmt: skip


def node(name: str = "node-1") -> core.Node:
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110000"}
    return core.Node(
        metadata=meta.ObjectMeta(name=name, uid=f"node-{name}", creation_timestamp=CREATED),
        status=core.NodeStatus(
            capacity=amounts, allocatable=amounts, conditions=[core.NodeCondition(type="Ready", status="True")]
        ),
    )


def _metadata(name: str, labels: dict[str, str]) -> meta.ObjectMeta:
    return meta.ObjectMeta(
        name=name, namespace="default", uid=f"uid-{name}", labels=labels, creation_timestamp=CREATED, generation=1
    )


def rows(seed: Iterable[Any]) -> Iterable[Row]:
    """Objects as the store keeps them."""
    for revision, one in enumerate(seed, 1):
        key = resources.of(type(one)).key(one.metadata.namespace, one.metadata.name)
        yield Row(key, codec.encode(one), revision, revision)


@dataclass
class Running:
    """`client` speaks HTTP to the child `pid`, which listens on `port` and takes TOKEN; over `tls` if that is set."""

    client: Client
    pid: int
    port: int
    tls: ssl.SSLContext | None


@contextlib.asynccontextmanager
async def serving(
    seed: Iterable[Any], *, tls: bool = False, controllers: bool = True, bare: int = 0
) -> AsyncIterator[Running]:
    """A control plane with these objects, its controllers (if any) at rest, in a process that has nothing of this one.

    With `bare` there is nothing behind the same edge but the same store: a GET is answered with so many bytes, and what
    is posted is stored as it came. No API server can be faster than that.
    """
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as listener:
        paths = ClusterPaths(Path(directory), Path(directory))
        log = Log(str(paths.store))
        found = list(rows(seed))
        log.write(found, len(found))
        log.close()
        context = None
        if tls:
            certificates.ensure(paths, "bench", None, time.time())
            context = ssl.create_default_context(cafile=str(paths.ca_certificate))
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, directory, str(listener.fileno()), str(int(controllers)), str(bare),
            pass_fds=[listener.fileno()], stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        port = listener.getsockname()[1]
        transport = HttpTransport(Address(host="127.0.0.1", port=port, tls=context), token=TOKEN)
        try:
            assert await child.stdout.readline(), "the control plane did not start"
            yield Running(Client(transport), child.pid, port, context)
        finally:
            await transport.close()
            child.terminate()
            await child.wait()


async def _child(directory: str, descriptor: int, controllers: bool, bare: int) -> None:
    paths = ClusterPaths(Path(directory), Path(directory))
    tls = None
    if paths.server_key.exists():
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(paths.server_certificate, paths.server_key)
    listener = socket.socket(fileno=descriptor)
    if bare:
        await _bare(b"x" * bare, str(paths.store), listener, tls)
    else:
        await _serve(str(paths.store), listener, tls, controllers)


async def _bare(answer: bytes, path: str, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
    from skerry.apiserver.custom.served import Served
    from skerry.apiserver.edge import Edge
    from skerry.store.embedded import EmbeddedStore

    store, numbers = EmbeddedStore(path), itertools.count()
    pieces = [answer[at : at + (1 << 18)] for at in range(0, len(answer), 1 << 18)]
    kind = {"content-type": "application/json"}

    async def app(request: Request) -> Response:
        if request.method == "GET":
            return Response(200, answer if len(pieces) == 1 else Pieces(len(answer), pieces), kind)
        record = await store.create(f"/core/pods/default/{next(numbers)}", request.body)
        return Response(201, record.value, kind)

    app.server = SimpleNamespace(served=Served())  # type: ignore[attr-defined]  # for the names of its metrics
    await Edge(app).listen(listener, tls)  # type: ignore[arg-type]
    print("up", flush=True)
    await asyncio.Event().wait()


async def _serve(path: str, listener: socket.socket, tls: ssl.SSLContext | None, controllers: bool) -> None:
    from skerry.apiserver import bootstrap
    from skerry.apiserver.app import App, in_process
    from skerry.apiserver.edge import Edge
    from skerry.apiserver.verbs import Server
    from skerry.client.informer import Informers
    from skerry.controllers import manager
    from skerry.store.embedded import EmbeddedStore

    store = EmbeddedStore(path, window=1 << 17 if controllers else 4096)
    app = App(Server(store, SystemClock()), {TOKEN: ADMIN}.get)
    client = Client(in_process(app, ADMIN), shared=True)
    await bootstrap.namespaces(client)
    edge = Edge(app)
    await edge.listen(listener, tls)
    app.ready = True
    if controllers:
        informers = Informers(client, SystemClock())
        await manager.run(client, SystemClock(), informers, ca="")
    beating = asyncio.create_task(_heartbeats(client))
    await quiet(store)
    garbage.settle()
    print("up", flush=True)
    await beating


async def _heartbeats(client: Client) -> None:
    """The node's signs of life, as its agent would give them."""
    namespace = "kube-node-lease"
    lease = coordination.Lease(metadata=meta.ObjectMeta(name="node-1", namespace=namespace))
    lease = await client.create(lease)
    while True:
        lease.spec.renew_time = rfc3339_micro(time.time())
        lease = await client.update(lease)
        await asyncio.sleep(10)


async def first_sync(seed: Iterable[Any]) -> dict[str, float]:
    """Server, caches and endpoints controllers in this process, on one core, over a store in memory with these objects.

    CPU seconds from full caches to complete endpoints (`sync`), what encoding the resulting objects takes (`encode`),
    what writing the same objects to an empty server takes (`write`), and bytes of memory for what came (`bytes`).
    """
    from skerry.api.types import discovery
    from skerry.apiserver.app import App, in_process
    from skerry.apiserver.verbs import Server
    from skerry.client.informer import Informers
    from skerry.controllers.endpoints.controller import EndpointsController
    from skerry.store.embedded import EmbeddedStore

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    store = EmbeddedStore(None, window=1 << 18)
    for row in rows([core.Namespace(metadata=meta.ObjectMeta(name="default")), *seed]):
        assert row.value is not None
        await store.create(row.key, row.value)
    client = Client(in_process(App(Server(store, SystemClock()), {}.get), ADMIN), shared=True)
    informers = Informers(client, SystemClock())
    controllers = EndpointsController(client, SystemClock(), informers)
    await informers.start()
    await informers.synced()
    garbage.settle()
    memory, begun = resident(), time.process_time()
    task = asyncio.create_task(controllers.run())
    await quiet(store)
    took = time.process_time() - begun
    gc.collect()
    grown = resident() - memory
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await informers.stop()
    made = [*(await client.list(core.Endpoints)).items, *(await client.list(discovery.EndpointSlice)).items]
    begun = time.process_time()
    for one in made:
        codec.encode(one)
    encoding = time.process_time() - begun
    empty = EmbeddedStore(None)
    client = Client(in_process(App(Server(empty, SystemClock()), {}.get), ADMIN), shared=True)
    await client.create(core.Namespace(metadata=meta.ObjectMeta(name="default")))
    for one in made:
        one.metadata.resource_version = one.metadata.uid = ""
    begun = time.process_time()
    for one in made:
        await client.create(one)
    return {
        "sync": took, "encode": encoding, "write": time.process_time() - begun, "bytes": grown, "objects": len(made),
    }  # fmt: skip


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def quiet(store: Any, seconds: float = 0.5) -> None:
    """Returns when nothing has been written for a while."""
    before = -1
    while before != store.revision:
        before = store.revision
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_child(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])))
