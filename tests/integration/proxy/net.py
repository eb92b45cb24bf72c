"""A small cluster network for packets to run through: a node (this process' namespace), pods on it, and an outside.

The pods are connected as the node agent connects them. Sockets are made inside a namespace and used from here.

Tests speak of IPv4 addresses in any family: 10.244.1.5 is fd00:10:244:1::5 on a network of IPv6, and 10.96.0.9 is
fd00:10:96::9; so one test serves both. A network of both has both, and connections say over which one they go.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import ipaddress
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from tests.unit.proxy.build import endpoint, slice_of

from skerry import linux
from skerry.api.types import core, discovery
from skerry.clock import Clock, SystemClock
from skerry.netlink import namespace, nft
from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork
from skerry.proxy.brain import Brain
from skerry.proxy.nftables.backend import LINGER, Nftables
from skerry.proxy.table import IPV4, IPV6, Node
from skerry.proxy.userspace import places
from skerry.proxy.userspace.backend import Userspace

NODE_IP = "10.243.0.2"
OUTSIDE_IP = "10.243.0.9"
both_back_ends = pytest.mark.parametrize("mode", ["nftables", "userspace", "nftables IPv6", "userspace IPv6"])
"""For what is asked of both, in either family."""

NODE = Node("a", (NODE_IP,), pod_cidrs=("10.244.1.0/24",))
FAMILIES = (IPV4, IPV6)


def v6(address: str) -> str:
    """The IPv6 address or prefix that an IPv4 one stands for; what is none stays."""
    whole, slash, length = address.partition("/")
    try:
        a, b, c, d = (int(one) for one in whole.split("."))
    except ValueError:
        return address
    bits = {"0": 0, "8": 32, "12": 48, "16": 48, "24": 64, "32": 128}[length] if slash else 128
    if not bits:
        return "::/0"
    found = ipaddress.ip_network(f"fd00:{a}:{b}:{c}::{d}/{bits}")
    return str(found) if slash else str(found.network_address)


def v4(address: str) -> str:
    """The IPv4 address that an IPv6 one stands for."""
    if ":" not in address:
        return address
    words = ipaddress.IPv6Address(address).exploded.split(":")
    return ".".join(one.lstrip("0") or "0" for one in (*words[1:4], words[7]))


def over(family: str, address: str) -> str:
    """The address in a family."""
    return v6(address) if family == IPV6 else address


def node_of(*families: str) -> Node:
    """The node in these families."""
    every = [(over(one, NODE_IP), over(one, "10.96.0.0/12"), over(one, "10.244.1.0/24")) for one in families]
    addresses, services, pods = zip(*every, strict=True)
    return Node("a", addresses, services, pods)


T = TypeVar("T")


def bound(made: socket.socket, kind: str, address: str, port: int) -> socket.socket:
    """A "tcp" or "udp" socket as the broker opens them on the host: bound and listening. OSError; then it is closed."""
    try:
        if kind == "tcp":  # against connections in TIME_WAIT
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        if kind == "tcp":
            made.listen()
    except OSError:
        made.close()
        raise
    return made


class Host:
    """A namespace with an address; servers in it answer with their address and the client's.

    Its sockets are of `family`, the network's primary one, unless they are asked for another.
    """

    def __init__(self, ip: str, netns: int | None, family: str = IPV4) -> None:
        self.ip, self._netns, self.family = ip, netns, family

    def do(self, work: Callable[[], T]) -> T:
        return work() if self._netns is None else inside(self._netns, work)

    def socket(self, kind: int = socket.SOCK_STREAM, family: str = "") -> socket.socket:
        number = socket.AF_INET6 if (family or self.family) == IPV6 else socket.AF_INET
        made = self.do(lambda: socket.socket(number, kind))
        made.setblocking(False)
        return made

    async def serve(self, port: int = 8080) -> asyncio.Server:
        """A TCP server that says `own address` `client's address` and ends."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{self.ip} {_peer(writer.get_extra_info('peername')[0])}".encode())
            writer.close()

        made = self.do(lambda: any_server(port))
        return await asyncio.start_server(answer, sock=made)

    async def serve_udp(self, port: int = 8080) -> asyncio.DatagramTransport:
        """The same for UDP."""
        own = self.ip

        class Answer(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, address: Any) -> None:
                self.transport.sendto(f"{own} {_peer(address[0])}".encode(), address)

        made = self.socket(socket.SOCK_DGRAM)
        made.bind(("::" if self.family == IPV6 else "0.0.0.0", port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answer, sock=made)
        return transport

    async def connect(self, address: str, port: int, seconds: float = 5.0, family: str = "") -> tuple[str, str]:
        """Who answers a new TCP connection, and whom it takes for the client. OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        with self.socket(family=family) as client:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(client, (over(family or self.family, address), port))
                data = b""
                while more := await loop.sock_recv(client, 100):
                    data += more
        server, _, source = data.decode().partition(" ")
        return server, source

    async def ask(self, address: str, port: int, client: socket.socket | None = None) -> tuple[str, str]:
        """The same with a datagram, from a socket of its own or an old one; sent again as TCP would, every second.

        A link that was just made may swallow what is sent before the kernel's own worker has opened its queue.
        """
        loop = asyncio.get_running_loop()
        made = client or self.socket(socket.SOCK_DGRAM)
        try:
            if client is None:
                await loop.sock_connect(made, (over(self.family, address), port))
            async with asyncio.timeout(5):
                answer = asyncio.ensure_future(loop.sock_recv(made, 100))
                while not answer.done():
                    await loop.sock_sendall(made, b"?")
                    await asyncio.wait([answer], timeout=1)
                server, _, source = answer.result().decode().partition(" ")
        finally:
            if client is None:
                made.close()
        return server, source

    def route(self, address: str, via: str) -> None:
        """Packets to `address` go over `via`."""

        def work() -> None:
            with Routes() as routes:
                routes.add_route(over(self.family, address), via=over(self.family, via))

        self.do(work)

    async def spread(self, address: str, port: int, times: int) -> collections.Counter[str]:
        """How often each server answers so many connections."""
        return collections.Counter([(await self.connect(address, port))[0] for _ in range(times)])


async def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for what the kernel does in its own time, of which nobody hears. TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def nft_program(rules: str) -> None:
    """Somebody else changes the kernel's tables."""
    subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)


class Network:
    """The node with its proxy's brain and back end. Make it in a namespace of the test's own."""

    def __init__(
        self,
        clock: Clock | None = None,
        linger: float = LINGER,
        mode: str = "nftables",
        families: Sequence[str] = (IPV4,),
    ) -> None:
        mode, _, family = mode.partition(" ")
        families = (family,) if family else families
        self.families, self.here = families, node_of(*families)
        self.kernel_family = nft.IPV6 if families[0] == IPV6 else nft.IPV4
        linux.sysctl("net.ipv4.ip_forward", "1")
        linux.sysctl("net.ipv6.conf.all.forwarding", "1")
        for which in ("all", "default"):
            linux.sysctl(f"net.ipv4.conf.{which}.rp_filter", "0")
        outside = namespace.new()
        with Routes() as routes:
            link = routes.add_veth("eth0", "eth0", peer_netns=outside)
            for family in families:
                routes.add_address(link, over(family, NODE_IP) + ("/64" if family == IPV6 else "/24"))
                routes.add_route("::/0" if family == IPV6 else "default", via=over(family, OUTSIDE_IP))
        self.node = Host(NODE_IP, None, families[0])
        self.outside = Host(OUTSIDE_IP, outside, families[0])
        self.outside.do(lambda: _outside(families))
        with Routes() as routes:
            routes.index("eth0")  # both ends are up now: to be asked makes the kernel open the queue (see node/network)
        self._pods = PodNetwork()
        self._number = 1
        self.brain = Brain(self.here)
        self.mode = mode
        self.kernel: Any
        if mode == "nftables":
            self.kernel = Nftables(self.here, clock or SystemClock(), linger=linger)
        else:
            self.kernel = Userspace(self.here, clock or SystemClock(), places.find(self.here))
        self.kernel.start(self.brain.table)

    def seen(self, client: Host) -> str:
        """Whom a backend takes a client for that is not masqueraded: in user space all are."""
        return client.ip if self.mode == "nftables" else NODE_IP

    def pod(self) -> Host:
        """A new pod on the node."""
        self._number += 1
        ip = f"10.244.1.{self._number}"
        netns = namespace.new()
        self._pods.connect(ip, [over(one, ip) for one in self.families], netns)
        return Host(ip, netns, self.families[0])

    def service(self, found: Any, *pods: Host) -> None:
        """There is a Service now, with these pods (on this node) behind its port."""
        self.put_service(found)
        self.endpoints(*pods)

    def put_service(self, found: core.Service) -> None:
        """There is a Service now, in the network's families."""
        made = copy.deepcopy(found)
        spec = made.spec
        each = [one for address in spec.cluster_i_ps for one in (over(family, address) for family in self.families)]
        spec.cluster_ip, spec.cluster_i_ps = each[0], each
        spec.external_i_ps = [over(family, one) for one in spec.external_i_ps for family in self.families]
        ranges = spec.load_balancer_source_ranges
        spec.load_balancer_source_ranges = [over(family, one) for one in ranges for family in self.families]
        made.status.load_balancer.ingress = [
            core.LoadBalancerIngress(ip=over(family, one.ip or ""), ip_mode=one.ip_mode)
            for one in made.status.load_balancer.ingress
            for family in self.families
        ]
        self.kernel.program(self.brain.table, self.brain.apply_service(f"default/{made.metadata.name}", made))

    def put_slice(self, found: discovery.EndpointSlice) -> None:
        """The slice is now this, in each of the network's families."""
        for family in self.families:
            made = copy.deepcopy(found)
            made.address_type = family
            for one in made.endpoints:
                one.addresses = [over(family, address) for address in one.addresses]
            key = f"default/{made.metadata.name}" + (f"-{family}" if len(self.families) > 1 else "")
            self.kernel.program(self.brain.table, self.brain.apply_slice(key, made))

    def endpoints(self, *pods: Host, **kwargs: Any) -> None:
        """The pods behind the Service `web` are now these."""
        self.put_slice(slice_of(*(endpoint(one.ip, node="a") for one in pods), **kwargs))

    async def check(self) -> bool:
        """The proxy's look at whether somebody else changed the table; if so it is mended."""
        if await self.kernel.intact(self.brain.table):
            return False
        await self.kernel.take_over(self.brain.table)
        return True

    def finish(self, *, mended: bool = False, unserved: int = 0) -> None:
        """What every test ends with: no packet got lost, the nft program lists the table, nothing had to be mended.

        `unserved`: frontends that cannot be listened on in user space.
        """
        assert self.kernel.misses() == 0
        if self.mode == "userspace":
            assert len(self.kernel.unserved) == unserved
            self.kernel.close()
            return
        assert mended or (self.kernel.rebuilds, self.kernel.repairs) == (0, 0)
        done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for family in self.families:
            assert f"table {'ip6' if family == IPV6 else 'ip'} skerry {{" in done.stdout
        self.kernel.close()


def any_server(port: int, backlog: int = 1024) -> socket.socket:
    """Listens on all addresses of both families."""
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog)


def _peer(address: str) -> str:
    return v4(address.removeprefix("::ffff:"))


def _outside(families: Sequence[str]) -> None:
    with Routes() as routes:
        eth0 = routes.index("eth0")
        routes.set_link(eth0, up=True)
        for family in families:
            routes.add_address(eth0, over(family, OUTSIDE_IP) + ("/64" if family == IPV6 else "/24"))
            for prefix in ("10.96.0.0/12", "10.244.1.0/24"):
                routes.add_route(over(family, prefix), via=over(family, NODE_IP))
