"""Gives Services of type LoadBalancer their address and takes it back: upstream's service controller, with the
machine's loopback for a cloud, or the pools of a ConfigMap if there are any. Started by the cluster's assembly.

The ports on the loopback are opened by a node (proxy/balancers.py) as soon as it sees the address; the addresses of
pools are announced by the machines on which `skerry proxy` was told to (proxy/announce).
"""

from __future__ import annotations

from typing import Any

from skerry.api import status
from skerry.api.types import core
from skerry.client import controller
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.informer import Informers, key_of
from skerry.client.workqueue import Queue
from skerry.clock import Clock
from skerry.controllers.loadbalancer import decide, pools
from skerry.controllers.loadbalancer.decide import FINALIZER, Port
from skerry.controllers.loadbalancer.pools import Pools
from skerry.controllers.view import View

WORKERS = 4


class LoadBalancerController:
    """`await run()` until cancelled. `cluster`: its name, which chooses the block of addresses on the loopback.

    None: nobody could open ports there, so without pools Services wait (B7); `without_pools`: an event says why.
    """

    def __init__(
        self, client: Client, clock: Clock, informers: Informers, cluster: str | None, *, without_pools: str = ""
    ) -> None:
        self._client, self._without_pools = client, without_pools
        self._block = None if cluster is None else decide.Block(cluster)
        self._space: decide.Block | Pools | None = self._block
        self._recorder = Recorder(client, "service-controller", clock=clock)
        self._queue = Queue(clock)
        self._held: dict[str, dict[str, frozenset[Port]]] = {}
        self._address: dict[str, list[str]] = {}
        self._ensured: dict[str, core.Service] = {}
        self._refused: dict[str, str] = {}
        self._targets: frozenset[str] = frozenset()
        self._services = View(informers.of(core.Service), self._queue.add)
        self._nodes = informers.of(core.Node)
        self._config = informers.of(
            core.ConfigMap, namespace=pools.NAMESPACE, field_selector=f"metadata.name={pools.NAME}"
        )

    async def run(self) -> None:
        await self._services.informer.synced()
        await self._nodes.synced()
        await self._config.synced()
        # Addresses that Services have are taken before any is given out.
        for one in self._services.informer.list():
            address = decide.addresses_of(one)
            if address and decide.wanted(one) and FINALIZER in one.metadata.finalizers:
                self._hold(key_of(one), one, address)
                self._ensured[key_of(one)] = one
        self._targets = self._find_targets()
        self._config.subscribe(self._pools)
        self._services.informer.subscribe(self._service)
        self._nodes.subscribe(self._node)
        await controller.run(self._queue, self._sync, workers=WORKERS)

    def _service(self, old: core.Service | None, new: core.Service | None) -> None:
        one = new or old
        assert one is not None
        if one.spec.type == "LoadBalancer" or FINALIZER in one.metadata.finalizers or key_of(one) in self._address:
            self._queue.add(key_of(one))

    def _pools(self, old: core.ConfigMap | None, new: core.ConfigMap | None) -> None:
        """Services whose address is in no pool any more get another, and those that wait look again."""
        if old is not None and new is not None and old.data == new.data:
            return
        found, problems = pools.read(new.data if new is not None else {})
        for problem in problems:
            self._recorder.event(new, "Warning", "InvalidPool", problem)
        self._space = found or self._block
        for key in {*self._ensured, *self._refused, *(key_of(one) for one in self._services.informer.list())}:
            self._queue.add(key)

    def _machines(self) -> frozenset[str]:
        """The addresses of the nodes themselves, which no balancer can have."""
        return frozenset(one.address for node in self._nodes.list() for one in node.status.addresses)

    def _find_targets(self) -> frozenset[str]:
        return frozenset(one.metadata.name for one in self._nodes.list() if decide.target(one))

    def _node(self, old: core.Node | None, new: core.Node | None) -> None:
        """B6."""
        if old is not None and new is not None and decide.target(old) == decide.target(new):
            return
        found = self._find_targets()
        if found == self._targets:
            return
        self._targets = found
        for service in list(self._ensured.values()):
            if found:
                text = "Updated load balancer with new hosts"
                self._recorder.event(service, "Normal", "UpdatedLoadBalancer", text)
            else:
                self._no_nodes(service)

    def _no_nodes(self, service: core.Service) -> None:
        text = "There are no available nodes for LoadBalancer"
        self._recorder.event(service, "Warning", "UnAvailableLoadBalancer", text)

    async def _sync(self, key: str) -> None:
        service = self._services.get(key)
        try:
            if service is not None and decide.to_clean(service):
                await self._clean(key, service)
            elif service is not None and decide.wanted(service):
                if self._space is not None:
                    await self._ensure(key, service, self._space)
                elif self._without_pools and not decide.addresses_of(service):
                    self._refuse(key, service, self._without_pools)
            else:
                self._release(key)
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise  # a conflict is tried again with what is there by then

    async def _ensure(self, key: str, service: core.Service, space: decide.Block | Pools) -> None:
        """B3, B5."""
        known = self._ensured.get(key)
        has = decide.addresses_of(service)
        complete = has and all(one in space for one in has) and FINALIZER in service.metadata.finalizers
        if known is not None and complete and not decide.needs_update(known, service):
            return
        if known is None or known.metadata.uid == service.metadata.uid:
            for reason, text in decide.told(known, service) if known is not None else ():
                self._recorder.event(service, "Normal", reason, text)
        try:
            address = decide.choose(key, service, self._held, space, self._machines())
        except decide.Refused as refused:
            self._refuse(key, service, str(refused))
            return
        self._hold(key, service, address)
        self._refused.pop(key, None)
        self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        if not self._targets:
            self._no_nodes(service)
        if FINALIZER not in service.metadata.finalizers:
            service = await self._patch(service, {"finalizers": [*service.metadata.finalizers, FINALIZER]})
        if decide.addresses_of(service) != address:
            service = await self._patch(service, {}, [{"ip": one, "ipMode": space.mode} for one in address])
        self._ensured[key] = service
        self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    def _refuse(self, key: str, service: core.Service, why: str) -> None:
        """It is decided anew when the Service changes, or when an address becomes free."""
        if self._refused.get(key) != why:
            self._refused[key] = why
            text = f"Error syncing load balancer: failed to ensure load balancer: {why}"
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", text)

    async def _clean(self, key: str, service: core.Service) -> None:
        """B4."""
        self._recorder.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        if service.status.load_balancer.ingress or _says_ports(service):
            service = await self._patch(service, {}, [])
        rest = [one for one in service.metadata.finalizers if one != FINALIZER]
        await self._patch(service, {"finalizers": rest})
        self._release(key)
        self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _patch(
        self, service: core.Service, metadata: dict[str, Any], ingress: list[dict[str, str]] | None = None
    ) -> core.Service:
        """The Service after a write of metadata, or of its addresses; a conflict is tried again with what is there."""
        body: dict[str, Any] = {"metadata": {"uid": service.metadata.uid, **metadata}}
        if metadata:
            body["metadata"]["resourceVersion"] = service.metadata.resource_version
        if ingress is not None:
            conditions = [one for one in service.status.conditions if one.type != decide.PORTS_CONDITION]
            body["status"] = {"loadBalancer": {"ingress": ingress or None}}
            relayed = any(one["ipMode"] == "Proxy" for one in ingress)
            if not relayed and len(conditions) < len(service.status.conditions):
                body["status"]["conditions"] = [{"type": decide.PORTS_CONDITION, "$patch": "delete"}]
        answer = await self._client.patch(
            core.Service,
            service.metadata.name,
            body,
            service.metadata.namespace,
            type="merge" if ingress is None else "strategic",
            subresource="" if ingress is None else "status",
        )
        self._services.wrote(answer)
        return answer

    # Who has which address.

    def _hold(self, key: str, service: core.Service, address: list[str]) -> None:
        if self._address.get(key, address) != address:
            self._release(key, forget=False)
        self._address[key] = address
        for one in address:
            self._held.setdefault(one, {})[key] = decide.ports_of(service)

    def _release(self, key: str, *, forget: bool = True) -> None:
        if forget:
            self._ensured.pop(key, None)
            self._refused.pop(key, None)
        address = self._address.pop(key, [])
        for one in address:
            holders = self._held[one]
            holders.pop(key, None)
            if not holders:
                del self._held[one]
        if address:
            for waiting in self._refused:
                self._queue.add(waiting)


def _says_ports(service: core.Service) -> bool:
    return any(one.type == decide.PORTS_CONDITION for one in service.status.conditions)
