"""An IPAddress for every cluster IP: who looks for whose an address is finds it (S41).

Started by controllers.manager. What is allocated is settled in the write of the Service; these objects tell of it, and
come back when somebody deletes them. One that is not of our making is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skerry.api import status
from skerry.api.allocation import FAMILY, FOR_SERVICES, MANAGED_BY, for_service
from skerry.api.types import core, meta, networking
from skerry.api.validation import ip
from skerry.client import controller
from skerry.client.workqueue import Queue
from skerry.controllers.refusals import was_behind

if TYPE_CHECKING:
    from skerry.client.client import Client
    from skerry.client.informer import Informers
    from skerry.clock import Clock

_INDEX = "cluster IP"


class IPAddressController:
    """Works on one address after another: nobody waits for them."""

    def __init__(self, client: Client, clock: Clock, informers: Informers) -> None:
        self._client = client
        self._queue = Queue(clock)
        self._services = informers.of(core.Service)
        self._services.add_index(_INDEX, addresses)
        self._addresses = informers.of(networking.IPAddress)
        self._services.subscribe(self._service)
        self._addresses.subscribe(self._address)

    async def run(self) -> None:
        await self._services.synced()
        await self._addresses.synced()
        await controller.run(self._queue, self._sync)

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        before, after = addresses(old), addresses(new)
        if before != after or (old and new and old.metadata.uid != new.metadata.uid):
            for one in {*before, *after}:
                self._queue.add(one)

    def _address(self, old: networking.IPAddress | None, new: networking.IPAddress | None) -> None:
        if old is None or new is None or old.spec != new.spec:
            self._queue.add((new or old).metadata.name)  # type: ignore[union-attr]

    async def _sync(self, address: str) -> None:
        holders = self._services.by_index(_INDEX, address)
        wanted = whose(min(holders, key=lambda one: one.metadata.creation_timestamp or "")) if holders else None
        known = self._addresses.get(address)
        if known is not None and not for_service(known.metadata.labels):
            return
        try:
            if known is not None and known.spec.parent_ref != wanted:
                await self._client.delete(networking.IPAddress, address, uid=known.metadata.uid)
                known = None
            if known is None and wanted is not None:
                await self._client.create(made(address, wanted))
        except status.ApiError as error:
            if not was_behind(error):
                raise


def addresses(service: core.Service | None) -> list[str]:
    """The cluster IPs of a Service, none if it is None."""
    if service is None:
        return []
    held = service.spec.cluster_i_ps or [service.spec.cluster_ip]
    return [found for found in map(ip.canonical, held) if found is not None]


def whose(service: core.Service) -> networking.ParentReference:
    """How an IPAddress names the Service that has it."""
    return networking.ParentReference(
        resource="services", namespace=service.metadata.namespace, name=service.metadata.name
    )


def made(address: str, parent: networking.ParentReference) -> networking.IPAddress:
    """The object of an address that a Service has."""
    labels = {FAMILY: ip.family(address), MANAGED_BY: FOR_SERVICES}
    return networking.IPAddress(
        metadata=meta.ObjectMeta(name=address, labels=labels), spec=networking.IPAddressSpec(parent_ref=parent)
    )
