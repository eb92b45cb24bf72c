"""Events are news: an hour after they were last seen they go, or they would fill the store for ever.

Started by controllers.manager. In upstream's API server this is --event-ttl, a lease in etcd.
"""

from __future__ import annotations

import logging

from skerry.api import status
from skerry.api.types import core
from skerry.client.client import Client
from skerry.clock import Clock, parse_rfc3339

HOURS = 3600.0
KEPT = 1.0
"""Hours."""
_EVERY = 300.0
_log = logging.getLogger(__name__)


class EventAgeController:
    """`await run()` until cancelled."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client, self._clock = client, clock

    async def run(self) -> None:
        while True:
            await self._clock.sleep(_EVERY)
            try:
                await self._sweep()
            except status.ApiError as error:
                _log.warning("old events stay: %s", error)

    async def _sweep(self) -> None:
        # Listed each time rather than kept: nobody else in the control plane needs a copy of all events.
        oldest = self._clock.now() - KEPT * HOURS
        for event in (await self._client.list(core.Event)).items:
            if last_seen(event) >= oldest:
                continue
            try:
                await self._client.delete(core.Event, event.metadata.name, event.metadata.namespace)
            except status.ApiError as error:
                if not status.is_not_found(error):
                    raise


def last_seen(event: core.Event) -> float:
    """When it last happened, in unix seconds: of whatever times it carries the newest."""
    series = event.series.last_observed_time if event.series is not None else None
    times = (series, event.last_timestamp, event.event_time, event.first_timestamp, event.metadata.creation_timestamp)
    return max((parse_rfc3339(time) for time in times if time), default=0.0)
