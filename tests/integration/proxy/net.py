"""A small cluster network for packets to run through: a node (this process' namespace), pods on it, and an outside.

The pods are connected as the node agent connects them. Sockets are made inside a namespace and used from here.
"""

from __future__ import annotations

import asyncio
import collections
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from tests.unit.proxy.build import endpoint, slice_of

from skerry import linux
from skerry.clock import Clock, SystemClock
from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork, inside
from skerry.proxy.brain import Brain
from skerry.proxy.nftables.backend import LINGER, Nftables
from skerry.proxy.table import Node

NODE_IP = "10.243.0.2"
OUTSIDE_IP = "10.243.0.9"
NODE = Node("a", (NODE_IP,), pod_cidr="10.244.1.0/24")

T = TypeVar("T")


def new_netns() -> int:
    """A file of a new network namespace in which lo is up. Made by a thread, so that this one stays where it is."""
    found: list[int] = []

    def make() -> None:
        linux.unshare(linux.CLONE_NEWNET)
        with Routes() as routes:
            routes.set_link(routes.index("lo"), up=True)
        found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return found[0]


class Host:
    """A namespace with an address; servers in it answer with their address and the client's."""

    def __init__(self, ip: str, netns: int | None) -> None:
        self.ip, self._netns = ip, netns

    def do(self, work: Callable[[], T]) -> T:
        return work() if self._netns is None else inside(self._netns, work)

    def socket(self, kind: int = socket.SOCK_STREAM) -> socket.socket:
        made = self.do(lambda: socket.socket(socket.AF_INET, kind))
        made.setblocking(False)
        return made

    async def serve(self, port: int = 8080) -> asyncio.Server:
        """A TCP server that says `own address` `client's address` and ends."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{self.ip} {writer.get_extra_info('peername')[0]}".encode())
            writer.close()

        made = self.do(lambda: socket.create_server(("0.0.0.0", port), backlog=1024))
        return await asyncio.start_server(answer, sock=made)

    async def serve_udp(self, port: int = 8080) -> asyncio.DatagramTransport:
        """The same for UDP."""
        own = self.ip

        class Answer(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, address: Any) -> None:
                self.transport.sendto(f"{own} {address[0]}".encode(), address)

        made = self.socket(socket.SOCK_DGRAM)
        made.bind(("0.0.0.0", port))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answer, sock=made)
        return transport

    async def connect(self, address: str, port: int, seconds: float = 5.0) -> tuple[str, str]:
        """Who answers a new TCP connection, and whom it takes for the client. OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        with self.socket() as client:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(client, (address, port))
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
                await loop.sock_connect(made, (address, port))
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
    """The node with its proxy's brain and kernel table. Make it in a namespace of the test's own."""

    def __init__(self, clock: Clock | None = None, linger: float = LINGER) -> None:
        linux.sysctl("net.ipv4.ip_forward", "1")
        for which in ("all", "default"):
            linux.sysctl(f"net.ipv4.conf.{which}.rp_filter", "0")
        outside = new_netns()
        with Routes() as routes:
            link = routes.add_veth("eth0", "eth0", peer_netns=outside)
            routes.add_address(link, f"{NODE_IP}/24")
            routes.add_route("default", via=OUTSIDE_IP)
        self.node = Host(NODE_IP, None)
        self.outside = Host(OUTSIDE_IP, outside)
        self.outside.do(_outside)
        self._pods = PodNetwork()
        self._number = 1
        self.brain = Brain(NODE)
        self.kernel = Nftables(NODE, clock or SystemClock(), linger=linger)
        self.kernel.start(self.brain.table)

    def pod(self) -> Host:
        """A new pod on the node."""
        self._number += 1
        ip = f"10.244.1.{self._number}"
        netns = new_netns()
        self._pods.connect(ip, ip, netns)
        return Host(ip, netns)

    def service(self, found: Any, *pods: Host) -> None:
        """There is a Service now, with these pods (on this node) behind its port."""
        self.kernel.program(self.brain.table, self.brain.apply_service(f"default/{found.metadata.name}", found))
        self.endpoints(*pods)

    def endpoints(self, *pods: Host, **kwargs: Any) -> None:
        """The pods behind the Service `web` are now these."""
        found = slice_of(*(endpoint(one.ip, node="a") for one in pods), **kwargs)
        self.kernel.program(self.brain.table, self.brain.apply_slice("default/web-1", found))

    def finish(self) -> None:
        """What every test ends with: no packet got lost, the nft program lists the table, nothing had to be mended."""
        assert self.kernel.misses() == 0
        assert (self.kernel.rebuilds, self.kernel.repairs) == (0, 0)
        done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "table ip skerry" in done.stdout
        self.kernel.close()


def _outside() -> None:
    with Routes() as routes:
        eth0 = routes.index("eth0")
        routes.set_link(eth0, up=True)
        routes.add_address(eth0, f"{OUTSIDE_IP}/24")
        routes.add_route("10.96.0.0/12", via=NODE_IP)
        routes.add_route("10.244.1.0/24", via=NODE_IP)
