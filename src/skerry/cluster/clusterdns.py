"""Keeps the EndpointSlices of `kube-dns`: where DNS answers, that is on nodes that are ready. Run by controlplane.py.

Pods ask their own node's DNS and need no slice; this is for people and programs that look where the servers are.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.apiserver import bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skerry.api.types import core
    from skerry.client.client import Client
    from skerry.client.informer import Informer
    from skerry.clock import Clock

AGAIN = 1.0
"""Seconds until a write that failed is tried again."""
_log = logging.getLogger(__name__)


class ClusterDns:
    """`addresses`: of every node that can have a DNS server, by name, one a family."""

    def __init__(
        self, client: Client, clock: Clock, nodes: Informer[core.Node], addresses: Mapping[str, Sequence[str]]
    ) -> None:
        self._client, self._clock, self._addresses = client, clock, addresses
        self._ready: set[str] = set()
        self._changed = asyncio.Event()
        self._changed.set()
        nodes.subscribe(self._seen)

    def _seen(self, old: core.Node | None, new: core.Node | None) -> None:
        node = new or old
        assert node is not None
        name = node.metadata.name
        ready = new is not None and any(one.type == "Ready" and one.status == "True" for one in new.status.conditions)
        if ready != (name in self._ready):
            self._ready ^= {name}
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            answering: dict[str, list[str]] = {}
            for name, ips in self._addresses.items():
                for ip in ips:
                    answering.setdefault(bootstrap.family_of(ip), []).extend([ip] if name in self._ready else [])
            try:
                for at, (family, some) in enumerate(answering.items()):
                    await bootstrap.ensure_content(self._client, bootstrap.dns_slice(some, family, second=at > 0))
            except status.ApiError as error:
                _log.warning("the slice of kube-dns was not written: %s", error)
                self._changed.set()
                await self._clock.sleep(AGAIN)
