"""A way into the cluster's network: a process in one of its nodes that gives out sockets, and another when that ends.

Started by main.py before it has an event loop. Both ends speak the protocol of `cluster/sockets.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable

from skerry import linux, packets
from skerry.cluster.inside import enter

_PAUSE = 0.1
"""Seconds between two looks for a node that runs."""


def open_door(nodes: Callable[[], dict[str, int] | None]) -> tuple[socket.socket, int]:
    """Our end of the socketpair, and a pidfd of the process behind it; it ends when this process does.

    `nodes()`: the first process of each running node; None when the cluster has ended, and then the door does too.
    """
    ours, theirs = packets.pair()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                _keep(theirs, nodes)
        finally:
            os._exit(0)
    theirs.close()
    return ours, os.pidfd_open(pid)


def _keep(theirs: socket.socket, nodes: Callable[[], dict[str, int] | None]) -> None:
    """One process in a node at a time; when that node ends, the next one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # our parent decides
    while True:
        found = nodes()
        if found is None:
            return
        for node in found.values():
            pid = os.fork()
            if pid == 0:
                try:
                    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
                    _serve(theirs, node)
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            break
        time.sleep(_PAUSE)


def _serve(theirs: socket.socket, node: int) -> None:
    from skerry.cluster import sockets

    handle = os.pidfd_open(node)
    enter(node)

    async def run() -> None:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(handle, ended.set)
        either = [asyncio.create_task(sockets.serve(theirs, "node")), asyncio.create_task(ended.wait())]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    asyncio.run(run())
