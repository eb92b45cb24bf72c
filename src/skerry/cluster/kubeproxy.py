"""The service proxy alone, for a machine of any Kubernetes: what `skerry proxy` runs in place of kube-proxy.

It works in the network namespace it was started in, and asks the API server for nothing but Services, EndpointSlices,
its own Node and, where they are served, ServiceCIDRs. What it decides is proxy/'s; here are its surroundings: the
rights it needs, and what happens when the Node or the machine gets other addresses. reach.py waits for the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from skerry.api import status
from skerry.api.types import core, skerry
from skerry.client import kubeconfig
from skerry.client.acknowledge import Acknowledger
from skerry.client.client import Client
from skerry.client.events import Recorder
from skerry.client.http import HttpTransport
from skerry.client.informer import Informers
from skerry.clock import Clock, SystemClock
from skerry.cluster import garbage, nodeports, reach
from skerry.cluster.alone import alone
from skerry.cluster.background import background
from skerry.cluster.errors import ClusterError
from skerry.cluster.notify import Notifier
from skerry.netlink.nft import Nft
from skerry.netlink.notices import AddressNotices
from skerry.netlink.route import Routes
from skerry.netlink.wire import NetlinkError
from skerry.proxy import modes
from skerry.proxy.announce.announcer import Announcer
from skerry.proxy.announce.interface import permitted
from skerry.proxy.health import HealthServers, Place
from skerry.proxy.nftables.backend import Nftables
from skerry.proxy.reports import Reports
from skerry.proxy.server import Proxy
from skerry.proxy.table import Node

UNKNOWN = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
"""The range of a family's cluster IPs where nobody says it."""
_SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"

_log = logging.getLogger(__name__)


class _Ranges(msgspec.Struct, frozen=True):
    cidrs: list[str] = []


class _ServiceCIDR(msgspec.Struct):
    spec: _Ranges = _Ranges()


class _ServiceCIDRs(msgspec.Struct):
    items: list[_ServiceCIDR] = []


@dataclass(frozen=True)
class Wanted:
    """What `skerry proxy` was asked for. No `service_cidrs`: ask the API server. `health`, `metrics`: None for off.

    `announce`: the interfaces on which balancers' addresses are announced.
    """

    kubeconfig: Path
    context: str
    node: str
    service_cidrs: tuple[str, ...] = ()
    cluster_cidrs: tuple[str, ...] = ()
    nodeport_addresses: tuple[str, ...] = (nodeports.PRIMARY,)
    mode: str = modes.NFTABLES
    health: Place | None = None
    metrics: Place | None = None
    announce: tuple[str, ...] = ()


def run(wanted: Wanted) -> int:
    """Proxies until SIGTERM or SIGINT; what is in the kernel then stays there. ClusterError if it cannot go on."""
    target = _target(wanted)
    if wanted.mode == modes.NFTABLES:
        _may()
    if wanted.announce:
        _may_announce()
    with alone():
        try:
            asyncio.run(_Running(wanted, target, SystemClock(), Notifier()).run())
        except NetlinkError as error:
            raise ClusterError(f"The kernel refused the service table: {error.strerror}.") from error
    return 0


def clean_up() -> None:
    """Takes what a proxy left in the kernel out of it. ClusterError while one runs."""
    _may()
    with alone():
        back_end = Nftables(Node("", service_cidrs=tuple(UNKNOWN.values())), SystemClock())
        back_end.remove()
        back_end.close()


def _target(wanted: Wanted) -> kubeconfig.Target:
    try:
        return kubeconfig.load(wanted.kubeconfig.expanduser(), wanted.context)
    except kubeconfig.KubeconfigError as error:
        raise ClusterError(str(error)) from error


def _may() -> None:
    """May this process change nftables here, and can the kernel? ClusterError says what to do."""
    try:
        with Nft() as kernel:
            kernel.tables()
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise ClusterError(
                "Not permitted to change nftables in this network namespace: it takes root or CAP_NET_ADMIN."
            ) from error
        if error.errno in (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.EAFNOSUPPORT):
            raise ClusterError("This kernel has no nftables (the module nf_tables).") from error
        raise


def _may_announce() -> None:
    try:
        permitted()
    except OSError as error:
        raise ClusterError(
            f"Not permitted to open packet sockets ({error.strerror}): --announce takes root or CAP_NET_RAW."
        ) from error


class _Running:
    def __init__(self, wanted: Wanted, target: kubeconfig.Target, clock: Clock, notifier: Notifier) -> None:
        self._wanted, self._target, self._clock, self._notifier = wanted, target, clock, notifier
        self._transport = HttpTransport(target.address, token=target.token)
        self._client = Client(self._transport, agent=f"skerry-proxy/{wanted.node}")
        self._informers = Informers(self._client, clock)

    async def run(self) -> None:
        work = asyncio.create_task(self._work())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def _work(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._transport.close)
            background(stack, reach.keep_token(self._transport, self._clock, self._token))
            node = await reach.node(self._client, self._clock, self._wanted.node, self._target.address.text)
            here = await self._here(node)
            self._warn()
            stack.push_async_callback(self._informers.stop)
            changed = self._follow_addresses(node)
            recorder = Recorder(self._client, "skerry-proxy", here.name, clock=self._clock)
            reports = Reports(recorder, self._informers, here.name)
            if self._wanted.mode != modes.NFTABLES and set(here.service_cidrs) & set(UNKNOWN.values()):
                raise ClusterError(
                    "The API server does not tell the range of cluster IPs: give it with --service-cidr."
                )
            chosen = modes.choose(self._wanted.mode, here, self._clock)
            proxy = Proxy(
                self._informers,
                here,
                chosen.back_end,
                self._clock,
                conntrack=chosen.conntrack,
                on_applied=await self._acknowledges(stack, here.name),
                on_repair=reports.repaired,
            )
            stack.callback(proxy.stop)
            health = HealthServers(
                proxy,
                self._clock,
                reports.no_health_check,
                health=self._wanted.health,
                metrics=self._wanted.metrics,
            )
            stack.push_async_callback(health.close)
            await health.start()
            await self._informers.start()
            await proxy.start()
            background(stack, health.follow())
            self._follow_links(stack, node, proxy)
            await self._announces(stack, node, recorder, proxy)
            garbage.settle()
            sentence = f"proxying for node {here.name}: {proxy.statistics().frontends} addresses of Services"
            _log.info("%s; %s", sentence, chosen.message)
            _log.info("node ports are on %s", ", ".join(here.addresses) or "no address")
            self._notifier.ready(sentence)
            raise ClusterError(await changed)

    async def _here(self, node: core.Node) -> Node:
        """What the proxy has to know of this machine."""
        return Node(
            node.metadata.name,
            self._addresses(node),
            service_cidrs=self._wanted.service_cidrs or await self._service_cidrs(node),
            pod_cidrs=self._wanted.cluster_cidrs,
            zone=node.metadata.labels.get("topology.kubernetes.io/zone", ""),
        )

    def _addresses(self, node: core.Node) -> tuple[str, ...]:
        """Where node ports answer, as the machine's links are now."""
        with Routes() as routes:
            own = [one for _, one in routes.addresses()]
        return nodeports.choose(self._wanted.nodeport_addresses, nodeports.primary(node), own)

    def _follow_links(self, stack: contextlib.AsyncExitStack, node: core.Node, proxy: Proxy) -> None:
        """Node ports follow the addresses of the links, unless they are those of the Node alone."""
        if set(self._wanted.nodeport_addresses) == {nodeports.PRIMARY}:
            return

        def look() -> None:
            now = self._addresses(node)
            if now != proxy.brain.node.addresses:
                _log.info("node ports are on %s now", ", ".join(now) or "no address")
                proxy.move_to(now)

        stack.callback(AddressNotices(look).close)
        look()

    async def _service_cidrs(self, node: core.Node) -> tuple[str, ...]:
        """The ranges of cluster IPs that the API server tells, one a family; unknown ones where it does not."""
        found: dict[str, list[str]] = {}
        try:
            served = msgspec.json.decode(await self._client.raw("GET", _SERVICE_CIDRS), type=_ServiceCIDRs)
        except (status.ApiError, msgspec.DecodeError) as error:
            _log.info("the ServiceCIDRs cannot be read: %s", error)
        else:
            for one in served.items:
                for cidr in one.spec.cidrs:
                    found.setdefault(nodeports.family(cidr), []).append(cidr)
        if not found:
            found = {nodeports.family(one): [] for one in nodeports.primary(node)} or {"IPv4": []}
        return tuple(cidrs[0] if len(cidrs) == 1 else UNKNOWN[family] for family, cidrs in found.items())

    def _warn(self) -> None:
        """Says what would keep Services from working although all is well here."""
        with contextlib.suppress(OSError):
            if Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "0":
                _log.warning(
                    "packets are not forwarded here (net.ipv4.ip_forward is 0): only this machine reaches Services"
                )
        with contextlib.suppress(OSError), Nft() as kernel:
            if "kube-proxy" in kernel.tables() or "KUBE-SERVICES" in kernel.chains("nat"):
                _log.warning("kube-proxy has rules here, too: stop it, and remove them with `kube-proxy --cleanup`")

    def _follow_addresses(self, node: core.Node) -> asyncio.Future[str]:
        """Done, with a sentence, when the Node has other addresses than now: what goes by them begins anew then."""
        before = nodeports.primary(node)
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def see(_: core.Node | None, new: core.Node | None) -> None:
            now = nodeports.primary(new) if new is not None else before
            if now != before and not done.done():
                done.set_result(
                    f"The addresses of node {self._wanted.node} changed from {', '.join(before) or 'none'} to "
                    f"{', '.join(now) or 'none'}: start again."
                )

        self._informers.of(core.Node, field_selector=f"metadata.name={self._wanted.node}").subscribe(see)
        return done

    async def _acknowledges(self, stack: contextlib.AsyncExitStack, node: str) -> Any:
        """What the proxy calls with the revisions that it has applied: only Skerry's own API server wants to know."""
        try:
            await self._client.list(skerry.Acknowledgement)
        except status.ApiError:
            return None
        made = Acknowledger(self._client, self._informers, self._clock, node, "proxy")
        background(stack, made.run())
        return made.applied

    async def _announces(
        self, stack: contextlib.AsyncExitStack, node: core.Node, recorder: Recorder, proxy: Proxy
    ) -> None:
        """Begins to answer for balancers' addresses, if it is to."""
        if self._wanted.announce:
            registry = proxy.metrics.registry
            made = Announcer(
                self._informers, self._clock, recorder, node, self._wanted.announce, registry, proxy.healthy
            )
            stack.callback(made.stop)
            await made.start()

    def _token(self) -> str:
        return _target(self._wanted).token
