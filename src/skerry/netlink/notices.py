"""Hears from the kernel when addresses of the network namespace come or go.

Called by cluster/kubeproxy.py: node ports are to answer on addresses that a machine gets while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

_IPV4_ADDRESSES, _IPV6_ADDRESSES = 0x10, 0x100


class AddressNotices:
    """`call()` is called in the event loop after each change, until `close`. OSError if the kernel has no such news.

    It is not said what changed: news can be lost when there is much of it, and then `call` is called, too.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, _IPV4_ADDRESSES | _IPV6_ADDRESSES))
            self._socket.setblocking(False)
            asyncio.get_running_loop().add_reader(self._socket, self._read)
        except OSError:
            self._socket.close()
            raise

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EAGAIN: that was all; ENOBUFS: some were lost
            while True:
                self._socket.recv(1 << 16)
        self._call()

    def close(self) -> None:
        """No more calls."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
