"""Keeps the slices of hand-written Endpoints right: the shell around `mirroring` (X1-X9). Started by `controller`."""

from __future__ import annotations

from skerry.api.types import core
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informer
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.endpoints import mirroring
from skerry.controllers.endpoints.metrics import MirrorMetrics
from skerry.controllers.endpoints.slice_writer import SliceWriter
from skerry.controllers.view import View


class MirrorSync:
    """`await sync(key)` makes the mirror of one Endpoints right. `writer` is given once it exists."""

    def __init__(
        self, client: Client, clock: Clock, services: Informer[core.Service], view: View[core.Endpoints]
    ) -> None:
        self._clock, self._services, self._view = clock, services, view
        self._events = Recorder(client, "endpoint-slice-mirroring-controller", clock=clock)
        self.queue = Queue(clock)
        self.writer: SliceWriter | None = None
        self.metrics = MirrorMetrics()

    async def sync(self, key: str) -> None:
        begun = self._clock.monotonic()
        try:
            await self._sync(key)
        finally:
            self.metrics.duration.observe(self._clock.monotonic() - begun)

    async def _sync(self, key: str) -> None:
        assert self.writer is not None
        current, service = self._view.get(key), self._services.get(key)
        existing = self.writer.managed(key, mirroring.CONTROLLER)
        if self.writer.is_behind(existing):
            return
        if not existing and not mirroring.is_mirrored(current, service):
            self.metrics.forget(key)
            return
        mirrored = mirroring.reconcile(current, service, existing)
        plan = mirrored.plan
        if plan:
            await self.writer.write(key, plan, self.queue)
            if current is not None:
                self._tell_skipped(current, mirrored)
        self.metrics.synced(mirrored)
        count = len(existing) + len(plan.create) - len(plan.delete)
        self.metrics.holds(key, mirrored.endpoints, count, mirrored.slices)

    def _tell_skipped(self, current: core.Endpoints, mirrored: mirroring.Mirrored) -> None:
        """X5."""
        if mirrored.invalid:
            text = f"Skipped {mirrored.invalid} invalid IP addresses when mirroring to EndpointSlices"
            self._events.event(current, "Warning", "InvalidIPAddress", text)
        if mirrored.is_over:
            text = (
                f"A max of {mirroring.MAX_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints"
                f" subset. {mirrored.skipped} addresses were skipped"
            )
            self._events.event(current, "Warning", "TooManyAddressesToMirror", text)
