"""The DNS server of one node, put together: its sockets, its ways out, and what it follows.

Called by the node's process. It has the DNS Service's address on a link of its own, so pods of the node reach it
without NAT; strangers cannot, and would get no reply.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TYPE_CHECKING

from skerry.client.events import Recorder
from skerry.cluster.entrance import DOMAIN
from skerry.dns.answer import Record
from skerry.dns.clients import Clients
from skerry.dns.custom import TTL
from skerry.dns.extra import Extra
from skerry.dns.follow import Customs, follow, follow_pods
from skerry.dns.forward import upstreams
from skerry.dns.metrics import DnsMetrics
from skerry.dns.names import Names
from skerry.dns.records import Records
from skerry.dns.resolver import Resolver
from skerry.dns.server import DnsServer
from skerry.metrics import CONTENT_TYPE
from skerry.netlink.route import HOST, Routes
from skerry.node import resolvconf
from skerry.proxy import health

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.types import core
    from skerry.client.informer import Informers
    from skerry.clock import Clock
    from skerry.cluster.networks import Networks
    from skerry.cluster.plan import NodePlan
    from skerry.cluster.sockets import Broker

METRICS_PORT = 9153
HOST_NAME = "host.skerry.internal"
"""The machine itself, as pods see it."""
_LOOPBACK = "127.0.0.0/8"


class NodeDns:
    """A running server; `close` ends it."""

    def __init__(self, server: DnsServer, stack: contextlib.AsyncExitStack) -> None:
        self.server, self._stack = server, stack

    async def close(self) -> None:
        """Ends it."""
        await self._stack.aclose()
        await self.server.close()


async def start(
    node: NodePlan,
    networks: Networks,
    informers: Informers,
    clock: Clock,
    broker: Broker,
    on_applied: Callable[[int, int], None],
    host_conf: str,
) -> NodeDns:
    """Returns when it answers all that the API has. `host_conf`: the machine's resolv.conf."""
    with Routes() as routes:
        for one in networks.dns_ips:
            routes.add_address(routes.index(networks.dns_link), one, HOST)
    metrics = DnsMetrics()
    inside = [*networks.service_cidrs, *networks.pod_cidrs, *map(str, networks.fabrics)]
    within = [ipaddress.ip_network(one) for one in inside]

    async def reach(server: str, family: int, kind: int) -> socket.socket:
        """A stub domain's server may be a Service or a pod; all others are asked from the machine's side."""
        address = ipaddress.ip_address(server.partition("%")[0])
        if any(address in one for one in within):
            return socket.socket(family, kind)
        return await broker.socket("host", family, kind)

    # Asked from the host's side: a server there that has the same address as ours is another one.
    resolver = Resolver(upstreams(host_conf), reach, clock, observe=metrics.asked_upstream)
    machine = [Record(f"{HOST_NAME}.", "AAAA" if ":" in one else "A", TTL, one) for one in networks.host_ips]
    own = Extra(machine, closed=["skerry.internal"])
    records = Records(DOMAIN, own_networks=[*networks.service_cidrs, *networks.pod_cidrs])
    clients = Clients([*inside, _LOOPBACK])
    server = DnsServer(Names(records, own), resolver, clients=clients, metrics=metrics)
    stack = contextlib.AsyncExitStack()
    for ip in networks.dns_ips:
        udp = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((ip, 53))
        await server.serve(udp, health.listen((ip, 53)))
    numbers = [health.listen((ip, METRICS_PORT)) for ip in networks.dns_ips]
    stack.push_async_exit(await health.serve(numbers, _numbers(server)))

    def search_path(pod: core.Pod) -> tuple[str, ...]:
        text, _ = resolvconf.resolv_conf(pod, [networks.dns_ip], DOMAIN, host_conf)
        return resolvconf.searches(text)

    recorder = Recorder(informers.client, "skerry-dns", node.name, clock=clock)
    customs = Customs(
        informers, server, resolver, lambda found, text: recorder.event(found, "Warning", "InvalidDNSConfig", text)
    )
    await customs.start()
    follow_pods(informers, clients, node.name, search_path)
    await follow(informers, records, on_applied, metrics=metrics, clock=clock)
    return NodeDns(server, stack)


def _numbers(server: DnsServer) -> health.Answers:
    def answer(path: str) -> health.Answer:
        if path == "/metrics":
            return health.Answer(200, server.scrape(), CONTENT_TYPE)
        return health.Answer(404, "not found\n", "text/plain")

    return answer
