"""The broker: sockets born in another network namespace, handed over by SCM_RIGHTS.

Called by the control plane (`serve`, which gives out sockets of the host) and by the node agents (`Broker`, which ask
for them: NodePorts on the host's loopback, ways out for image pulls and DNS forwarding). Nothing else in the tree
knows where a socket was born. Of what there is only one of, the host's loopback ports, nodes take `Turns`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Literal

from skerry import linux
from skerry.channel import Channel
from skerry.packets import Message

Kind = Literal["tcp", "udp"]
Socket = socket.socket
_BACKLOG = 1024
_PATIENCE = 10.0
"""Seconds for one address to accept a connection."""


class Broker:
    """The asking end, inside a running event loop. `where` is "host": the network of the machine itself.

    Every socket comes non-blocking. ConnectionError if the control plane has gone.
    """

    def __init__(self, sock: Socket) -> None:
        self._channel = Channel(sock, _refuse)

    async def listen(self, where: str, address: str, port: int, *, kind: Kind = "tcp") -> Socket:
        """A socket bound to `address`:`port`, for "tcp" listening. OSError with the real errno, e.g. EADDRINUSE."""
        return await self._ask({"listen": [address, port], "kind": kind, "where": where})

    async def socket(self, where: str, family: int, kind: int) -> Socket:
        """An unbound socket; `family` and `kind` as for `socket.socket`. OSError if it cannot be had."""
        return await self._ask({"socket": [int(family), int(kind)], "where": where})

    async def connect(self, where: str, host: str, port: int) -> Socket:
        """A TCP connection; names are looked up there too. OSError if there is none to be had (socket.gaierror too)."""
        return await self._ask({"connect": [host, port], "where": where})

    async def turn(self, what: str) -> None:
        """Returns when `what` is this node's, which it then is until the node has ended."""
        await self._channel.ask({"turn": what})

    def close(self) -> None:
        """Ends it."""
        self._channel.close()

    async def _ask(self, message: Message) -> Socket:
        answer, fds = await self._channel.ask(message)
        if "text" in answer:
            raise OSError(answer["errno"], answer["text"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        made = Socket(fileno=fds[0])
        made.setblocking(False)
        return made


class Turns:
    """Who holds what there is only one of: the node that asked first, until all its processes have ended."""

    def __init__(self) -> None:
        self._asked: defaultdict[str, deque[tuple[str, Callable[[], None]]]] = defaultdict(deque)

    def ask(self, what: str, node: str, granted: Callable[[], None]) -> None:
        """Calls `granted` when it is the node's turn."""
        self._asked[what].append((node, granted))
        if len(self._asked[what]) == 1:
            granted()

    def leave(self, node: str) -> None:
        """The node has ended, and with it every socket that it had: whoever waits behind it is next."""
        for what, asked in self._asked.items():
            kept = deque(one for one in asked if one[0] != node)
            self._asked[what] = kept
            if kept and kept[0] is not asked[0]:
                kept[0][1]()

    def holder(self, what: str) -> str:
        """The node that has it, "" if nobody does."""
        asked = self._asked.get(what)
        return asked[0][0] if asked else ""


async def serve(sock: socket.socket, where: str = "host", *, node: str = "", turns: Turns | None = None) -> None:
    """Gives out sockets of this process's network namespace until the other end, of this node, has gone."""
    gone = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def connect(message: Message) -> None:
        try:
            with await _connect(*message["connect"]) as made:
                channel.answer(message, {}, [made.fileno()])
        except OSError as error:
            channel.answer(message, {"errno": error.errno or errno.EIO, "text": linux.reason(error)})

    def receive(message: Message, fds: list[int]) -> None:
        _refuse(message, fds)
        try:
            if "turn" in message and turns is not None:
                turns.ask(message["turn"], node, lambda: channel.answer(message, {}))
                return
            if message.get("where") != where:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            if "connect" in message:
                task = asyncio.get_running_loop().create_task(connect(message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                return
            with _make(message) as made:
                channel.answer(message, {}, [made.fileno()])
        except OSError as error:
            channel.answer(message, {"errno": error.errno or errno.EIO})

    channel = Channel(sock, receive, gone.set)
    try:
        await gone.wait()
    finally:
        for task in tasks:
            task.cancel()
        channel.close()


async def _connect(host: str, port: int) -> socket.socket:
    """Tries the addresses of a host in order. OSError of the last one."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError(errno.ENOENT, f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(made, address), _PATIENCE)
        except TimeoutError:
            failure = OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        except OSError as error:
            failure = error
        else:
            return made
        made.close()
    raise failure


def _make(message: Message) -> socket.socket:
    if "socket" in message:
        family, kind = message["socket"]
        return socket.socket(family, kind)
    address, port = message["listen"]
    stream = message["kind"] == "tcp"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    try:
        if stream:
            # Only against connections in TIME_WAIT; a port that somebody listens on is still refused.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if stream:
            made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _refuse(_: Message, fds: list[int]) -> None:
    """No message of this protocol brings file descriptors."""
    for fd in fds:
        os.close(fd)
