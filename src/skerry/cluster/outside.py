"""What a node opens on the machine's loopback, when it is its turn: node ports, and the ports of LoadBalancers.

Called by the node's process. There is one loopback, so one node has all of them; when that one has ended, the broker
gives the turn to the next.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.types import core
from skerry.client.events import Recorder
from skerry.clock import rfc3339
from skerry.proxy.balancers import BalancerPorts, Told
from skerry.proxy.hostports import HostPorts

if TYPE_CHECKING:
    from skerry.client.client import Client
    from skerry.client.informer import Informers
    from skerry.clock import Clock
    from skerry.cluster.plan import NodePlan
    from skerry.cluster.sockets import Broker

PORTS_CONDITION = "LoadBalancerPorts"


async def start(
    stack: contextlib.AsyncExitStack, node: NodePlan, client: Client, informers: Informers, clock: Clock, broker: Broker
) -> None:
    """Waits for the node's turn and follows the Services from then on, until the stack unwinds."""
    await broker.turn("host ports")
    recorder = Recorder(client, "skerry-proxy", node.name, clock=clock)
    services = informers.of(core.Service)

    async def open_host(kind: str, address: str, port: int) -> socket.socket:
        return await broker.listen("host", address, port, kind="udp" if kind == "udp" else "tcp")

    async def tell(service: core.Service, told: Told) -> None:
        if told.event:
            kind, reason = ("Warning", told.reason) if told.status == "False" else ("Normal", told.reason)
            recorder.event(service, kind, reason, told.event)
        condition = {"type": PORTS_CONDITION, "status": told.status, "reason": told.reason, "message": told.message}
        known = next((one for one in service.status.conditions if one.type == PORTS_CONDITION), None)
        if known is not None and (known.status, known.reason, known.message) == told[:3]:
            return
        now = rfc3339(clock.now())
        if known is None or known.status != told.status:
            condition["lastTransitionTime"] = now
        patch = {"metadata": {"uid": service.metadata.uid}, "status": {"conditions": [condition]}}
        with contextlib.suppress(status.ApiError):  # it has gone, or is another by now
            await client.patch(
                core.Service,
                service.metadata.name,
                patch,
                service.metadata.namespace,
                type="strategic",
                subresource="status",
            )

    balancers = BalancerPorts(services, open_host, clock, tell)
    stack.push_async_callback(balancers.close)
    balancers.start()
    ports = HostPorts(
        services,
        node.node_ips,
        open_host,
        clock,
        on_error=lambda service, message: recorder.event(service, "Warning", "HostPortUnavailable", message),
    )
    stack.push_async_callback(ports.close)
    ports.start()
