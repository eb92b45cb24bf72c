"""Keeps Envoy's configuration up to date from the API: files in a directory, endpoints and certificates on the stream.

Called by gateway/runner.py while there are Ingresses or Gateways of ours. What is wanted is decided in desired.py and
routes/desired.py; here is only when: a slice's change goes out in the turn of the loop in which it came, everything
else is computed anew, at most once in a few milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from skerry.api.types import core, discovery, networking
from skerry.client.informer import Informer, Informers, key_of
from skerry.clock import Clock, Timer, parse_rfc3339
from skerry.gateway.desired import desired
from skerry.gateway.endpoints import endpoints_of, service_of
from skerry.gateway.metrics import Metrics
from skerry.gateway.model import Cluster, Desired
from skerry.gateway.routes.desired import wanted
from skerry.gateway.routes.model import NOTHING, Wanted
from skerry.gateway.routes.sources import Following
from skerry.gateway.server import StreamServer
from skerry.gateway.writing import Writer
from skerry.gateway.xds import files, stream
from skerry.gateway.xds.clusters import endpoints_name
from skerry.gateway.xds.files import Settings
from skerry.gateway.xds.wire import ENDPOINTS, SECRET

WINDOW = 0.005
"""Seconds between two computations of everything."""

TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
_BY_SERVICE = "Service of a slice"


class Follower:
    """`start`, then it runs until `stop`.

    `own`: informers of Ingresses, their classes and Secrets; `shared`: of Services and EndpointSlices, which the node's
    other parts follow as well. `on_desired(desired, wanted)`, of Ingresses and of Gateways, is called whenever
    something else is wanted, or it is for newer objects; `on_applied(slices, services)` with the newest revisions that
    are in force, whenever there are newer ones.
    """

    def __init__(
        self,
        own: Informers,
        shared: Informers,
        gateways: Following,
        clock: Clock,
        settings: Settings,
        server: StreamServer,
        metrics: Metrics,
        on_desired: Callable[[Desired, Wanted], None],
        on_applied: Callable[[int, int], None],
    ) -> None:
        self.desired, self.wanted = Desired(), NOTHING
        self._gateways = gateways
        self._own, self._clock, self._settings, self._server, self._metrics = own, clock, settings, server, metrics
        self._on_desired, self._on_applied = on_desired, on_applied
        self._ingresses = own.of(networking.Ingress)
        self._classes = own.of(networking.IngressClass)
        self._services = shared.of(core.Service)
        self._slices = shared.of(discovery.EndpointSlice)
        self._slices.add_index(_BY_SERVICE, lambda one: [service_of(one)])
        self._secrets: Informer[core.Secret] | None = None
        self._writer = Writer(settings.directory, server, clock)
        self._taken = False
        self._timers: dict[str, Timer] = {}
        self._clusters: dict[str, list[Cluster]] = {}  # by Service
        self._changed: set[str] = set()  # Services whose slices did
        self._triggers: list[float] = []
        self._seen = [0, 0]
        self._soon: asyncio.Handle | None = None
        self._started = self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self._born = clock.now()

    async def start(self) -> None:
        """Returns when the files are there with which Envoy can be started."""
        for each in (self._ingresses, self._classes, self._services, self._slices):
            await each.synced()
        self._see(0, self._slices.resource_version)
        self._see(1, self._services.resource_version)
        self._ingresses.subscribe(self._anything)
        self._classes.subscribe(self._anything)
        self._services.subscribe(self._service)
        self._slices.subscribe(self._slice)
        self._gateways.subscribe(self._compute_soon)
        first = desired(self._ingresses.list(), self._classes.list(), {}, {})
        if first.secrets or wanted(self._gateways.sources(), {}, {}).secrets:
            await self._follow_secrets().synced()
        self._started = True
        self._compute()

    def stop(self) -> None:
        """Follows nothing any more."""
        self._stopped = True
        self.desired, self.wanted, self._clusters = Desired(), NOTHING, {}  # subscribers stay with their informers
        self._writer.stop()
        for one in self._timers.values():
            one.cancel()
        if self._soon is not None:
            self._soon.cancel()
        if self._task is not None:
            self._task.cancel()

    def _see(self, which: int, revision: str) -> None:
        if revision.isdigit():
            self._seen[which] = max(self._seen[which], int(revision))

    # Events.

    def _anything(self, _old: object, _new: object) -> None:
        self._compute_soon()

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one = new or old
        assert one is not None
        self._see(1, one.metadata.resource_version)
        if key_of(one) in self.desired.services | self.wanted.services and (
            old is None or new is None or old.spec != new.spec
        ):
            self._compute_soon()

    def _secret(self, old: core.Secret | None, new: core.Secret | None) -> None:
        one = new or old
        assert one is not None
        if key_of(one) in self.desired.secrets | self.wanted.secrets:
            self._compute_soon()

    def _slice(self, old: discovery.EndpointSlice | None, new: discovery.EndpointSlice | None) -> None:
        one = new or old
        assert one is not None
        self._see(0, one.metadata.resource_version)
        if not self._started or self._stopped:
            return
        touched = {service_of(each) for each in (old, new) if each is not None} & self._clusters.keys()
        if touched:
            self._changed |= touched
            trigger = one.metadata.annotations.get(TRIGGER) if new is not None else None
            with contextlib.suppress(ValueError):
                if trigger and (when := parse_rfc3339(trigger)) >= self._born:
                    self._triggers.append(when)
        # Also what changes nothing here is to be acknowledged: the drain barrier asks for revisions.
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._slices_done)

    # Work.

    def _slices_done(self) -> None:
        self._soon = None
        touched, self._changed = self._changed, set()
        found = {}
        for service in touched:
            for one in self._clusters.get(service, ()):
                found[endpoints_name(one)] = self._endpoints(one)
        self._server.put(ENDPOINTS, found)
        self._acknowledge()

    def _endpoints(self, one: Cluster) -> stream.Resource:
        found = endpoints_of(one, self._slices.by_index(_BY_SERVICE, one.service))
        return stream.endpoints(endpoints_name(one), found)

    def _acknowledge(self) -> None:
        slices, services = self._seen
        triggers, self._triggers = self._triggers, []

        def applied() -> None:
            now = self._clock.now()
            for when in triggers:
                self._metrics.programming.observe(max(0.0, now - when))
            self._on_applied(slices, services)

        self._server.when_applied(applied)

    def _follow_secrets(self) -> Informer[core.Secret]:
        """Only where an Ingress or a Gateway names one: nobody else on a node needs to know them all."""
        if self._secrets is None:
            self._secrets = self._own.of(core.Secret)
            self._secrets.subscribe(self._secret)
        return self._secrets

    def _compute_soon(self) -> None:
        if self._started and not self._stopped and "compute" not in self._timers:
            self._timers["compute"] = self._clock.call_later(WINDOW, self._compute)

    def _compute(self) -> None:
        self._timers.pop("compute", None)
        if self._stopped:
            return
        secrets: dict[str, Any] = self._secrets.items if self._secrets is not None else {}
        last_good = {**self.desired.certificates, **self.wanted.certificates}
        services = self._services.items
        new = desired(self._ingresses.list(), self._classes.list(), services, secrets, last_good)
        inside = {(one.gateway, one.port): one.inside for one in self.wanted.entrances}
        routed = wanted(self._gateways.sources(), services, secrets, last_good, inside)
        if (new.secrets or routed.secrets) and (self._secrets is None or not self._secrets.has_synced):
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._compute_when_secrets_are_known())
            return
        if not self._taken or new != self.desired or routed != self.wanted:
            self._take(new, routed)
        elif routed.gateways:
            self._on_desired(new, routed)  # of a newer generation, or somebody wrote a status
        self._acknowledge()

    async def _compute_when_secrets_are_known(self) -> None:
        await self._follow_secrets().synced()
        self._compute_soon()

    def _take(self, new: Desired, routed: Wanted) -> None:
        begun = self._clock.monotonic()
        clusters, before = (
            {**one.clusters, **two.clusters} for one, two in ((new, routed), (self.desired, self.wanted))
        )
        if clusters != before or not self._taken:
            self._clusters = {}
            for one in clusters.values():
                self._clusters.setdefault(one.service, []).append(one)
            found = {endpoints_name(one): self._endpoints(one) for one in clusters.values()}
            self._server.put(ENDPOINTS, found, only=True)
        self._server.put(SECRET, files.certificates(new, self._settings, routed), only=True)
        self._writer.write(files.render(new, self._settings, routed))
        self.desired, self.wanted, self._taken = new, routed, True
        self._metrics.computed.observe(self._clock.monotonic() - begun)
        self._metrics.ingresses.set(len(new.ours))
        self._on_desired(new, routed)
