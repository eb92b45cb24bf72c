"""Small messages with file descriptors between processes of one cluster: JSON over a SOCK_SEQPACKET socketpair.

Called by cluster/ (control plane and cluster init), by the node's spawner (both blocking) and through channel.py by
what runs an event loop. A message that is too long for a packet travels in a memory file beside it.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_MOST_FDS = 16
_LONGEST = 60_000
_INLINE, _IN_FILE = b"i", b"f"


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; neither survives an execve."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Sends one message; the receiver gets copies of `fds`. BlockingIOError if it does not block and is full."""
    data = json.dumps(message).encode()
    if len(data) <= _LONGEST:
        _send(sock, _INLINE + data, fds)
        return
    with open(os.memfd_create("message"), "wb+") as file:
        file.write(data)
        file.flush()
        _send(sock, _IN_FILE, [file.fileno(), *fds])


def receive(sock: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its file descriptors (the caller's now, closed by execve), or None: the end is gone."""
    space = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)
    try:
        data, ancillary, _, _ = sock.recvmsg(1 + _LONGEST, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data:
        return None
    received = list(fds)
    if data[:1] == _INLINE:
        return json.loads(data[1:]), received
    with open(received.pop(0), "rb") as file:
        file.seek(0)
        return json.load(file), received


def _send(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)
