"""Forwarding ports to a cluster of this machine: the one function that `skerry port-forward` calls."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.client.portforward import Finder, Forwarder, Ports, Subject
from skerry.clock import SystemClock
from skerry.cluster import lifecycle, state, tokens
from skerry.cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skerry.cluster.paths import ClusterPaths

LOCALHOST = ("127.0.0.1", "::1")


def forward(
    name: str, namespace: str, subject: Subject, ports: Sequence[Ports], addresses: Sequence[str],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Forwards until SIGINT or SIGTERM. ClusterError if it cannot begin.

    `addresses`: where to listen; "localhost" is 127.0.0.1, and ::1 where there is one. `say` gets lines for people.
    """
    paths, _ = lifecycle.existing(name)
    if state.holder(paths) is None:
        raise ClusterError(f'Cluster "{name}" is not running: `skerry up` starts it.')
    asyncio.run(_forward(paths, namespace, subject, ports, addresses, say))


async def _forward(
    paths: ClusterPaths, namespace: str, subject: Subject, ports: Sequence[Ports], addresses: Sequence[str],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    token = tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN)
    transport = HttpTransport(Address(unix=str(paths.api_socket)), token=token)
    finder = Finder(Client(transport), namespace, subject)
    forwarder = Forwarder(finder, transport, namespace, SystemClock(), say)
    servers: list[asyncio.Server] = []
    try:
        for pair in ports:
            servers += await _listen(forwarder, pair, addresses)
        await ended.wait()
    except status.ApiError as error:
        raise ClusterError(f"{error.message}.") from error
    except LookupError as error:
        raise ClusterError(f"{error.args[0]}.") from error
    finally:
        for server in servers:
            server.close()
        await forwarder.close()
        with contextlib.suppress(OSError):
            await transport.close()


async def _listen(forwarder: Forwarder, pair: Ports, addresses: Sequence[str]) -> list[asyncio.Server]:
    servers: list[asyncio.Server] = []
    for address in addresses:
        try:
            if address != "localhost":
                servers += await forwarder.listen([address], pair)
                continue
            servers += await forwarder.listen(LOCALHOST[:1], pair)
            local = servers[-1].sockets[0].getsockname()[1]
            with contextlib.suppress(OSError):  # a machine without IPv6
                servers += await forwarder.listen(LOCALHOST[1:], Ports(local, pair.remote))
        except OSError as error:
            where = f"{address} port {pair.local if pair.local is not None else pair.remote}"
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ClusterError(f"Cannot listen on {where}: {why}; choose another as LOCAL:{pair.remote}.") from error
    return servers
