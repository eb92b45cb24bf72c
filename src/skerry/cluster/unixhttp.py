"""HTTP over a unix socket for the command line: the standard library's client, which costs no more than it must.

Called by `skerry status` (the API server's socket) and `skerry load` (a node agent's).
"""

from __future__ import annotations

import http.client
import socket


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the API server's unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._seconds)
        self.sock.connect(self._path)
