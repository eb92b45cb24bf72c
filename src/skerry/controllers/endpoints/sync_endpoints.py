"""Keeps the v1.Endpoints of Services right: the shell around `endpoints` (E1-E52). Started by `controller`."""

from __future__ import annotations

from skerry.api import status
from skerry.api.types import core
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informer
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.endpoints import endpoints, members
from skerry.controllers.endpoints.books import Books
from skerry.controllers.endpoints.roster import Roster
from skerry.controllers.endpoints.select import PodIndex
from skerry.controllers.refusals import PATIENCE, is_namespace_terminating, was_behind
from skerry.controllers.view import View


class EndpointsSync:
    """`await sync(key)` makes one Service's Endpoints right."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        services: Informer[core.Service],
        informer: Informer[core.Endpoints],
        pods: PodIndex,
    ) -> None:
        self._client, self._clock, self._services = client, clock, services
        self._events = Recorder(client, endpoints.CONTROLLER, clock=clock)
        self.queue = Queue(clock)
        self.view = View(informer, self.queue.add, lambda one: self.queue.add(members.key(one)))
        self.books = Books(pods, Roster, Roster.put)

    def pod_changed(self, key: str, pod: str) -> None:
        """A pod may have changed what a Service's Endpoints say."""
        self.books.changed(key, pod)
        self.queue.add(key)

    async def sync(self, key: str) -> None:
        if self.view.is_behind(key):
            return  # it comes back when the cache has seen what we have not
        service, current = self._services.get(key), self.view.get(key)
        if service is None:
            self.books.drop(key)
            if current is not None:
                await self._delete(key, current)  # E8
            return
        if not members.wants_endpoints(service):
            self.books.drop(key)
            return
        begun = self._clock.monotonic()
        book = self.books.get(key)
        if book is not None and (rest := book.rests(begun)):
            self.queue.add_after(key, rest)
            return
        book = self.books.open(service)
        wanted = endpoints.decide_from(book.endpoints, current, book.causes.time(service))
        if wanted is not None:
            await self._write(key, wanted, current)
            book.rest(begun, self._clock.monotonic())
        book.causes.told(service)

    async def _delete(self, key: str, current: core.Endpoints) -> None:
        try:
            await self._client.delete(
                core.Endpoints, current.metadata.name, current.metadata.namespace, uid=current.metadata.uid
            )
        except status.ApiError as error:
            if status.is_conflict(error):
                self._refused(key, current)
            if not status.is_not_found(error):
                raise
        self.view.deleted(current)

    def _refused(self, key: str, what: core.Endpoints) -> None:
        """The server had something newer: the key waits for the news of that."""
        self.view.refused(what)
        self._clock.call_later(PATIENCE, lambda: self.view.wait_no_longer(key))

    async def _write(self, key: str, wanted: core.Endpoints, current: core.Endpoints | None) -> None:
        try:
            made = await (self._client.create(wanted) if current is None else self._client.update(wanted))
        except status.ApiError as error:
            if is_namespace_terminating(error):
                return  # E45
            if status.is_not_found(error) and current is not None:
                self.view.gone(current)
            if was_behind(error):
                self._refused(key, wanted)
            elif current is None:
                text = f"Failed to create endpoint for service {key}: {error}"
                self._events.event(wanted, "Warning", "FailedToCreateEndpoint", text)
            else:
                text = f"Failed to update endpoint {key}: {error}"
                self._events.event(wanted, "Warning", "FailedToUpdateEndpoint", text)
            raise
        self.view.wrote(made)
