"""Carries TCP connections on: what one socket says, the other is told, in both directions, with ends and resets.

Called by hostports.py and the userspace back end. Sockets are read in the event loop but without asyncio's transports:
small messages go through one buffer that all share, and what comes in bulk is spliced from socket to socket in the
kernel, through a pipe. A side that does not take its bytes makes the other wait: nothing is kept here beyond one read.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Callable

from skerry.proxy.relay.guide import Guide
from skerry.proxy.table import Backend

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""How long a connection onwards may take before another backend is tried, or the client is reset."""

_ACCEPT_AT_ONCE = 64
"""Connections that one listener may accept before the others have their turn."""
_REST = 0.5
"""Seconds for which a listener rests when there are no more file descriptors."""

_CHUNK = 64 * 1024
_PIPE = 1024 * 1024
"""What a pipe holds, and a splice moves at most: the kernel gives a user without rights 64 such pipes."""
_BULK = 4
"""So many full chunks one after the other are bulk: then a pipe is worth its two descriptors."""
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

_RESET = struct.pack("ii", 1, 0)
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)

_buffer = memoryview(bytearray(_CHUNK))
"""For the bytes between a read and the write that follows at once. There is one event loop."""


class TcpRelay:
    """Accepts on a listening socket and carries every connection on to where `guide` sends it."""

    def __init__(self, listener: socket.socket, guide: Guide) -> None:
        self._listener, self._guide = listener, guide
        self._loop = asyncio.get_running_loop()
        self._clients: set[_Connection] = set()
        self._resting: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        # Accepted sockets inherit both.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @property
    def connections(self) -> int:
        """Clients there are now."""
        return len(self._clients)

    def start(self) -> None:
        """Begins to accept."""
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def stop_listening(self) -> None:
        """New connections are refused from now on; those that are there go on."""
        if self._listener.fileno() < 0:
            return
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def close(self) -> None:
        """Stops listening and resets what is there."""
        self.stop_listening()
        for one in list(self._clients):
            one.reset()

    def _accept(self) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                client, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:
                    log.warning("no connection can be accepted for %.1f s: %s", _REST, error)
                    self._loop.remove_reader(self._listener.fileno())
                    self._resting = self._loop.call_later(_REST, self.start)
                    return
                continue  # that client has gone already
            client.setblocking(False)
            made = _Connection(self._loop, client, address[0], self._guide, self._clients.discard)
            self._clients.add(made)
            made.begin()


class _Connection:
    """A client's socket, and soon its backend's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        address: str,
        guide: Guide,
        ended: Callable[[_Connection], None],
    ) -> None:
        self.loop = loop
        self._client, self._address, self._guide, self._ended = client, address, guide, ended
        self._server: socket.socket | None = None
        self._backend: Backend | None = None
        self._tried: list[Backend] = []
        self._patience: asyncio.TimerHandle | None = None
        self._ways: tuple[_Way, ...] = ()

    def begin(self) -> None:
        """Connects to a backend, and to others if that one does not answer."""
        while True:
            backend = self._guide.choose(self._address, self._tried)
            if backend is None:
                self.reset()
                return
            self._tried.append(backend)
            try:
                family = socket.AF_INET6 if ":" in backend.address else socket.AF_INET
                server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                code = server.connect_ex(backend)
                if code == errno.EINPROGRESS:  # a backend on this node has answered by now
                    code = server.connect_ex(backend)
            except OSError as error:
                log.warning("no connection to %s:%d can be made: %s", *backend, error)
                self.reset()
                return
            if code in (0, errno.EISCONN):
                self._connected(server, backend)
                return
            if code in _UNDER_WAY:
                self._server, self._backend = server, backend
                self.loop.add_writer(server.fileno(), self._answered)
                self._patience = self.loop.call_later(CONNECT_SECONDS, self._give_up)
                return
            server.close()

    def _answered(self) -> None:
        """The connection onwards is there, or has failed."""
        server, backend = self._let_go()
        code = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            server.close()
            self.begin()
        else:
            self._connected(server, backend)

    def _give_up(self) -> None:
        self._let_go()[0].close()
        self.begin()

    def _let_go(self) -> tuple[socket.socket, Backend]:
        """Ends the wait for a connection onwards."""
        server, backend = self._server, self._backend
        assert server is not None
        assert backend is not None
        self._server = self._backend = None
        if self._patience is not None:
            self._patience.cancel()
        self.loop.remove_writer(server.fileno())
        return server, backend

    def _connected(self, server: socket.socket, backend: Backend) -> None:
        self._server, self._backend = server, backend
        self._guide.opened(backend)
        there, back = _Way(self, self._client, server), _Way(self, server, self._client)
        self._ways = (there, back)
        there.begin()
        if self._ways:
            back.begin()
        if self._ways:
            there.read()  # most clients have spoken by now

    def way_ended(self) -> None:
        """One side has said all; when both have, it is over."""
        if all(way.ended for way in self._ways):
            self._finish()

    def reset(self) -> None:
        """Ends the connection so that both sides notice at once."""
        if self._patience is not None and self._server is not None and not self._ways:
            self._let_go()[0].close()
        for one in (self._client, self._server):
            if one is not None and one.fileno() >= 0:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._finish()

    def _finish(self) -> None:
        ways, self._ways = self._ways, ()
        for way in ways:
            way.close()
        self._client.close()
        if self._server is not None:
            self._server.close()
        self._ended(self)


class _Way:
    """One direction of a connection."""

    __slots__ = ("_connection", "_from", "_full", "_in_pipe", "_left", "_loop", "_pipe", "_source", "_to", "ended")

    def __init__(self, connection: _Connection, source: socket.socket, to: socket.socket) -> None:
        self._connection, self._source, self._to = connection, source, to
        self._loop = connection.loop
        self._from = source.fileno()
        self._left = b""
        self._full = 0
        self._pipe: tuple[int, int] | None = None
        self._in_pipe = 0
        self.ended = False

    def begin(self) -> None:
        """Reads from now on."""
        self._loop.add_reader(self._from, self.read)

    def read(self) -> None:
        """The source has something to say, or has ended."""
        if self.ended:
            return
        try:
            if self._pipe is not None:
                self._in_pipe = count = os.splice(self._from, self._pipe[1], _PIPE, flags=_SPLICE)
            else:
                count = self._source.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError:
            self._connection.reset()
            return
        if not count:
            self._end()
        elif self._pipe is not None:
            self._pour(reading=True)
        else:
            self._send(_buffer[:count], reading=True)
            self._full = self._full + 1 if count == _CHUNK else 0
            if self._full == _BULK and not self._left and not self.ended:
                self._open_pipe()

    def _send(self, data: bytes | memoryview, *, reading: bool) -> None:
        try:
            sent = self._to.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._connection.reset()
            return
        self._left = bytes(data[sent:]) if sent < len(data) else b""
        self._wait(waits=bool(self._left), reading=reading)

    def _pour(self, *, reading: bool) -> None:
        """What is in the pipe goes on."""
        assert self._pipe is not None
        try:
            while self._in_pipe:
                self._in_pipe -= os.splice(self._pipe[0], self._to.fileno(), self._in_pipe, flags=_SPLICE)
        except BlockingIOError:
            pass
        except OSError:
            self._connection.reset()
            return
        self._wait(waits=bool(self._in_pipe), reading=reading)

    def _wait(self, *, waits: bool, reading: bool) -> None:
        """Reads, or waits for the other side to take what is left; `reading` says which it did so far."""
        if waits and reading:
            self._loop.remove_reader(self._from)
            self._loop.add_writer(self._to.fileno(), self._write)
        elif reading or waits:
            return
        else:
            self._loop.remove_writer(self._to.fileno())
            self._loop.add_reader(self._from, self.read)

    def _write(self) -> None:
        """The other side takes more."""
        if self._left:
            self._send(self._left, reading=False)
        else:
            self._pour(reading=False)

    def _open_pipe(self) -> None:
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # no descriptor left: it goes on as it is
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE)
        except OSError:  # more than this user may have: a small one would be slower than none
            for one in pipe:
                os.close(one)
            return
        self._pipe = pipe

    def _end(self) -> None:
        """Half-close: the other direction goes on until it ends as well."""
        self.ended = True
        self._loop.remove_reader(self._from)
        with contextlib.suppress(OSError):
            self._to.shutdown(socket.SHUT_WR)
        self._connection.way_ended()

    def close(self) -> None:
        """Stops; the sockets are the connection's."""
        self.ended = True
        self._loop.remove_reader(self._from)
        self._loop.remove_writer(self._to.fileno())
        if self._pipe is not None:
            for one in self._pipe:
                os.close(one)
            self._pipe = None
