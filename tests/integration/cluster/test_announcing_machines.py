"""Three machines with `skerry proxy --announce` on one network, and a client there: rules B*, P20, P21.

This namespace is the switch between them. The API server and the endpoints are on it, and the address of the Service
comes out of a pool, so all of the way is real.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.helpers import server
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import Host
from tests.unit.proxy.build import endpoint

from skerry import linux
from skerry.api.types import core, discovery, meta
from skerry.apiserver.edge import Edge
from skerry.client.informer import Informers
from skerry.clock import SystemClock
from skerry.controllers.loadbalancer import pools
from skerry.controllers.loadbalancer.controller import LoadBalancerController
from skerry.netlink import namespace
from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.proxy.announce.holders import holder
from skerry.proxy.table import IPV4, IPV6

SWITCH = ("192.168.7.254", "fd00:7::fe")
CLIENT = ("192.168.7.99", "fd00:7::99")
CIDRS = ("10.96.0.0/12", "fd00:96::/112")
POOL = "192.168.7.200/30\nfd00:7::200/126"
MACHINES = {f"worker-{n}": (f"192.168.7.{n}", f"fd00:7::{n}") for n in (1, 2, 3)}


def plug(netns: int, port: str, addresses: tuple[str, str], mac: str) -> None:
    """Connects a namespace with the switch: its end is eth0, ours has this name."""
    with Routes() as routes:
        link = routes.add_veth(port, "eth0", peer_mac=mac, peer_netns=netns, master=routes.index("switch"))
        routes.set_link(link, up=True)

    def work() -> None:
        linux.sysctl("net.ipv4.ip_forward", "1")
        linux.sysctl("net.ipv6.conf.all.forwarding", "1")
        with Routes() as routes:
            eth0 = routes.index("eth0")
            routes.set_link(eth0, up=True)
            for address, length in zip(addresses, (24, 64), strict=True):
                routes.add_address(eth0, f"{address}/{length}")

    inside(netns, work)


class World:
    """The network; `answered` says through which machine a connection came."""

    async def __aenter__(self) -> World:
        self._stack = contextlib.AsyncExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        place = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-announce-")))
        with Routes() as routes:
            # Without a MAC of its own it has that of a port, and another one when that port is pulled.
            link = routes.add_link("bridge", "switch", mac="0a:00:00:00:00:fe")
            for address, length in zip(SWITCH, (24, 64), strict=True):
                routes.add_address(link, f"{address}/{length}")
        self.api = await server.start(cidrs=CIDRS)
        edge = Edge(self.api.app)
        self._stack.push_async_callback(edge.close)
        listener = socket.create_server((SWITCH[0], 0))
        await edge.listen(listener, None)
        kubeconfig = place / "kubeconfig"
        kubeconfig.write_text(_kubeconfig(f"http://{SWITCH[0]}:{listener.getsockname()[1]}"))
        there = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
        made = await asyncio.start_server(_answer, sock=there)
        self._stack.callback(made.close)
        netns = namespace.new()
        plug(netns, "client", CLIENT, "0a:00:00:00:00:99")
        self.client = Host(CLIENT[0], netns)
        for number, (name, addresses) in enumerate(MACHINES.items(), 1):
            node = core.Node(metadata=meta.ObjectMeta(name=name))
            node.status.addresses = [core.NodeAddress(type="InternalIP", address=one) for one in addresses]
            await self.api.client.create(node)
            netns = namespace.new()
            plug(netns, name, addresses, f"0a:00:00:00:00:0{number}")
            command = [sys.executable, "-m", "skerry.cli.main", "proxy", "--kubeconfig", str(kubeconfig)]
            command += ["--node", name, "--announce", "eth0", "--service-cidr", ",".join(CIDRS)]
            process = inside(netns, lambda: subprocess.Popen(command, stderr=subprocess.DEVNULL))  # noqa: B023
            self.processes[name] = process
            self._stack.callback(process.wait, 10)
            self._stack.callback(process.kill)
        informers = Informers(self.api.client)
        controller = LoadBalancerController(self.api.client, SystemClock(), informers, None)
        await informers.start()
        self._stack.push_async_callback(informers.stop)
        running = asyncio.create_task(controller.run())
        self._stack.callback(running.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def service(self) -> list[str]:
        """A Service with an address of each family out of the pool; those."""
        client = self.api.client
        await client.create(
            core.ConfigMap(metadata=meta.ObjectMeta(name=pools.NAME, namespace=pools.NAMESPACE), data={"house": POOL})
        )
        port = core.ServicePort(name="", port=80, target_port=8080)
        spec = core.ServiceSpec(type="LoadBalancer", ports=[port], ip_family_policy="RequireDualStack")
        await client.create(core.Service(metadata=meta.ObjectMeta(name="web", namespace="default"), spec=spec))
        for kind, address in zip(("IPv4", "IPv6"), SWITCH, strict=True):
            labels = {"kubernetes.io/service-name": "web"}
            await client.create(
                discovery.EndpointSlice(
                    metadata=meta.ObjectMeta(name=f"web-{kind.lower()}", namespace="default", labels=labels),
                    address_type=kind,
                    endpoints=[endpoint(address, node=None)],
                    ports=[discovery.EndpointPort(port=8080, name="", protocol="TCP")],
                )
            )
        async with asyncio.timeout(10):
            while True:
                found = (await client.get(core.Service, "web", "default")).status.load_balancer.ingress
                if found:
                    return [one.ip for one in found]
                await asyncio.sleep(0.01)

    async def through(self, address: str) -> str:
        """Connects until that works; the machine that the connection came through, as the endpoint saw it."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError, TimeoutError):
                    _, peer = await self.client.connect(address, 80, 0.25, IPV6 if ":" in address else IPV4)
                    return next((name for name, addresses in MACHINES.items() if peer in addresses), peer)

    def neighbour(self, address: str) -> str:
        """The machine whose MAC the client has for an address."""
        done = self.client.do(
            lambda: subprocess.run(["ip", "neigh", "show", address], capture_output=True, text=True, check=True)
        )
        found = re.search(r"lladdr 0a:00:00:00:00:0(\d)", done.stdout)
        assert found, done.stdout
        return f"worker-{found[1]}"

    def dies(self, name: str) -> None:
        """The end of a machine: its cable is cut, and its processes are killed."""
        self.processes[name].kill()
        with Routes() as routes:
            routes.delete_link(name)


async def _answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("peername")[0].removeprefix("::ffff:")
    writer.write(f"endpoint {peer}".encode())
    writer.close()


def _kubeconfig(address: str) -> str:
    return f"""\
apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "{address}"}}}}]
users: [{{name: it, user: {{token: secret}}}}]
"""


@pytest.mark.root
@in_network_namespace
async def test_an_address_is_found_by_arp_and_ndp_and_moves_when_its_machine_dies() -> None:
    async with World() as w:
        addresses = await w.service()
        assert addresses == ["192.168.7.200", "fd00:7::200"]
        for address in addresses:
            wanted = holder(address, MACHINES)
            async with asyncio.timeout(20):
                while await w.through(address) != wanted:  # until all three are there
                    pass
            assert w.neighbour(address) == wanted

        for address in addresses:
            left = [name for name, process in w.processes.items() if process.poll() is None]
            before = holder(address, left)
            w.dies(before)
            begun = time.monotonic()
            after = await w.through(address)
            took = time.monotonic() - begun
            assert after == w.neighbour(address) == holder(address, set(left) - {before})
            # The announcers' own part, below two seconds to the tick, is what tests/integration/proxy/test_announce
            # measures; here other tests have the processors, too.
            assert took < 4, took
            with contextlib.suppress(subprocess.TimeoutExpired):
                w.processes[before].wait(5)

        told = [one for one in (await w.api.client.list(core.Event, "default")).items if one.reason == "nodeAssigned"]
        assert {one.involved_object.name for one in told} == {"web"}
        assert {one.source.component for one in told} == {"skerry-proxy"}
