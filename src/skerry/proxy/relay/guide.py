"""Who tells a relay where its clients go. Called by tcp.py and udp.py; hostports.py and userspace/ are guides."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from skerry.proxy.table import Backend


class Guide(Protocol):
    """Chooses a backend for each client, and hears of each connection (or UDP flow)."""

    def choose(self, client: str, tried: Collection[Backend], /) -> Backend | None:
        """Where a client (its address) goes, none of those that were `tried`; None: nowhere."""

    def opened(self, backend: Backend, /) -> None:
        """A connection to this backend is there."""
