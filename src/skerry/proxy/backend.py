"""What carries a service table out: nftables/ in the kernel, userspace/ with sockets. The one interface of both.

server.py calls it, modes.py chooses one. A table (or change) is in force when the call returns: from then on its
revision is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from skerry.proxy.table import Backend, Change, ServiceTable


class Connections(NamedTuple):
    """`total` connections to a service port (namespace/name, port name, protocol) were sent to a backend."""

    service: str
    port: str
    protocol: str
    backend: Backend
    total: int

    def plain(self) -> dict[str, Any]:
        """As a node tells it."""
        return {
            "service": self.service,
            "portName": self.port,
            "protocol": self.protocol,
            "ip": self.backend.address,
            "port": self.backend.port,
            "connections": self.total,
        }


class BackEnd(Protocol):
    """All but `close` raise OSError if they cannot."""

    @property
    def mode(self) -> str:
        """`nftables` or `userspace`."""

    async def take_over(self, table: ServiceTable) -> None:
        """Makes this the table in force, whatever there was. Until it returns, the table stays and nothing is called
        but what only reads.
        """

    def program(self, table: ServiceTable, change: Change) -> None:
        """Follows a change. After an error the table has to be taken over anew."""

    async def intact(self, table: ServiceTable) -> bool:
        """False if somebody else changed the table, which has to be taken over anew. Changes may go on meanwhile.

        `table`: what was programmed last.
        """

    def connections(self) -> Iterable[Connections]:
        """How many connections each backend has been given."""

    def misses(self) -> int:
        """Connections that found no backend though there was one."""

    def unswept(self) -> Mapping[str, int]:
        """How often, by family, what nothing leads to any more could not be taken away."""

    def close(self) -> None: ...
