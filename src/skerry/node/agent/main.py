"""Runs a node agent. Called by cluster/nodeprocess.py, which has made all that it works with."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from skerry.node.agent.capacity import cores, processes
from skerry.node.agent.files import in_memory
from skerry.node.agent.hostpaths import HostPaths
from skerry.node.agent.housekeeping import Housekeeping
from skerry.node.agent.manager import PodManager
from skerry.node.agent.registration import Registration
from skerry.node.agent.storage import StorageKeeper
from skerry.node.streams.server import StreamsServer

if TYPE_CHECKING:
    from skerry.node.agent.services import NodeServices


async def run(services: NodeServices, started: asyncio.Event | None = None) -> None:
    """Runs until cancelled; then containers are left to the runtime. `started` is set when pods are being watched."""
    services.cgroups.start(cores(), processes())
    in_memory(services.memory_directory)
    manager = PodManager(services)
    async with contextlib.AsyncExitStack() as stack:
        server = StreamsServer(manager, services)
        await server.listen(services.socket)
        stack.push_async_callback(server.close)
        stack.push_async_callback(manager.close)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Registration(services).run())
            tasks.create_task(Housekeeping(services).run())
            tasks.create_task(HostPaths(services).run())
            tasks.create_task(StorageKeeper(manager, services.clock).run())
            await manager.start()
            if started is not None:
                started.set()
