"""Ingress of a cluster, put together in the process of the node whose turn it is: one Envoy, in the node's network.

Called by the node's process. When that node has ended, the broker gives the turn to the next. The gateway is a user of
its own: it reads Secrets and writes a Service, which no node may.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.types import skerry
from skerry.client.acknowledge import Acknowledger
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.client.informer import Informers
from skerry.cluster import tokens
from skerry.metrics import CONTENT_TYPE
from skerry.proxy import health

if TYPE_CHECKING:
    from skerry.clock import Clock
    from skerry.cluster.config import ClusterConfig
    from skerry.cluster.plan import NodePlan
    from skerry.cluster.sockets import Broker
    from skerry.gateway.runner import Gateway

HTTP, HTTPS, METRICS = 10080, 10443, 10254
"""Ports of the node's addresses: of Envoy, and of the gateway's numbers."""
COMPONENT = "gateway"
_log = logging.getLogger(__name__)


async def run(
    node: NodePlan, config: ClusterConfig, client: Client, informers: Informers, clock: Clock, broker: Broker
) -> None:
    """Until cancelled. `client` and `informers` are the node's."""
    acknowledgement = f"{node.name}.{COMPONENT}"

    async def forget() -> None:
        """Nobody is to wait for what a gateway that is no more would have acknowledged."""
        with contextlib.suppress(status.ApiError, OSError):
            await client.delete(skerry.Acknowledgement, acknowledgement)

    await forget()
    await broker.turn("ingress")
    from skerry.gateway.front import Place
    from skerry.gateway.runner import Gateway, Surroundings

    users = tokens.read(config.paths.tokens)
    transport = HttpTransport(Address(unix=str(config.paths.api_socket)), token=tokens.token_of(users, tokens.INGRESS))
    directory = config.paths.run / "gw"  # sockets are in there: the path has to be short
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    telling: list[asyncio.Task[None]] = []
    made: list[Acknowledger] = []

    def carries(now: bool) -> None:
        for task in telling:
            task.cancel()
        telling.clear()
        made.clear()
        if now:
            made.append(Acknowledger(client, informers, clock, node.name, COMPONENT))
            telling.append(asyncio.create_task(made[0].run()))
        else:
            telling.append(asyncio.create_task(forget()))

    def applied(slices: int, services: int) -> None:
        for one in made:
            one.applied(slices, services)

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(transport.close)
        own_client = Client(transport, agent=f"skerry-ingress/{node.name}")
        own = Informers(own_client, clock)
        stack.push_async_callback(own.stop)
        await own.start()
        where = Surroundings(
            place=Place(node.name, node.node_ip, HTTP, HTTPS),
            addresses=node.node_ips,
            directory=str(directory),
            log=str(config.paths.logs / "envoy.log"),
        )
        gateway = Gateway(own_client, own, informers, clock, where, applied, carries)
        sockets = [health.listen((one, METRICS)) for one in node.node_ips]
        stack.push_async_exit(await health.serve(sockets, _numbers(gateway)))
        try:
            await gateway.run()
        except Exception:
            _log.exception("Ingress has ended")  # the node goes on without it
            raise


def _numbers(gateway: Gateway) -> health.Answers:
    async def answer(path: str) -> health.Answer:
        if path == "/metrics":
            return health.Answer(200, gateway.metrics.registry.text() + await gateway.envoys_numbers(), CONTENT_TYPE)
        if path == "/ready":
            return health.Answer(200, "ok\n", "text/plain") if gateway.up else health.Answer(503, "no\n", "text/plain")
        return health.Answer(404, "not found\n", "text/plain")

    return answer
