"""The way back: host.skerry.internal leads from pods to the machine itself, to whatever listens on its loopback.

Called by the node's process in contained clusters. The name's address is caught on every node: one rule of nf_tables
sends each TCP connection to it, whatever its port, to one listener here, which asks the kernel for the port that was
meant and the broker (which lives in the machine's network) for a connection to that port of 127.0.0.1 or ::1.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
from collections.abc import Iterator

from skerry.cluster.connect.dialogue import carry
from skerry.cluster.sockets import Broker
from skerry.netlink import nft, nft_expr
from skerry.netlink.nft_expr import Meta, register
from skerry.netlink.route import HOST, Routes

TABLE = "skerry-host"
_BEFORE_SERVICES = -101
_ORIGINAL_DESTINATION = 80
_RESET = struct.pack("ii", 1, 0)
_LOOPBACKS = ("127.0.0.1", "::1")
_log = logging.getLogger(__name__)


async def start(stack: contextlib.AsyncExitStack, address: str, broker: Broker) -> None:
    """Catches `address` until the stack unwinds. OSError if the kernel refuses."""
    with Routes() as routes:
        routes.add_address(routes.index("lo"), f"{address}/32", HOST)
    listener = socket.create_server((address, 0))
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await _lead(reader, writer, broker)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(one, sock=listener)

    async def end() -> None:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(end)
    with nft.Nft() as kernel:
        if TABLE in kernel.tables():
            kernel.commit([nft.delete_table(TABLE)])
        kernel.commit(list(_table(address, listener.getsockname()[1])))


async def _lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broker: Broker) -> None:
    sock = writer.get_extra_info("socket")
    meant = sock.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16)
    (port,) = struct.unpack_from("!H", meant, 2)
    for loopback in _LOOPBACKS:
        try:
            onward = await broker.connect("host", loopback, port)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                _log.info("no connection to port %d of the machine: %s", port, error)
            continue
        with contextlib.suppress(OSError):
            await carry(reader, writer, onward)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # nobody listens there: say so at once
    writer.transport.abort()


def _table(address: str, port: int) -> Iterator[nft.Request]:
    r = [register(index) for index in range(2)]
    here = socket.inet_aton(address)
    caught = (
        nft_expr.destination(r[0])
        + nft_expr.compare(r[0], here)
        + nft_expr.meta(Meta.L4PROTO, r[1])
        + nft_expr.compare(r[1], bytes([socket.IPPROTO_TCP]))
    )
    to = nft_expr.load(here, r[0]) + nft_expr.load(struct.pack("!H", port), r[1])
    yield nft.add_table(TABLE, "Skerry: the machine itself, for pods")
    for name, hook in (("prerouting", nft.Hook.PREROUTING), ("output", nft.Hook.OUTPUT)):
        yield nft.add_base_chain(TABLE, name, "nat", hook, _BEFORE_SERVICES)
        yield nft.add_rule(TABLE, name, caught, to, nft_expr.dnat(r[0], r[1]))
