"""Questions and answers with file descriptors, for processes that run an event loop: packets.py under asyncio.

Called by the node's runtime (which asks its spawner) and by the broker of sockets (both of whose ends may ask).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from skerry import packets
from skerry.packets import Message

Receiver = Callable[[Message, list[int]], None]


class Channel:
    """One end of a socketpair, inside a running event loop.

    A question is a message with "ask": number; its answer has "answer": the same number. Every message that is no
    answer goes to `receive`, which owns its file descriptors. `closed` is called once, when the other end has gone.
    """

    def __init__(self, sock: socket.socket, receive: Receiver, closed: Callable[[], None] | None = None) -> None:
        self._socket = sock
        self._receive = receive
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._asked: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self._count = 0
        self._waiting: deque[tuple[Message, list[int]]] = deque()
        self._open = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._read)

    async def ask(self, message: Message, fds: Sequence[int] = ()) -> tuple[Message, list[int]]:
        """Sends a question; its answer, with file descriptors that are the caller's. ConnectionError if cut off."""
        if not self._open:
            raise ConnectionResetError("the other process is gone")
        self._count += 1
        number = self._count
        future: asyncio.Future[tuple[Message, list[int]]] = self._loop.create_future()
        self._asked[number] = future
        self.tell({**message, "ask": number}, fds)
        return await future

    def answer(self, question: Message, message: Message, fds: Sequence[int] = ()) -> None:
        """Answers a question that came through `receive`."""
        self.tell({**message, "answer": question["ask"]}, fds)

    def tell(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Sends a message, now or as soon as there is room. To an end that is gone: nothing."""
        if not self._open:
            return
        if not self._waiting:
            try:
                packets.send(self._socket, message, fds)
                return
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write)
            except OSError:
                self.close()
                return
        self._waiting.append((message, [os.dup(fd) for fd in fds]))

    def close(self) -> None:
        """Ends it; whoever waits for an answer gets ConnectionError."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for _, fds in self._waiting:
            _close(fds)
        self._waiting.clear()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the other process is gone"))
        self._asked.clear()
        if self._closed:
            self._closed()

    def _write(self) -> None:
        while self._waiting:
            message, fds = self._waiting[0]
            try:
                packets.send(self._socket, message, fds)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._waiting.popleft()
            _close(fds)
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        # A few at a time, so that a busy channel does not hold up the loop.
        for _ in range(16):
            try:
                received = packets.receive(self._socket)
            except BlockingIOError:
                return
            if received is None:
                self.close()
                return
            message, fds = received
            if "answer" not in message:
                self._receive(message, fds)
                if not self._open:
                    return
                continue
            future = self._asked.pop(message["answer"], None)
            if future is None or future.done():
                _close(fds)
            else:
                future.set_result((message, fds))


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
