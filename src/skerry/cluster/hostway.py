"""The way back: host.skerry.internal leads from pods to the machine itself, to whatever listens on its loopback.

Called by the node's process in contained clusters. The name's address is caught on every node: one rule of nf_tables
sends each TCP connection to it, whatever its port, to one listener here, which asks the kernel for the port that was
meant and the broker (which lives in the machine's network) for a connection to that port of 127.0.0.1 or ::1.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable, Iterator

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


async def start(stack: contextlib.AsyncExitStack, addresses: Iterable[str], broker: Broker) -> None:
    """Catches these addresses, one a family, until the stack unwinds. OSError if the kernel refuses."""
    for address in addresses:
        await _catch(stack, address, broker)


async def _catch(stack: contextlib.AsyncExitStack, address: str, broker: Broker) -> None:
    v6 = ":" in address
    with Routes() as routes:
        routes.add_address(routes.index("lo"), address, HOST)
    listener = socket.create_server((address, 0), family=socket.AF_INET6 if v6 else socket.AF_INET)
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
    with nft.Nft(nft.IPV6 if v6 else nft.IPV4) as kernel:
        if TABLE in kernel.tables():
            kernel.commit([nft.delete_table(TABLE)])
        kernel.commit(list(_table(address, listener.getsockname()[1])))


async def _lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, broker: Broker) -> None:
    sock = writer.get_extra_info("socket")
    level, size = (socket.IPPROTO_IPV6, 28) if sock.family == socket.AF_INET6 else (socket.SOL_IP, 16)
    meant = sock.getsockopt(level, _ORIGINAL_DESTINATION, size)
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
    v6 = ":" in address
    first, second = register(0), register(4)  # an IPv6 address takes four registers
    here = ipaddress.ip_address(address).packed
    caught = (
        nft_expr.destination(first, v6=v6)
        + nft_expr.compare(first, here)
        + nft_expr.meta(Meta.L4PROTO, second)
        + nft_expr.compare(second, bytes([socket.IPPROTO_TCP]))
    )
    to = nft_expr.load(here, first) + nft_expr.load(struct.pack("!H", port), second)
    yield nft.add_table(TABLE, "Skerry: the machine itself, for pods")
    for name, hook in (("prerouting", nft.Hook.PREROUTING), ("output", nft.Hook.OUTPUT)):
        yield nft.add_base_chain(TABLE, name, "nat", hook, _BEFORE_SERVICES)
        yield nft.add_rule(TABLE, name, caught, to, nft_expr.dnat(first, second, v6=v6))
