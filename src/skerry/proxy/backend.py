"""What carries a service table out: nftables/ in the kernel, userspace/ with sockets. The one interface of both.

server.py calls it, modes.py chooses one. A table (or change) is in force when the call returns: from then on its
revision is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from skerry.proxy.table import Backend, Change, ServiceTable


class BackEnd(Protocol):
    """All but `close` raise OSError if they cannot."""

    @property
    def mode(self) -> str:
        """`nftables` or `userspace`."""

    def start(self, table: ServiceTable) -> None:
        """Makes this the table in force, whatever there was."""

    def program(self, table: ServiceTable, change: Change) -> None:
        """Follows a change."""

    def check(self, table: ServiceTable) -> bool:
        """Mends what somebody else did to the table; True if there was anything."""

    def connections(self) -> Iterable[tuple[str, str, str, Backend, int]]:
        """Service, port name, protocol, backend, and how many connections it was given."""

    def misses(self) -> int:
        """Connections that found no backend though there was one."""

    def close(self) -> None: ...
