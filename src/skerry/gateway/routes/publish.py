"""What the cluster sees of Gateways: a Service for each with a slice behind it, and the statuses of all their objects.

Called by gateway/runner.py. A Gateway's Service, gateway-NAME in its namespace, is of type LoadBalancer, so whoever
gives such Services addresses and opens their ports does so for Gateways. It goes with its Gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from typing import Any

from skerry.api import status
from skerry.api.types import core, discovery, meta
from skerry.api.unstructured import Unstructured
from skerry.client.client import Client
from skerry.client.informer import Informers
from skerry.clock import Clock, rfc3339
from skerry.gateway.front import AGAIN, Place
from skerry.gateway.routes import conditions, objects
from skerry.gateway.routes.desired import class_accepted
from skerry.gateway.routes.model import NOTHING, Entrance, GatewayVerdict, Wanted
from skerry.gateway.routes.sources import Following

LABEL = "gateway.networking.k8s.io/gateway-name"
MANAGED, MANAGER = "app.kubernetes.io/managed-by", "gateway.skerry.dev"
OPEN_WITHIN = 5.0
"""Seconds that Envoy has at most to open a port, before its Gateway is shown without it."""
_log = logging.getLogger(__name__)

_Written = tuple[str, bool, tuple[Entrance, ...]]


def service_name(gateway: str) -> str:
    """Of a Gateway's Service; what is too long for one is shortened."""
    name = f"gateway-{gateway}".replace(".", "-")
    if len(name) < 64:
        return name
    return f"{name[:52]}-{hashlib.sha256(gateway.encode()).hexdigest()[:10]}"


def service(gateway: Unstructured, verdict: GatewayVerdict) -> core.Service:
    """A Gateway's Service, as it is made."""
    name = gateway.metadata.name
    owner = meta.OwnerReference(
        api_version=gateway.api_version, kind=gateway.kind, name=name, uid=gateway.metadata.uid, controller=True
    )
    return core.Service(
        metadata=meta.ObjectMeta(
            name=service_name(name),
            namespace=gateway.metadata.namespace,
            labels={LABEL: name, MANAGED: MANAGER} if len(name) < 64 else {MANAGED: MANAGER},
            owner_references=[owner],
        ),
        spec=core.ServiceSpec(type="LoadBalancer", ports=_ports(verdict)),
    )


def _ports(verdict: GatewayVerdict) -> list[core.ServicePort]:
    return [
        core.ServicePort(
            name=f"port-{port}", port=port, target_port=port, protocol="TCP", app_protocol="https" if tls else "http"
        )
        for port, tls in verdict.ports
    ]


def slice_of(
    owner: core.Service, place: Place, entrances: tuple[Entrance, ...], *, ready: bool
) -> discovery.EndpointSlice:
    """What is behind a Gateway's Service: Envoy, whose ports are not the Gateway's."""
    name = owner.metadata.name
    labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": MANAGER}
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name=name,
            namespace=owner.metadata.namespace,
            labels=labels,
            owner_references=[meta.OwnerReference(api_version="v1", kind="Service", name=name, uid=owner.metadata.uid)],
        ),
        address_type="IPv6" if ":" in place.address else "IPv4",
        endpoints=[
            discovery.Endpoint(
                addresses=[place.address],
                conditions=discovery.EndpointConditions(ready=ready, serving=ready, terminating=False),
                node_name=place.node,
            )
        ],
        ports=[discovery.EndpointPort(name=f"port-{one.port}", port=one.inside, protocol="TCP") for one in entrances],
    )


class Publisher:
    """`await run()` until cancelled; `show` and `ready` say what is to be seen."""

    def __init__(self, client: Client, own: Informers, following: Following, clock: Clock, place: Place) -> None:
        self._client, self._following, self._clock, self._place = client, following, clock, place
        self._services = own.of(core.Service, label_selector=f"{MANAGED}={MANAGER}")
        self._wanted = NOTHING
        self._ready = self._shown = False
        self._written: dict[str, _Written] = {}
        self._news = asyncio.Event()

    def show(self, wanted: Wanted) -> None:
        """What Gateways ask for, which Envoy has been told. Before it is known nothing is written."""
        self._wanted, self._shown = wanted, True
        self._news.set()

    def ready(self, now: bool) -> None:
        """Whether Envoy takes requests."""
        self._ready = now
        if self._shown:
            self._news.set()

    async def run(self) -> None:
        await self._services.synced()
        self._services.subscribe(self._service)
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._sync(self._wanted)
            except (status.ApiError, OSError) as error:
                if not (isinstance(error, status.ApiError) and status.is_conflict(error)):
                    _log.warning("what is to be seen of Gateways could not be written: %s", error)
                self._news.set()
                await self._clock.sleep(AGAIN)

    def _service(self, _old: object, _new: object) -> None:
        if self._shown:
            self._news.set()

    async def _sync(self, wanted: Wanted) -> None:
        now = rfc3339(self._clock.now())
        sources = self._following.sources()
        for one in sources.classes:
            verdict = class_accepted(one)
            if verdict is not None:
                await self._say(one, conditions.class_status(one, verdict, now))
        for key, found in wanted.gateways.items():
            gateway = self._following.get(objects.GATEWAY, key)
            if gateway is not None and not gateway.metadata.deletion_timestamp:
                addresses, up = await self._front(gateway, found, wanted)
                await self._say(gateway, conditions.gateway_status(gateway, found, addresses, up=up, now=now))
        kept = {_service_key(key) for key, one in wanted.gateways.items() if one.ports}
        for key, gone in list(self._services.items.items()):
            if key not in kept and not gone.metadata.deletion_timestamp:
                await self._remove(gone)
        for one in sources.routes:
            verdicts = wanted.routes.get(f"{one.metadata.namespace}/{one.metadata.name}", ())
            if verdicts or conditions.speaks_of_us(one):
                await self._say(one, conditions.route_status(one, verdicts, now))

    async def _front(
        self, gateway: Unstructured, verdict: GatewayVerdict, wanted: Wanted
    ) -> tuple[list[dict[str, str]], bool]:
        """A Gateway's addresses, and whether requests get in by all its ports."""
        if not verdict.ports:
            return [], False
        key = f"{gateway.metadata.namespace}/{gateway.metadata.name}"
        found = self._services.get(_service_key(key))
        if found is None:
            with contextlib.suppress(status.ApiError):  # somebody's own of that name stays theirs
                found = await self._client.create(service(gateway, verdict))
            if found is None:
                return [], False
        wanted_ports = {(one.port, one.name) for one in _ports(verdict)}
        if {(one.port, one.name) for one in found.spec.ports} != wanted_ports:
            patch = {"metadata": {"uid": found.metadata.uid}, "spec": {"ports": _ports(verdict)}}
            name, namespace = found.metadata.name, found.metadata.namespace
            found = await self._client.patch(core.Service, name, patch, namespace)
        entrances = tuple(one for one in wanted.entrances if one.gateway == key)
        up = self._ready and all([await self._open(one.inside) for one in entrances])
        places = tuple(Entrance(one.gateway, one.port, one.inside, one.tls, {}) for one in entrances)
        if self._written.get(key) != (found.metadata.uid, up, places):
            await self._put_slice(slice_of(found, self._place, entrances, ready=up))
            self._written[key] = (found.metadata.uid, up, places)
        balancer = found.status.load_balancer.ingress
        return [
            {"type": "IPAddress" if one.ip else "Hostname", "value": one.ip or one.hostname} for one in balancer
        ], up

    async def _open(self, port: int) -> bool:
        """Has Envoy opened a port? It says to nobody when it has read a file."""
        end = self._clock.monotonic() + OPEN_WITHIN
        while self._ready and self._clock.monotonic() < end:
            try:
                _, writer = await asyncio.open_connection(self._place.address, port)
            except OSError:
                await self._clock.sleep(0.01)
            else:
                writer.close()
                return True
        if self._ready:
            self._news.set()
        return False

    async def _put_slice(self, wanted: discovery.EndpointSlice) -> None:
        name, namespace = wanted.metadata.name, wanted.metadata.namespace
        try:
            known = await self._client.get(discovery.EndpointSlice, name, namespace)
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
            await self._client.create(wanted)
        else:
            wanted.metadata.resource_version = known.metadata.resource_version
            await self._client.update(wanted)

    async def _remove(self, one: core.Service) -> None:
        """Its slice goes with it."""
        with contextlib.suppress(status.ApiError):
            await self._client.delete(core.Service, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid)

    async def _say(self, one: Unstructured, said: dict[str, Any]) -> None:
        """Writes a status that is not so already; only over the very object that it is about."""
        before = one.content.get("status") or {}
        if all(before.get(key) == value for key, value in said.items()):
            return
        patch = {"metadata": {"resourceVersion": one.metadata.resource_version}, "status": said}
        name, namespace = one.metadata.name, one.metadata.namespace
        try:
            await self._client.patch(type(one), name, patch, namespace, subresource="status")
        except status.ApiError as error:
            if status.is_conflict(error):
                return  # its news comes
            if not status.is_not_found(error):
                raise


def _service_key(gateway: str) -> str:
    namespace, _, name = gateway.partition("/")
    return f"{namespace}/{service_name(name)}"
