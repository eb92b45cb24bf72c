"""Tells the API how far a component of a node is: one small object per node and component, the newest state only.

Called by the node's process for its proxy and its DNS. The first news is written at once, those that come within the
next milliseconds together, and nothing is written while nothing happens. The API server keeps no history of it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.types import core, meta, skerry

if TYPE_CHECKING:
    from skerry.client.client import Client
    from skerry.client.informer import Informers
    from skerry.clock import Clock

WINDOW = 0.015
"""Seconds between two writes."""

RETRY_FIRST, RETRY_MOST = 0.1, 5.0
"""Seconds until a write that failed is tried again; doubled each time."""

_log = logging.getLogger(__name__)


class Acknowledger:
    """`applied` takes the news; `await run()` writes it until cancelled."""

    def __init__(self, client: Client, informers: Informers, clock: Clock, node: str, component: str) -> None:
        self._client, self._clock = client, clock
        self._node, self._component = node, component
        self._nodes = informers.of(core.Node, field_selector=f"metadata.name={node}")
        self._there = asyncio.Event()
        self._news = asyncio.Event()
        self._revisions = skerry.AcknowledgementStatus()
        self._nodes.subscribe(self._seen)

    def applied(self, slices: int, services: int) -> None:
        """The component does what all EndpointSlices and Services up to these revisions say."""
        self._revisions = skerry.AcknowledgementStatus(applied_revision=slices, applied_service_revision=services)
        self._news.set()

    def _seen(self, _: core.Node | None, node: core.Node | None) -> None:
        """The object belongs to the Node, and has to wait for it."""
        if node is not None:
            self._there.set()
        else:
            self._there.clear()

    async def run(self) -> None:
        delay = RETRY_FIRST
        while True:
            await self._news.wait()
            await self._there.wait()
            self._news.clear()
            try:
                await self._write()
            except (status.ApiError, OSError) as error:
                _log.info("what the %s has applied could not be told: %s", self._component, error)
                self._news.set()
                await self._clock.sleep(delay)
                delay = min(2 * delay, RETRY_MOST)
            else:
                delay = RETRY_FIRST
                await self._clock.sleep(WINDOW)

    async def _write(self) -> None:
        node = self._nodes.get(self._node)
        if node is None:
            return  # it is being deleted, and takes this with it
        name, said = f"{self._node}.{self._component}", self._revisions
        owners = [
            meta.OwnerReference(
                api_version=node.api_version, kind=node.kind, name=node.metadata.name, uid=node.metadata.uid
            )
        ]
        try:
            found = await self._client.patch(skerry.Acknowledgement, name, {"status": said})
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
            made = skerry.Acknowledgement(
                metadata=meta.ObjectMeta(name=name, owner_references=owners),
                spec=skerry.AcknowledgementSpec(node_name=self._node, component=self._component),
                status=said,
            )
            await self._client.create(made)
        else:
            if found.metadata.owner_references != owners:  # left by a Node of the same name that was deleted
                change = {"metadata": {"ownerReferences": owners}}
                await self._client.patch(skerry.Acknowledgement, name, change)
