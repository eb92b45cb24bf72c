"""Keeps the node's Node object and its Lease: registers, says Ready, renews. Called by main.py.

When somebody else says that the node is not ready (the node controller, after a silence), it says again how it is. A
Node that is deleted is let go: the node registers again when its process starts anew.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from skerry.api import codec, status
from skerry.api.types import coordination, core, meta
from skerry.clock import rfc3339, rfc3339_micro
from skerry.node.agent.capacity import architecture, capacity, node_info

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from skerry.node.agent.services import NodeServices

_log = logging.getLogger(__name__)

LIMITS = "LimitsNotEnforced"
"""The type of the condition that tells whether the kernel keeps what pods are limited to."""
LEASES = "kube-node-lease"
LEASE_SECONDS = 40
RENEW_EVERY = 10.0
REPORT_EVERY = 300.0
"""Seconds between two writes of a status that has not changed."""

_FINE = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def node_object(services: NodeServices, now: float, *, ready: bool) -> core.Node:
    """The Node as it should be at `now`."""
    arch = architecture()
    time = rfc3339(now)

    def condition(kind: str, true: bool, reason: str, message: str) -> core.NodeCondition:
        return core.NodeCondition(
            type=kind,
            status="True" if true else "False",
            reason=reason,
            message=message,
            last_heartbeat_time=time,
            last_transition_time=time,
        )

    conditions = [condition(kind, False, reason, message) for kind, reason, message in _FINE]
    if services.health.disk_pressure:
        conditions[1] = condition("DiskPressure", True, "KubeletHasDiskPressure", "kubelet has disk pressure")
    conditions.append(condition(LIMITS, *services.cgroups.verdict()))
    conditions += [condition(*one) for one in services.conditions]
    if ready:
        conditions.append(condition("Ready", True, "KubeletReady", "kubelet is posting ready status"))
    else:
        text = "container runtime network not ready: the service proxy or the cluster DNS is still starting"
        conditions.append(condition("Ready", False, "KubeletNotReady", text))
    has = capacity(services.data, services.max_pods)
    return core.Node(
        metadata=meta.ObjectMeta(
            name=services.name,
            labels={
                "beta.kubernetes.io/arch": arch,
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": arch,
                "kubernetes.io/hostname": services.name,
                "kubernetes.io/os": "linux",
            },
        ),
        spec=core.NodeSpec(pod_cidr=services.pod_cidrs[0], pod_cid_rs=list(services.pod_cidrs)),
        status=core.NodeStatus(
            capacity=has,
            allocatable=dict(has),
            conditions=conditions,
            addresses=[
                *(core.NodeAddress(type="InternalIP", address=one) for one in services.ips),
                core.NodeAddress(type="Hostname", address=services.name),
            ],
            node_info=node_info(),
            images=list(services.health.images),
        ),
    )


def keep_times(node: core.Node, known: core.Node) -> None:
    """Gives unchanged conditions the transition times they have."""
    before = {one.type: one for one in known.status.conditions}
    for one in node.status.conditions:
        had = before.get(one.type)
        if had is not None and had.status == one.status:
            one.last_transition_time = had.last_transition_time


class Registration:
    """The node in the API, for as long as `run` runs."""

    def __init__(self, services: NodeServices) -> None:
        self._services = services
        self._ready = services.ready is None or services.ready.is_set()
        self._wrong = asyncio.Event()
        self._deleted = asyncio.Event()
        self.node: core.Node | None = None

    async def run(self) -> None:
        """Registers, then reports and renews until cancelled, or until the Node is deleted; then it only waits."""
        services = self._services
        services.health.on_change = self._wrong.set
        await self._insist(self._register)
        services.informers.of(core.Node, field_selector=f"metadata.name={services.name}").subscribe(self._seen)
        work = [asyncio.create_task(one) for one in (self._leases(), self._reports(), self._deleted.wait())]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        _log.warning("Node %s was deleted; this process registers no other", services.name)
        await asyncio.Event().wait()

    def _seen(self, before: core.Node | None, node: core.Node | None) -> None:
        if node is None:
            self._deleted.set()
            return
        if before is not None and before.spec.unschedulable != node.spec.unschedulable:
            self._say(node, "NodeNotSchedulable" if node.spec.unschedulable else "NodeSchedulable")
        if is_ready(node) != self._ready:
            self._wrong.set()

    async def _reports(self) -> None:
        """Says how the node is: when that changes, when somebody says otherwise, and every five minutes."""
        if not self._ready and self._services.ready is not None:
            await self._services.ready.wait()
            self._ready = True
            await self._insist(self._report)
        while True:
            timer = self._services.clock.call_later(REPORT_EVERY, self._wrong.set)
            await self._wrong.wait()
            timer.cancel()
            self._wrong.clear()
            await self._insist(self._report)

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        pause = 0.05
        while True:
            try:
                return await work()
            except status.ApiError as error:
                _log.warning("node %s: %s", self._services.name, error)
                await self._services.clock.sleep(pause)
                pause = min(2 * pause, 5.0)

    async def _register(self) -> None:
        """Makes the Node, or takes over the one that is there."""
        services = self._services
        wanted = node_object(services, services.clock.now(), ready=self._ready)
        try:
            known = await services.client.create(wanted)
        except status.ApiError as error:
            if not status.is_already_exists(error):
                raise
            known = await services.client.get(core.Node, services.name)
            labels = {
                key: value for key, value in wanted.metadata.labels.items() if known.metadata.labels.get(key) != value
            }
            if labels:
                change = {"metadata": {"labels": labels}}
                known = await services.client.patch(core.Node, services.name, change)
        else:
            if self._ready:
                self._say(known, "NodeReady")
        await self._write(wanted, known)

    async def _report(self) -> None:
        services = self._services
        try:
            known = await services.client.get(core.Node, services.name)
        except status.ApiError as error:
            if status.is_not_found(error):
                return  # its event comes
            raise
        await self._write(node_object(services, services.clock.now(), ready=self._ready), known)

    async def _write(self, wanted: core.Node, known: core.Node) -> None:
        keep_times(wanted, known)
        if known.status != wanted.status:
            change = {"status": _merged(codec.plain(wanted.status))}
            client, name = self._services.client, self._services.name
            before, known = known, await client.patch(core.Node, name, change, type="strategic", subresource="status")
            if is_ready(known) and not is_ready(before):
                self._say(known, "NodeReady")
        self.node = known

    def _say(self, node: core.Node, reason: str) -> None:
        name = self._services.name
        self._services.recorder.event(node, "Normal", reason, f"Node {name} status is now: {reason}")

    async def _leases(self) -> None:
        while True:
            await self._insist(self._renew)
            await self._services.clock.sleep(RENEW_EVERY)

    async def _renew(self) -> None:
        services = self._services
        assert self.node is not None
        now = rfc3339_micro(services.clock.now())
        change = {"spec": {"renewTime": now, "holderIdentity": services.name, "leaseDurationSeconds": LEASE_SECONDS}}
        try:
            await services.client.patch(coordination.Lease, services.name, change, LEASES)
        except status.ApiError as error:
            if not status.is_not_found(error):
                raise
            owner = meta.OwnerReference(api_version="v1", kind="Node", name=services.name, uid=self.node.metadata.uid)
            lease = coordination.Lease(
                metadata=meta.ObjectMeta(name=services.name, namespace=LEASES, owner_references=[owner]),
                spec=coordination.LeaseSpec(
                    holder_identity=services.name, lease_duration_seconds=LEASE_SECONDS, renew_time=now
                ),
            )
            await services.client.create(lease)


def is_ready(node: core.Node) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


def _merged(found: dict[str, Any]) -> dict[str, Any]:
    """Addresses are replaced, not merged: an old address is not an address. No images is none, not the old ones."""
    found.setdefault("images", None)
    found["addresses"] = [*found.get("addresses", ()), {"$patch": "replace"}]
    return found
