"""Looks at a Service through an API: ordinary gets and lists, any Kubernetes will do. Called by the command line.

What may not be read is left out and said; only the Service itself must be readable.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from skerry.api import labels, status
from skerry.api.types import apps, core, discovery
from skerry.client.client import Client
from skerry.clock import Clock
from skerry.controllers.endpoints import members, slices
from skerry.explain import workloads
from skerry.explain.seen import Seen, Workload

T = TypeVar("T")
_SETTLE = 1.0
OBJECTS = frozenset(
    ("EndpointsEdited", "EndpointsMissing", "SliceEdited", "SlicesMissing", "SliceOrphaned", "ProxyBehind")
)
"""Findings that may only mean that objects were read while they changed; see `settled`."""


class Reader:
    """Reads for one report."""

    def __init__(self, client: Client, clock: Clock, namespace: str, name: str) -> None:
        self._client, self._clock, self._namespace, self._name = client, clock, namespace, name
        self._unread: dict[str, str] = {}

    async def seen(self) -> Seen:
        """Everything as it is now. ApiError if the Service cannot be read."""
        self._unread = {}
        service = await self._client.get(core.Service, self._name, self._namespace)
        chosen = f"{slices.SERVICE_NAME}={self._name}"
        pods, services, endpoints, found, nodes = await asyncio.gather(
            self._list("pods", core.Pod, self._namespace),
            self._list("services", core.Service, self._namespace),
            self._endpoints(),
            self._list("endpointslices", discovery.EndpointSlice, self._namespace, label_selector=chosen),
            self._list("nodes", core.Node),
        )
        elsewhere: list[core.Pod] = []
        makers: list[Workload] = []
        events: list[core.Event] = []
        if members.wants_endpoints(service):
            matching = members.wants_selector(service, pods)
            if not matching and "pods" not in self._unread:
                wanted = labels.text(labels.from_map(service.spec.selector))
                everywhere = await self._list("pods of other namespaces", core.Pod, label_selector=wanted)
                elsewhere = [one for one in everywhere if one.metadata.namespace != self._namespace]
                makers = workloads.of_their_own(
                    await self._list("deployments", apps.Deployment, self._namespace),
                    await self._list("replicasets", apps.ReplicaSet, self._namespace),
                    await self._list("statefulsets", apps.StatefulSet, self._namespace),
                    await self._list("daemonsets", apps.DaemonSet, self._namespace),
                )
            elif any(not members.is_ready(one) for one in matching):
                about = "involvedObject.kind=Pod"
                events = await self._list("events", core.Event, self._namespace, field_selector=about)
        return Seen(
            service=service,
            now=self._clock.now(),
            services=services,
            pods=pods,
            elsewhere=elsewhere,
            workloads=makers,
            endpoints=endpoints,
            slices=[one for one in found if one.metadata.deletion_timestamp is None],
            events=events,
            nodes=None if "nodes" in self._unread else {one.metadata.name: one for one in nodes},
            unread=self._unread,
        )

    async def settle(self) -> None:
        """Waits as long as controllers may be behind a change."""
        await self._clock.sleep(_SETTLE)

    async def _endpoints(self) -> core.Endpoints | None:
        try:
            return await self._client.get(core.Endpoints, self._name, self._namespace)
        except status.ApiError as error:
            if not status.is_not_found(error):
                self._refused("endpoints", error)
            return None

    async def _list(self, what: str, kind: type[T], namespace: str = "", **selectors: Any) -> list[T]:
        try:
            return (await self._client.list(kind, namespace, **selectors)).items
        except status.ApiError as error:
            self._refused(what, error)
            return []

    def _refused(self, what: str, error: status.ApiError) -> None:
        why = "this user may not read them" if error.code == 403 else error.message
        self._unread[what] = f"{what.capitalize()} were not looked at: {why}."
