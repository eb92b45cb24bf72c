"""What the cluster sees of the gateway: its Service and the slice behind it, the Ingresses' addresses, and events.

Called by gateway/runner.py. The Service kube-system/skerry-ingress is of type LoadBalancer, so whoever gives such
Services addresses and opens their ports does so for Ingress (I9). It is there as long as an Ingress of ours is: else a
cluster would hold ports 80 and 443 of an address for nothing. While Envoy is down it stays, without a ready endpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from skerry.api import status
from skerry.api.types import core, discovery, meta, networking
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers
from skerry.clock import Clock
from skerry.gateway.model import CLASS, CONTROLLER, Problem

NAMESPACE, NAME = "kube-system", "skerry-ingress"
AGAIN = 1.0
"""Seconds until what failed is tried again."""
_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where Envoy listens."""

    node: str
    address: str
    http: int
    https: int


def ingress_class() -> networking.IngressClass:
    """The class that a cluster has from the start. It is the default: Ingresses that name no class are ours."""
    return networking.IngressClass(
        metadata=meta.ObjectMeta(name=CLASS, annotations={"ingressclass.kubernetes.io/is-default-class": "true"}),
        spec=networking.IngressClassSpec(controller=CONTROLLER),
    )


def service() -> core.Service:
    """The Service, as it is made."""
    return core.Service(
        metadata=meta.ObjectMeta(name=NAME, namespace=NAMESPACE, labels={"app.kubernetes.io/name": NAME}),
        spec=core.ServiceSpec(
            type="LoadBalancer",
            ports=[
                core.ServicePort(name="http", port=80, target_port=80, protocol="TCP", app_protocol="http"),
                core.ServicePort(name="https", port=443, target_port=443, protocol="TCP", app_protocol="https"),
            ],
        ),
    )


def slice_of(owner: core.Service, place: Place, *, ready: bool) -> discovery.EndpointSlice:
    """What is behind the Service."""
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=NAME,
            namespace=NAMESPACE,
            labels={"kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": "ingress.skerry.dev"},
            owner_references=[meta.OwnerReference(api_version="v1", kind="Service", name=NAME, uid=owner.metadata.uid)],
        ),
        address_type="IPv6" if ":" in place.address else "IPv4",
        endpoints=[
            discovery.Endpoint(
                addresses=[place.address],
                conditions=discovery.EndpointConditions(ready=ready, serving=ready, terminating=False),
                node_name=place.node,
            )
        ],
        ports=[
            discovery.EndpointPort(name="http", port=place.http, protocol="TCP", app_protocol="http"),
            discovery.EndpointPort(name="https", port=place.https, protocol="TCP", app_protocol="https"),
        ],
    )


class Front:
    """`await run()` until cancelled; `show`, `hide` and `ready` say what is to be seen."""

    def __init__(self, client: Client, informers: Informers, clock: Clock, recorder: Recorder, place: Place) -> None:
        self._client, self._clock, self._recorder, self._place = client, clock, recorder, place
        self._ingresses = informers.of(networking.Ingress)
        self._services = informers.of(core.Service, namespace=NAMESPACE, field_selector=f"metadata.name={NAME}")
        self._ours: tuple[str, ...] = ()
        self._left: set[str] = set()  # Ingresses that are another's from now on, and have our address
        self._told: dict[str, tuple[str, frozenset[Problem]]] = {}
        self._ready = False
        self._written: tuple[str, bool] | None = None
        self._news = asyncio.Event()

    def show(self, ours: tuple[str, ...]) -> None:
        """These Ingresses, at least one, are ours."""
        self._left = (self._left | set(self._ours)) - set(ours)
        self._ours = ours
        self._news.set()

    def hide(self) -> None:
        """No Ingress is ours."""
        self.show(())

    def ready(self, now: bool) -> None:
        """Whether Envoy takes requests."""
        self._ready = now
        self._news.set()

    def problems(self, found: Mapping[str, tuple[Problem, ...]]) -> None:
        """What is wrong with Ingresses, in events: once, and again only after it was gone."""
        told, self._told = self._told, {}
        for key, problems in found.items():
            one = self._ingresses.get(key)
            if one is None:
                continue
            before = told.get(key)
            known = before[1] if before is not None and before[0] == one.metadata.uid else frozenset[Problem]()
            for problem in problems:
                if problem not in known:
                    self._recorder.event(one, "Warning", problem.reason, problem.message)
            self._told[key] = (one.metadata.uid, frozenset(problems))

    async def run(self) -> None:
        await self._services.synced()
        await self._ingresses.synced()
        self._services.subscribe(self._service)
        self._ingresses.subscribe(self._ingress)
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._sync()
            except (status.ApiError, OSError) as error:
                if not (isinstance(error, status.ApiError) and status.is_conflict(error)):
                    _log.warning("what is to be seen of Ingress could not be written: %s", error)
                self._news.set()
                await self._clock.sleep(AGAIN)

    def _service(self, _: core.Service | None, new: core.Service | None) -> None:
        if new is None:
            self._written = None
        self._news.set()

    def _ingress(self, _: networking.Ingress | None, new: networking.Ingress | None) -> None:
        """Somebody may have written its status."""
        if new is not None and f"{new.metadata.namespace}/{new.metadata.name}" in self._ours:
            self._news.set()

    async def _sync(self) -> None:
        found = self._services.get(f"{NAMESPACE}/{NAME}")
        if self._ours:
            if found is None or found.metadata.deletion_timestamp:
                found = await self._made() or found
            if found is not None and self._written != (found.metadata.uid, self._ready):
                await self._put_slice(slice_of(found, self._place, ready=self._ready))
                self._written = (found.metadata.uid, self._ready)
        elif found is not None and not found.metadata.deletion_timestamp:
            await self._remove()
        await self._addresses(found)

    async def _made(self) -> core.Service | None:
        """None if the last one is still on its way out: its end is news."""
        try:
            return await self._client.create(service())
        except status.ApiError as error:
            if not status.is_already_exists(error):
                raise
        return None

    async def _put_slice(self, wanted: discovery.EndpointSlice) -> None:
        try:
            known = await self._client.get(discovery.EndpointSlice, NAME, NAMESPACE)
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
            await self._client.create(wanted)
        else:
            wanted.metadata.resource_version = known.metadata.resource_version
            await self._client.update(wanted)

    async def _remove(self) -> None:
        for kind in (discovery.EndpointSlice, core.Service):
            try:
                await self._client.delete(kind, NAME, NAMESPACE)
            except status.ApiError as error:
                if not status.is_not_found(error):
                    raise
        self._written = None

    async def _addresses(self, found: core.Service | None) -> None:
        balancer = found.status.load_balancer.ingress if found is not None else []
        wanted = [networking.IngressLoadBalancerIngress(ip=one.ip, hostname=one.hostname) for one in balancer]
        for key in self._ours:
            await self._address(key, wanted)
        for key in list(self._left):
            await self._address(key, [])
            self._left.discard(key)

    async def _address(self, key: str, wanted: list[networking.IngressLoadBalancerIngress]) -> None:
        """I9."""
        one = self._ingresses.get(key)
        if one is None or one.status.load_balancer.ingress == wanted:
            return
        patch = {
            "metadata": {"uid": one.metadata.uid},
            "status": {"loadBalancer": {"ingress": wanted or None}},
        }
        name, namespace = one.metadata.name, one.metadata.namespace
        try:
            await self._client.patch(networking.Ingress, name, patch, namespace, subresource="status")
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
