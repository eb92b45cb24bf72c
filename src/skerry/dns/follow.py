"""Keeps a DNS server up to date from the API: names, pods that ask, and the ConfigMap. Called by the node's process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from skerry.clock import parse_rfc3339
from skerry.dns import custom
from skerry.dns.extra import Extra
from skerry.dns.records import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from skerry.api.types import core
    from skerry.client.informer import Informers
    from skerry.clock import Clock
    from skerry.dns.clients import Clients
    from skerry.dns.metrics import DnsMetrics
    from skerry.dns.records import Records
    from skerry.dns.resolver import Resolver
    from skerry.dns.server import DnsServer

log = logging.getLogger(__name__)

TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


async def follow(
    informers: Informers,
    records: Records,
    on_applied: Callable[[int, int], None] | None = None,
    *,
    metrics: DnsMetrics | None = None,
    clock: Clock | None = None,
) -> None:
    """Keeps `records` up to date; returns once it has seen everything there is (answers are SERVFAIL before).

    `on_applied(slices, services)` is called with the newest revisions that answers show, whenever one has grown.
    """
    from skerry.api.types import core, discovery

    services, slices = informers.of(core.Service), informers.of(discovery.EndpointSlice)
    namespaces = informers.of(core.Namespace)
    born = clock.now() if clock is not None else 0.0

    def on_namespace(old: Any, new: Any) -> None:
        records.apply_namespace((new or old).metadata.name, new is not None)

    applied = [0, 0]

    def done(which: int, revision: str) -> None:
        if revision.isdigit():
            applied[which] = max(applied[which], int(revision))
        if records.synced and on_applied is not None:
            on_applied(applied[0], applied[1])

    def on_service(old: Any, new: Any) -> None:
        records.apply_service(_key(new or old), new)
        done(1, (new or old).metadata.resource_version)

    def on_slice(old: Any, new: Any) -> None:
        records.apply_slice(_key(new or old), new)
        done(0, (new or old).metadata.resource_version)
        trigger = new.metadata.annotations.get(TRIGGER) if new is not None else None
        if trigger and metrics is not None and clock is not None:
            name = new.metadata.labels.get("kubernetes.io/service-name", "")
            service = services.get(f"{new.metadata.namespace}/{name}")
            if service is not None and service.spec.cluster_ip == "None" and service.spec.selector:
                with contextlib.suppress(ValueError):
                    when = parse_rfc3339(trigger)
                    if when >= born:
                        metrics.programming.observe(max(0.0, clock.now() - when), "headless_with_selector")

    namespaces.subscribe(on_namespace)
    services.subscribe(on_service)
    slices.subscribe(on_slice)
    await asyncio.gather(namespaces.synced(), services.synced(), slices.synced())
    records.synced = True
    done(0, slices.resource_version)
    done(1, services.resource_version)
    log.info("dns: synced, %s", records.statistics())


def follow_pods(
    informers: Informers, clients: Clients, node: str, search_path: Callable[[core.Pod], tuple[str, ...]]
) -> None:
    """Tells `clients` from now on which pods of this node have which address. `search_path` of those that have one."""
    from skerry.api.types import core

    def on_pod(old: core.Pod | None, new: core.Pod | None) -> None:
        one: Any = new or old
        gone = new is None or new.status.phase in ("Succeeded", "Failed") or new.spec.host_network
        addresses = [] if gone else [each.ip for each in one.status.pod_i_ps if each.ip]
        clients.pod(_key(one), addresses, search_path(one) if addresses else ())

    informers.of(core.Pod, field_selector=f"spec.nodeName={node}").subscribe(on_pod)


class Customs:
    """Follows the ConfigMap kube-system/kube-dns. `on_error(configmap, message)` tells people what is wrong with it."""

    def __init__(
        self,
        informers: Informers,
        server: DnsServer,
        resolver: Resolver,
        on_error: Callable[[core.ConfigMap, str], None],
    ) -> None:
        self._informers, self._server, self._resolver, self._on_error = informers, server, resolver, on_error
        self._now = custom.Custom()
        self._pods_followed = False
        server.names.routed = resolver.routed

    async def start(self) -> None:
        """Returns when what is there now holds; what comes later follows at once."""
        from skerry.api.types import core

        found = self._informers.of(
            core.ConfigMap, namespace=custom.NAMESPACE, field_selector=f"metadata.name={custom.NAME}"
        )
        found.subscribe(self._changed)
        await found.synced()

    def _changed(self, _: core.ConfigMap | None, new: core.ConfigMap | None) -> None:
        try:
            wanted = custom.parse(new.data, self._server.records.zone) if new is not None else custom.Custom()
        except custom.CustomError as error:
            assert new is not None
            self._on_error(new, f"{error}; what was there before stays in force")
            return
        if wanted != self._now:
            self._now = wanted
            self._apply(wanted)

    def _apply(self, wanted: custom.Custom) -> None:
        server = self._server
        if wanted.pods == "verified":
            self._follow_all_pods()
        server.names.custom = Extra(wanted.records)
        server.clients.walk(wanted.walk)
        self._resolver.route(wanted.stubs, wanted.servers)
        server.records.configure(ttl=wanted.ttl, pods=wanted.pods, ignore_empty=wanted.ignore_empty)
        server.answers.changed(EVERYTHING)
        log.info("dns: the ConfigMap %s/%s holds from now on", custom.NAMESPACE, custom.NAME)

    def _follow_all_pods(self) -> None:
        """Only this mode needs to know every pod, and pays for it."""
        if self._pods_followed:
            return
        self._pods_followed = True
        from skerry.api.types import core

        def on_pod(old: core.Pod | None, new: core.Pod | None) -> None:
            one: Any = new or old
            gone = new is None or new.status.phase in ("Succeeded", "Failed")
            self._server.records.apply_pod(_key(one), [] if gone else [each.ip for each in one.status.pod_i_ps])

        self._informers.of(core.Pod).subscribe(on_pod)


def _key(one: Any) -> str:
    return f"{one.metadata.namespace}/{one.metadata.name}"
