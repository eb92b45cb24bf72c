"""The control-plane process: API server, store and controllers in the host's namespaces, and the nodes it starts.

Called by the daemon that `skerry up` forks. The nodes' namespaces are made first, before there is a thread or an event
loop here, and while they come up the heavy imports of the API server are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

from skerry.api.wire import User
from skerry.cluster import certificates, garbage, tokens
from skerry.cluster.background import background
from skerry.cluster.errors import ClusterError
from skerry.cluster.plan import NodePlan, Plan
from skerry.node.cgroups import subtree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from skerry.api.types import core
    from skerry.api.wire import Duplex, Request, Response
    from skerry.apiserver.app import App
    from skerry.apiserver.edge import Edge
    from skerry.client.client import Client
    from skerry.client.http import HttpTransport
    from skerry.client.informer import Informer, Informers
    from skerry.cluster.config import ClusterConfig, Progress
    from skerry.cluster.namespaces import Handle
    from skerry.cluster.nodekeeper import NodeKeeper
    from skerry.store.embedded import EmbeddedStore

API_PORT = 6443
"""Where the API server answers inside the cluster, on the nodes' gateway: what `default/kubernetes` points to."""
_READY = 30.0
_NO_POOLS = "there is no pool of addresses: write one into ConfigMap kube-system/load-balancer-pools"
_log = logging.getLogger(__name__)


def run(config: ClusterConfig, progress: Progress) -> None:
    """Runs the cluster until SIGTERM or SIGINT. ClusterError if it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    with contextlib.ExitStack() as stack:
        stack.callback(subtree.release, str(config.paths.cgroups))
        born = None
        if config.networks.machine:
            from skerry.cluster import machine

            place = config.paths.machine
            (where, born) = stack.enter_context(machine.used(config.networks, config.announce, place, config.lock))
            config = config._replace(announce=where.interfaces)
            nodes: tuple[NodePlan, ...] = (NodePlan("node-1", 1, (where.address,), config.networks.node_pods(1)),)
        else:
            nodes = tuple(NodePlan.of(index, config.networks) for index in range(1, config.nodes + 1))
        handle = _namespaces(config, nodes, born) if nodes else None
        import uvloop  # now that the nodes are on their way

        uvloop.run(_ControlPlane(config, progress, nodes, handle).run())


def _namespaces(
    config: ClusterConfig, nodes: tuple[NodePlan, ...], born: Callable[[int], None] | None = None
) -> Handle:
    from skerry.cluster import namespaces, nodeprocess
    from skerry.cluster.obstacles import NamespaceError

    claim = subtree.claim(config.name, str(config.paths.cgroups))
    plan = Plan(
        name=config.name,
        data_dir=str(config.paths.root),
        nodes=nodes,
        node_main=lambda context: nodeprocess.main(context, config, claim),
        networks=config.networks,
        allow_single_uid=True,
    )
    try:
        return namespaces.start(plan, born)
    except NamespaceError as error:
        raise ClusterError(str(error)) from error


class _ControlPlane:
    def __init__(
        self, config: ClusterConfig, progress: Progress, nodes: tuple[NodePlan, ...], handle: Handle | None
    ) -> None:
        self._config, self._progress, self._nodes, self._handle = config, progress, nodes, handle
        self._ended = asyncio.Event()
        self._failure = ""
        self._keeper: NodeKeeper | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        async with contextlib.AsyncExitStack() as stack:
            if self._handle is not None:
                stack.callback(self._handle.stop)
                # uvloop ends the process if a descriptor is closed that it still has to look at.
                stack.callback(loop.remove_reader, self._handle)
                loop.add_reader(self._handle, self._all_ended, self._handle.fileno())
                self._keep(self._handle, stack)
            await self._start(stack)
            if self._failure:
                raise ClusterError(self._failure)
            if not self._ended.is_set():  # else somebody has ended it while it started
                if self._keeper is not None:
                    self._keeper.settled()
                garbage.settle()
                self._progress.ready()
                await self._ended.wait()
            self._progress.stopping()
        if self._failure:
            raise ClusterError(self._failure)

    def _keep(self, handle: Handle, stack: contextlib.AsyncExitStack) -> None:
        from skerry.clock import SystemClock
        from skerry.cluster.nodekeeper import NodeKeeper

        self._keeper = NodeKeeper(handle, self._nodes, self._config.paths, SystemClock(), self._fail)
        stack.push_async_callback(self._keeper.close)
        self._keeper.watch()

    def _all_ended(self, descriptor: int) -> None:
        """The cluster's first process ended, and with it every node, though nobody asked: that is the end."""
        asyncio.get_running_loop().remove_reader(descriptor)
        self._fail(f"The nodes' processes ended: see the logs in {self._config.paths.logs}.")

    def _fail(self, sentence: str) -> None:
        if not self._ended.is_set():
            _log.error("%s", sentence)
            self._failure = sentence
            self._ended.set()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        from skerry.api.types import coordination, core
        from skerry.apiserver import bootstrap, quota
        from skerry.apiserver.access import reconcile
        from skerry.apiserver.edge import Edge
        from skerry.client.informer import Informers
        from skerry.clock import SystemClock
        from skerry.cluster.clusterdns import ClusterDns
        from skerry.gateway.front import ingress_class

        config, progress, networks = self._config, self._progress, self._config.networks
        store = _open_store(config)
        stack.push_async_callback(store.close)
        await asyncio.to_thread(config.wait_for_certificates)
        app = await _app(config, store)
        client = _admin(app)
        await bootstrap.namespaces(client)
        await bootstrap.priority_classes(client)
        await bootstrap.ensure(client, bootstrap.service_cidr(networks.service_cidrs))
        await reconcile.ensure(client)
        await bootstrap.forget_nodes(client, SystemClock())
        keeper = bootstrap.Kubernetes(client, networks.kubernetes_ip, [networks.api_address], API_PORT)
        await keeper.ensure()
        if self._nodes:
            await bootstrap.ensure(client, ingress_class())
            await bootstrap.ensure(client, bootstrap.storage_class())
            await bootstrap.dns(client, cluster_ips=networks.dns_ips)
        edge = Edge(app, _audit_log(config, stack))
        stack.push_async_callback(edge.close)
        await self._listen(edge, stack)
        app.ready = True
        progress.step("API server")
        background(stack, keeper.keep(SystemClock()))
        background(stack, quota.report(app.server, SystemClock()))
        informers = Informers(client, SystemClock())
        stack.push_async_callback(informers.stop)
        await self._controllers(client, informers, stack)
        progress.step("controllers")
        if self._keeper is not None:
            self._keeper.follow(informers.of(core.Node), informers.of(coordination.Lease, namespace="kube-node-lease"))
            addresses = {node.name: node.node_ips for node in self._nodes}
            background(stack, ClusterDns(client, SystemClock(), informers.of(core.Node), addresses).run())
            await self._wait_for_nodes(informers.of(core.Node))
            await self._revive(self._keeper, stack)

    async def _revive(self, keeper: NodeKeeper, stack: contextlib.AsyncExitStack) -> None:
        """Nodes that are down are started again when `skerry up` asks for it."""
        from skerry.cluster import revival

        server = await revival.serve(self._config.paths, keeper)
        stack.callback(server.close)

    async def _listen(self, edge: Edge, stack: contextlib.AsyncExitStack) -> None:
        config = self._config
        tls = certificates.server_context(config.paths)
        if config.api_listener >= 0:
            listener = socket.socket(fileno=config.api_listener)
        else:
            listener = socket.create_server(("127.0.0.1", config.api_port))
        await edge.listen(listener, tls)
        path = str(config.paths.api_socket)
        _unlink(path)
        local = socket.socket(socket.AF_UNIX)
        local.bind(path)
        os.chmod(path, 0o600)
        local.listen(128)
        stack.callback(_unlink, path)
        await edge.listen(local, None)
        if self._handle is not None and self._keeper is not None:
            await edge.listen(self._handle.api, tls)
            self._keeper.serve()

    async def _controllers(self, client: Client, informers: Informers, stack: contextlib.AsyncExitStack) -> None:
        from skerry.clock import SystemClock
        from skerry.controllers import manager
        from skerry.controllers.loadbalancer.controller import LoadBalancerController
        from skerry.explain.events import NoReadyEndpoints

        ca = self._config.paths.ca_certificate.read_text()
        paths = self._config.paths
        running = await manager.run(
            client,
            SystemClock(),
            informers,
            ca=ca,
            directory=(lambda node: str(paths.node(node) / "volumes")) if self._nodes else None,
        )
        stack.push_async_callback(running.stop)
        more: list[manager.Controller] = [NoReadyEndpoints(client, SystemClock(), informers)]
        on_loopback = self._nodes and not self._config.networks.machine  # else nobody could open ports there (B7)
        loopback = self._config.name if on_loopback else None
        wait = _NO_POOLS if self._nodes else ""
        more.append(LoadBalancerController(client, SystemClock(), informers, loopback, without_pools=wait))
        beside = manager.Manager(more)
        stack.push_async_callback(beside.stop)

    async def _wait_for_nodes(self, nodes: Informer[core.Node]) -> None:
        waiting = {node.name for node in self._nodes}
        all_ready = asyncio.Event()

        def seen(_: core.Node | None, node: core.Node | None) -> None:
            if node is None or node.metadata.name not in waiting:
                return
            if any(one.type == "Ready" and one.status == "True" for one in node.status.conditions):
                waiting.discard(node.metadata.name)
                self._progress.step(node.metadata.name)
                if not waiting:
                    all_ready.set()

        nodes.subscribe(seen)
        either = [asyncio.create_task(one.wait()) for one in (all_ready, self._ended)]
        done, rest = await asyncio.wait(either, timeout=_READY, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        if not done:
            names = ", ".join(sorted(waiting))
            raise ClusterError(f"{names} did not become ready within {_READY:.0f} s: see {self._config.paths.logs}.")


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _audit_log(config: ClusterConfig, stack: contextlib.AsyncExitStack) -> Callable[[bytes], None] | None:
    """Where lines of the audit log go, if there is one. What does not fit on the disk is lost, and nothing else."""
    if not config.audit_log:
        return None
    descriptor = os.open(config.paths.audit_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, descriptor)

    def append(line: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, line)

    return append


def _open_store(config: ClusterConfig) -> EmbeddedStore:
    from skerry.store.embedded import EmbeddedStore
    from skerry.store.log import LogError

    try:
        return EmbeddedStore(None if config.ephemeral else str(config.paths.store))
    except LogError as error:
        raise ClusterError(f"{error}.") from error


async def _app(config: ClusterConfig, store: EmbeddedStore) -> App:
    """The API server on this store, with the allocators filled from the Services that are there."""
    from skerry.api import codec, resources
    from skerry.api.allocation import for_service
    from skerry.api.types import core, networking
    from skerry.apiserver.accounts import ServiceAccounts
    from skerry.apiserver.app import App
    from skerry.apiserver.auth import logged_in
    from skerry.apiserver.custom import definitions
    from skerry.apiserver.strategies import Context, ServiceAllocator
    from skerry.apiserver.verbs import Server
    from skerry.clock import SystemClock

    ranges = ServiceAllocator(config.networks.service_cidrs)
    records, _ = await store.range(resources.of(core.Service).prefix)
    others, _ = await store.range(resources.of(networking.IPAddress).prefix)
    held = (codec.decode(networking.IPAddress, record.value).metadata for record in others)
    ranges.rebuild(
        (codec.decode(core.Service, record.value) for record in records),
        [one.name for one in held if not for_service(one.labels)],
    )
    known = tokens.read(config.paths.tokens)
    users = {token: logged_in(User(user.name, user.groups)) for token, user in known.items()}
    clock = SystemClock()
    accounts = ServiceAccounts(store, clock, tokens.account_key(config.paths.account_key))
    server = Server(store, clock, Context(ranges), accounts)
    await definitions.settle(server)  # custom objects are served as soon as anything is
    return App(server, users.get, _NodeStreams(config))


class _NodeStreams:
    """The node agents of this machine, by their unix sockets."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config

    async def __call__(self, node: str, request: Request) -> Response:
        with self._told_of(node):
            return await self._transport(node)(request)

    async def upgrade(self, node: str, request: Request, protocol: str) -> Duplex:
        with self._told_of(node):
            return await self._transport(node).upgrade(request, protocol)

    @staticmethod
    @contextlib.contextmanager
    def _told_of(node: str) -> Iterator[None]:
        """Says which node it is that cannot be reached: it may be down."""
        from skerry import linux
        from skerry.api.status import ApiError

        try:
            yield
        except ApiError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            text = f"the agent of {node} cannot be reached: {linux.reason(error.__cause__)}; `skerry status` says why"
            raise ApiError(error.code, text, reason=error.reason) from error

    def _transport(self, node: str) -> HttpTransport:
        from skerry.client.http import Address, HttpTransport

        return HttpTransport(Address(unix=str(self._config.paths.node_socket(node))))


def _admin(app: App) -> Client:
    from skerry.apiserver.app import in_process
    from skerry.client.client import Client

    user = User("system:kube-controller-manager", ("system:masters", "system:authenticated"))
    return Client(in_process(app, user), agent="skerry", shared=True)
