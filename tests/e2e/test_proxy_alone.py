"""`skerry proxy` in place of kube-proxy: a machine in a namespace of the test's own, and the API of a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import MINORS, Kubectl
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy import net
from tests.integration.proxy.net import NODE_IP, Host

from skerry import linux
from skerry.netlink import namespace, nft, wire
from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork

VIP, PORT, NODE_PORT = "10.96.77.7", 80, 30977


class Machine:
    """This namespace as a machine with pods, a neighbour outside, and a road to the cluster's API that can be shut."""

    def __init__(self, cluster: Cluster) -> None:
        self._world = os.open(f"/proc/{os.getppid()}/ns/net", os.O_RDONLY)
        self._api = int(cluster.options[cluster.options.index("--api-port") + 1])
        self._road: asyncio.Server | None = None
        self._place = Path(tempfile.mkdtemp(prefix="skerry-proxy-"))
        self.kubeconfig = self._place / "kubeconfig"
        self.kubeconfig.write_text(cluster.kubeconfig.read_text())
        self.kubectl = Kubectl(MINORS[-1], self.kubeconfig, {})
        linux.sysctl("net.ipv4.ip_forward", "1")
        for which in ("all", "default"):
            linux.sysctl(f"net.ipv4.conf.{which}.rp_filter", "0")
        outside = namespace.new()
        with Routes() as routes:
            link = routes.add_veth("eth0", "eth0", peer_netns=outside)
            routes.add_address(link, f"{NODE_IP}/24")
            routes.add_route("default", via=net.OUTSIDE_IP)
        self.outside, self.itself = Host(net.OUTSIDE_IP, outside), Host(NODE_IP, None)
        self.outside.do(_outside)
        self._pods, self._number = PodNetwork(), 1

    def pod(self) -> Host:
        self._number += 1
        ip, netns = f"10.244.1.{self._number}", namespace.new()
        self._pods.connect(ip, [ip], netns)
        return Host(ip, netns)

    async def open(self) -> None:
        """The API can be reached from now on."""

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = inside(self._world, lambda: socket.socket())
            there.setblocking(False)
            await asyncio.get_running_loop().sock_connect(there, ("127.0.0.1", self._api))
            onward, outward = await asyncio.open_connection(sock=there)
            with contextlib.suppress(OSError):
                await asyncio.gather(_pump(reader, outward), _pump(onward, writer))

        self._road = await asyncio.start_server(carry, "127.0.0.1", self._api)

    async def ctl(self, *words: str, stdin: str = "") -> str:
        """kubectl, while the road goes on being served."""
        done = await asyncio.to_thread(self.kubectl.run, *words, stdin=stdin or None)
        assert done.code == 0, done.err
        return done.out

    async def apply(self, *objects: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        await self.ctl("apply", "-f", "-", stdin=json.dumps(listed))


def _outside() -> None:
    with Routes() as routes:
        eth0 = routes.index("eth0")
        routes.set_link(eth0, up=True)
        routes.add_address(eth0, f"{net.OUTSIDE_IP}/24")


def _road_to(address: str) -> None:
    with Routes() as routes:
        routes.add_route(f"{address}/32", via=NODE_IP)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


class Proxying:
    """A `skerry proxy` that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.said = process, ""

    async def says(self, words: str) -> None:
        """Returns when it has said that."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while words not in self.said:
                line = await self.process.stderr.readline()
                assert line, self.said
                self.said += line.decode()

    async def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            self.said += (await self.process.stderr.read()).decode()
            return await self.process.wait()


@contextlib.asynccontextmanager
async def proxying(machine: Machine, *more: str) -> AsyncIterator[Proxying]:
    command = [sys.executable, "-m", "skerry.cli.main", "proxy", "--kubeconfig", str(machine.kubeconfig)]
    command += ["--node", "edge", "--cluster-cidr", "10.244.0.0/16", "--healthz-bind-address", "127.0.0.1:7001"]
    command += ["--metrics-bind-address", "127.0.0.1:7002", *more]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    made = Proxying(process)
    try:
        yield made
    finally:
        if process.returncode is None:
            await made.end()


def node() -> dict[str, Any]:
    status = {"addresses": [{"type": "InternalIP", "address": NODE_IP}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge"}, "status": status}


def a_service() -> dict[str, Any]:
    port = {"port": PORT, "targetPort": 8080, "nodePort": NODE_PORT}
    spec = {"type": "NodePort", "clusterIP": VIP, "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "by-hand"}, "spec": spec}


def slice_to(*servers: Host) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [one.ip], "conditions": {"ready": True}} for one in servers],
    }


async def answer(port: int, path: str) -> tuple[str, str]:
    """The status line and body of a GET at this machine's loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head.splitlines()[0], body


def our_table() -> int | None:
    """The number that the kernel gave our table when it was made."""
    with nft.Nft() as kernel:
        for one in kernel.dump(nft.GET_TABLE):
            parts = wire.table(one)
            if nft.text(parts[1]) == "skerry":
                return int.from_bytes(parts[4], "big")
    return None


async def lands(client: Host, address: str, port: int, server: Host) -> str:
    """Waits until connections go to this server alone; whom it takes for the client."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                found = [await client.connect(address, port, 1) for _ in range(4)]
                if {one for one, _ in found} == {server.ip}:
                    return found[0][1]


@pytest.mark.root
def test_a_proxy_for_any_cluster(new_cluster: Callable[..., Cluster]) -> None:
    cluster = new_cluster("--nodes", "0", "--ephemeral")
    cluster.up()
    a_machine_with_a_proxy(cluster)


@in_network_namespace
async def a_machine_with_a_proxy(cluster: Cluster) -> None:
    machine = Machine(cluster)
    client, first, second = machine.pod(), machine.pod(), machine.pod()
    for one in (first, second):
        await one.serve()
    async with proxying(machine) as proxy:
        await proxy.says("cannot be reached: Connection refused; trying again")
        await machine.open()
        await proxy.says('node "edge" does not exist at 127.0.0.1')
        await machine.apply(node(), a_service(), slice_to(first))
        await proxy.says("proxying for node edge")

        assert await lands(client, VIP, PORT, first) == client.ip
        assert await lands(machine.itself, VIP, PORT, first) == NODE_IP
        assert await lands(machine.outside, NODE_IP, NODE_PORT, first) == NODE_IP  # masqueraded
        await machine.apply(slice_to(first, second))
        await eventually_both(client, first, second)
        assert (await answer(7001, "/healthz"))[0] == "HTTP/1.1 200 OK"
        assert (
            'kubeproxy_sync_proxy_rules_service_changes_total{ip_family="IPv4"}' in (await answer(7002, "/metrics"))[1]
        )
        # A Skerry API server wants to know how far its proxies are.
        assert "edge.proxy" in await machine.ctl("get", "acknowledgements", "-o", "name")

        with pytest.raises(AssertionError, match="runs in this network namespace already"):
            async with proxying(machine) as other:
                await other.says("proxying")
        code = await proxy.end()
        assert (code, "Traceback" in proxy.said) == (0, False), proxy.said

    # What is in the kernel stays, and who comes next goes on from there.
    made = our_table()
    assert made is not None
    await eventually_both(client, first, second)
    await machine.apply(slice_to(second))
    async with proxying(machine, "--nodeport-addresses", "10.0.0.0/8,192.168.0.0/16") as proxy:
        await proxy.says("proxying for node edge")
        # P22: node ports follow the addresses that the machine gets and loses while the proxy runs.
        with Routes() as routes:
            routes.add_address(routes.index("eth0"), "192.168.77.1/32")
            await proxy.says(f"node ports are on {NODE_IP}, 192.168.77.1 now")
            machine.outside.do(lambda: _road_to("192.168.77.1"))
            assert await lands(machine.outside, "192.168.77.1", NODE_PORT, second) == NODE_IP
            routes.delete_address(routes.index("eth0"), "192.168.77.1/32")
            await proxy.says(f"node ports are on {NODE_IP} now")
        assert await lands(client, VIP, PORT, second) == client.ip
        assert our_table() == made
        moved = node() | {"status": {"addresses": [{"type": "InternalIP", "address": "10.243.0.7"}]}}
        patch = json.dumps({"status": moved["status"]})
        await machine.ctl("patch", "node", "edge", "--subresource=status", "--type=merge", "-p", patch)
        async with asyncio.timeout(20):
            assert await proxy.process.wait() == 1
        await proxy.says(f"The addresses of node edge changed from {NODE_IP} to 10.243.0.7: start again.")
    command = [sys.executable, "-m", "skerry.cli.main", "proxy", "--cleanup"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True)
    assert (done.returncode, our_table()) == (0, None), done.stderr


async def eventually_both(client: Host, *servers: Host) -> None:
    async with asyncio.timeout(20):
        while set(await client.spread(VIP, PORT, 12)) != {one.ip for one in servers}:
            pass


@pytest.mark.root
@in_network_namespace
async def test_without_the_right_a_sentence_says_what_it_takes() -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "kubeconfig"
        path.write_text(
            "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: http://127.0.0.1:1}}]\n"
        )
        command = [sys.executable, "-m", "skerry.cli.main", "proxy", "--kubeconfig", str(path)]
        unprivileged = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all"]
        os.chmod(place, 0o755)
        done = await asyncio.to_thread(subprocess.run, [*unprivileged, *command], capture_output=True, text=True)
        assert done.returncode == 1
        assert "it takes root or CAP_NET_ADMIN" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        sets = ("inh-caps", "ambient-caps", "bounding-set")
        admin = [*unprivileged[:-1], *(f"--{one}=-all,+net_admin" for one in sets), *command, "--announce", "lo"]
        done = await asyncio.to_thread(subprocess.run, admin, capture_output=True, text=True)
        assert "--announce takes root or CAP_NET_RAW" in done.stderr
    done = await asyncio.to_thread(subprocess.run, [*command[:-1], "/nowhere/at/all"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "skerry: There is no kubeconfig /nowhere/at/all.\n")
