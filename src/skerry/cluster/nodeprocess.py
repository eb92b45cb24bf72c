"""One node's process: the node agent, the service proxy and the DNS server, each a client of the API.

Called in a process of its own inside the node's namespaces (cluster/namespaces.py), forked from the control plane
before that had threads. The node becomes Ready when its proxy and its DNS have seen everything there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from skerry import linux
from skerry.cluster import garbage, tokens
from skerry.cluster.background import background

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.client.events import Recorder
    from skerry.cluster.config import ClusterConfig
    from skerry.cluster.plan import NodeContext
    from skerry.node.cgroups.subtree import Claim
    from skerry.proxy.server import Proxy

ZONE = "cluster.local"
_log = logging.getLogger(__name__)


def main(context: NodeContext, config: ClusterConfig, claim: Claim) -> int:
    """Runs the node until SIGTERM; the exit code. `claim`: what the cluster has of this machine's cgroups."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s", force=True)
    try:
        asyncio.run(_Node(context, config, claim).run())
    except Exception:  # noqa: BLE001  (the log is where people look)
        _log.exception("the node ends")
        return 1
    return 0


class _Node:
    def __init__(self, context: NodeContext, config: ClusterConfig, claim: Claim) -> None:
        self._context, self._config, self._claim = context, config, claim
        self._name = context.node.name
        self._conditions: list[tuple[str, bool, str, str]] = []

    async def run(self) -> None:
        from skerry.client.client import Client
        from skerry.client.http import Address, HttpTransport
        from skerry.client.informer import Informers
        from skerry.clock import SystemClock
        from skerry.cluster.sockets import Broker

        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        self._clock = SystemClock()
        async with contextlib.AsyncExitStack() as stack:
            self._broker = Broker(self._context.broker)
            stack.callback(self._broker.close)
            users = tokens.read(self._config.paths.tokens)
            token = tokens.token_of(users, tokens.node_user(self._name).name)
            transport = HttpTransport(Address(unix=str(self._config.paths.api_socket)), token=token)
            stack.push_async_callback(transport.close)
            self._client = Client(transport, agent=f"skerry-node/{self._name}")
            self._informers = Informers(self._client, self._clock)
            stack.push_async_callback(self._informers.stop)
            _load()
            await _answers(self._config.paths.api_socket)
            await self._informers.start()
            # The proxy first: of one change it hears before DNS does, and a name leads to an address that answers.
            await self._proxy(stack)
            await self._dns(stack)
            self._ingress(stack)
            agent = await self._agent(stack)
            garbage.settle()
            asked = asyncio.create_task(ended.wait())
            await asyncio.wait({agent, asked}, return_when=asyncio.FIRST_COMPLETED)
            if agent.done():
                agent.result()

    async def _dns(self, stack: contextlib.AsyncExitStack) -> None:
        """The cluster's DNS server on its own address of this node, and what it needs to know."""
        from skerry.cluster import hostway
        from skerry.cluster.nodedns import start

        try:
            if not self._config.networks.machine:
                await hostway.start(stack, self._config.networks.host_ips, self._broker)
        except OSError as error:  # without nf_tables there is no such way; all else works
            _log.warning("host.skerry.internal leads nowhere: %s", error)
        server = await start(
            self._context.node,
            self._config.networks,
            self._informers,
            self._clock,
            self._broker,
            self._acknowledges(stack, "dns"),
            _host_resolv_conf(),
        )
        stack.push_async_callback(server.close)

    async def _proxy(self, stack: contextlib.AsyncExitStack) -> None:
        """The service proxy of the node, and the node ports on the host's loopback."""
        from skerry.client.events import Recorder
        from skerry.cluster import outside
        from skerry.proxy import modes
        from skerry.proxy.health import HEALTH_PORT, HealthServers
        from skerry.proxy.reports import Reports
        from skerry.proxy.server import Proxy
        from skerry.proxy.table import Node

        node = self._context.node
        recorder = Recorder(self._client, "skerry-proxy", node.name, clock=self._clock)
        reports = Reports(recorder, self._informers, node.name)
        here = Node(
            node.name,
            node.node_ips,
            service_cidrs=self._config.networks.service_cidrs,
            pod_cidrs=node.pod_cidrs,
        )
        chosen = modes.choose(self._config.proxy_mode, here, self._clock)
        self._conditions.append(chosen.condition())
        if chosen.back_end.mode == modes.USERSPACE:
            # Each connection is one of the node's own: its port must not be lost for a minute if the client ends first.
            linux.sysctl("net.ipv4.tcp_tw_reuse", "1")
        proxy = self._proxying = Proxy(
            self._informers,
            here,
            chosen.back_end,
            self._clock,
            conntrack=chosen.conntrack,
            on_applied=self._acknowledges(stack, "proxy"),
            on_repair=reports.repaired,
        )
        stack.callback(proxy.stop)
        everywhere = "::" if any(":" in one for one in here.addresses) else "0.0.0.0"
        health = HealthServers(proxy, self._clock, reports.no_health_check, health=(everywhere, HEALTH_PORT))
        stack.push_async_callback(health.close)
        await health.start()
        await proxy.start()
        background(stack, health.follow())
        if self._config.networks.machine:
            background(stack, self._announce(stack, proxy, recorder))
        else:
            outer = outside.start(stack, node, self._client, self._informers, self._clock, self._broker)
            background(stack, outer)

    async def _announce(self, stack: contextlib.AsyncExitStack, proxy: Proxy, recorder: Recorder) -> None:
        """Answers in the machine's networks for balancers' addresses, from when the API has the Node."""
        from skerry.api.types import core
        from skerry.proxy.announce.announcer import Announcer

        nodes = self._informers.of(core.Node)
        known: asyncio.Future[core.Node] = asyncio.get_running_loop().create_future()

        def see(_: core.Node | None, new: core.Node | None) -> None:
            if new is not None and new.metadata.name == self._name and not known.done():
                known.set_result(new)

        nodes.subscribe(see)
        node, interfaces = await known, self._config.announce
        registry = proxy.metrics.registry
        made = Announcer(self._informers, self._clock, recorder, node, interfaces, registry, proxy.healthy)
        stack.callback(made.stop)
        await made.start()

    def _ingress(self, stack: contextlib.AsyncExitStack) -> None:
        """Ingress, on the node whose turn it is."""
        from skerry.cluster import nodeingress

        node, work = self._context.node, nodeingress.run
        background(stack, work(node, self._config, self._client, self._informers, self._clock, self._broker))

    def _acknowledges(self, stack: contextlib.AsyncExitStack, component: str) -> Callable[[int, int], None]:
        """What a component calls with the revisions that it has applied: the API is told in the background."""
        from skerry.client.acknowledge import Acknowledger

        made = Acknowledger(self._client, self._informers, self._clock, self._name, component)
        background(stack, made.run())
        return made.applied

    async def _agent(self, stack: contextlib.AsyncExitStack) -> asyncio.Task[None]:
        """The pods of this node."""
        from skerry.client.events import Recorder
        from skerry.node.agent import main as agent
        from skerry.node.agent.services import NodeServices
        from skerry.node.cgroups.pods import PodCgroups
        from skerry.node.images.http import HttpClient
        from skerry.node.images.manager import Images
        from skerry.node.images.registry import Registry
        from skerry.node.images.store import Store
        from skerry.node.resolvconf import of_contained_node
        from skerry.node.runtime.client import Runtime

        node, paths = self._context.node, self._config.paths
        paths.node(node.name).mkdir(parents=True, exist_ok=True)
        runtime = Runtime(self._context.spawner, pod_cidrs=node.pod_cidrs, node_ips=node.node_ips, clock=self._clock)
        stack.push_async_callback(runtime.close)
        mirrors: dict[str, list[str]] = {}
        for registry, url in self._config.registry_mirrors:
            mirrors.setdefault(registry, []).append(url)
        client = HttpClient(lambda host, port: self._broker.connect("host", host, port))
        images = Images(Store(str(paths.images)), Registry(client, mirrors), self._clock)
        stack.push_async_callback(images.close)
        services = NodeServices(
            name=node.name,
            ips=node.node_ips,
            pod_cidrs=node.pod_cidrs,
            max_pods=self._config.networks.max_pods,
            client=self._client,
            informers=self._informers,
            clock=self._clock,
            runtime=runtime,
            images=images,
            recorder=Recorder(self._client, "kubelet", node.name, clock=self._clock),
            data=paths.node(node.name),
            socket=paths.node_socket(node.name),
            cluster_dns=(self._config.networks.dns_ip,),
            cluster_domain=ZONE,
            host_resolv_conf=of_contained_node(_host_resolv_conf(), (self._config.networks.dns_ip,)),
            cgroups=PodCgroups(self._claim, node.name),
            conditions=tuple(self._conditions),
            connections=lambda service: [one.plain() for one in self._proxying.connections(service)],
        )
        return background(stack, agent.run(services))


def _host_resolv_conf() -> str:
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""


def _load() -> None:
    """Imports what the node is about to need, while the API server, started at the same time, still does the same."""
    for name in ("node.agent.main", "node.images.manager", "cluster.nodedns", "proxy.server", "proxy.nftables.backend"):
        importlib.import_module(f"skerry.{name}")


async def _answers(path: Path) -> None:
    """Returns when the API server listens; it starts at the same time as the node."""
    while True:
        probe = socket.socket(socket.AF_UNIX)
        with probe:
            probe.setblocking(False)
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_connect(probe, str(path))
                return
        await asyncio.sleep(0.01)
