"""The proxy of `skerry connect`: its socket, its clients, its way into the cluster, and the command that uses it.

Called by the command line, in a fresh process with one thread, of the user who started the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

from skerry import linux
from skerry.cluster import entrance, lifecycle, state
from skerry.cluster.connect import dialogue
from skerry.cluster.connect.dialer import Dialer
from skerry.cluster.connect.door import open_door
from skerry.cluster.entrance import DOMAIN
from skerry.cluster.errors import ClusterError
from skerry.cluster.sockets import Broker

ADDRESS = "127.0.0.1"
_CLIENTS = 1024
_HEAD = 64 * 1024


def connect(name: str, namespace: str, port: int, command: list[str], say: Callable[[str], None]) -> int:
    """Serves until SIGINT or SIGTERM, or until `command` (if any) has ended: its exit code, else 0.

    `port` 0: any that is free. `say` gets lines for people, when there is no command. ClusterError if it cannot begin.
    """
    paths, found = lifecycle.existing(name)
    option = "" if name == "default" else f" --name {name}"
    if state.holder(paths) is None:
        raise ClusterError(f'Cluster "{name}" is not running: `skerry up{option}` starts it.')
    if found.nodes == 0:
        raise ClusterError(f'Cluster "{name}" has no nodes (--nodes 0), so there is no network to connect to.')
    try:
        listener = socket.create_server((ADDRESS, port))
    except OSError as error:
        text = f"Cannot listen on {ADDRESS} port {port}: {os.strerror(error.errno or 0)}; choose another --port."
        raise ClusterError(text) from error

    def nodes() -> dict[str, int] | None:
        return entrance.node_processes(paths) if state.holder(paths) is not None else None

    door, watched = open_door(nodes)
    networks = found.networks
    inside = [*networks.service_cidrs, *networks.pod_cidrs, *map(str, networks.fabrics)]

    async def run() -> int:
        broker = Broker(door)
        dialer = Dialer(broker, inside, networks.dns_ip, DOMAIN, namespace)
        return await _serve(listener, dialer, watched, command, say)

    return asyncio.run(run())


async def _serve(
    listener: socket.socket, dialer: Dialer, watched: int, command: list[str], say: Callable[[str], None]
) -> int:
    loop = asyncio.get_running_loop()
    clients: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(clients) >= _CLIENTS:
            writer.close()
            return
        clients.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the end; some Pythons (3.11) would print it
                await dialogue.serve(reader, writer, dialer)
        finally:
            clients.discard(task)

    server = await asyncio.start_server(one, sock=listener, limit=_HEAD)
    where = f"{ADDRESS}:{listener.getsockname()[1]}"
    try:
        if command:
            return await _with_command(command, where)
        asked, over = asyncio.Event(), asyncio.Event()
        loop.add_reader(watched, over.set)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, asked.set)
        for line in _instructions(where):
            say(line)
        either = [asyncio.create_task(one.wait()) for one in (asked, over)]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for waiting in either:
            waiting.cancel()
        if not asked.is_set():
            raise ClusterError("The cluster has ended, and with it the way into it.")
        return 0
    finally:
        server.close()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


def _instructions(where: str) -> list[str]:
    return [
        f"The cluster's names and addresses work through {where} until this ends (Ctrl-C). For this shell's programs:",
        f"  export ALL_PROXY=socks5h://{where} HTTP_PROXY=http://{where} HTTPS_PROXY=http://{where} NO_PROXY=",
        f"  export http_proxy=http://{where} https_proxy=http://{where} all_proxy=socks5h://{where} no_proxy=",
    ]


def environment(where: str) -> dict[str, str]:
    """What makes a program use the proxy. NO_PROXY goes: it may name what only the cluster has."""
    http, socks = f"http://{where}", f"socks5h://{where}"
    found = {"HTTP_PROXY": http, "HTTPS_PROXY": http, "ALL_PROXY": socks, "NO_PROXY": ""}
    return found | {name.lower(): value for name, value in found.items()}


async def _with_command(command: list[str], where: str) -> int:
    """Runs the command: its exit code, as a shell gives it. It gets the signals that would end us, and ends with us.

    When the cluster ends it goes on: it decides for itself what it does without.
    """
    loop = asyncio.get_running_loop()
    parent = os.getpid()

    def before() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(125)

    for number in (signal.SIGINT, signal.SIGQUIT):  # a terminal sends these to the command as well
        signal.signal(number, signal.SIG_IGN)
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment(where)}, preexec_fn=before
        )
    except FileNotFoundError:
        print(f"skerry: {command[0]}: No such file or directory", file=sys.stderr, flush=True)  # noqa: T201
        return 127
    except PermissionError:
        print(f"skerry: {command[0]}: Permission denied", file=sys.stderr, flush=True)  # noqa: T201
        return 126
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, process.send_signal, number)
    code = await process.wait()
    return code if code >= 0 else 128 - code
