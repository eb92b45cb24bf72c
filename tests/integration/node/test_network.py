"""Pods and the node's network: hostPort, hostNetwork, and what of the node's namespaces a pod may share."""

from __future__ import annotations

import asyncio
import os
import socket
from itertools import product
from pathlib import Path

from tests.integration.node.world import PATIENCE, in_world, ready, server, shell

from skerry.api.types import core
from skerry.node.network.links import NODE_MAC

ECHO = (
    "import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.bind(('', 53))\n"
    "while True: data, who = u.recvfrom(99); u.sendto(data + who[0].encode(), who)"
)

FORGE = """
import socket, struct, sys
mac, here, own = bytes.fromhex(sys.argv[1]), sys.argv[2], socket.gethostbyname(socket.gethostname())
def packet(to, data):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(data), 1, 0, 64, 17, 0)
    head += socket.inet_aton(own) + socket.inet_aton(to)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:]
    return mac + bytes(6) + b"\\x08\\x00" + head + struct.pack("!HHHH", 9, 8099, 8 + len(data), 0) + data
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(("eth0", 0))
    link.send(packet("127.0.0.1", b"forged"))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.sendto(b"honest", (here, 8099))
"""
"""Sends one packet to the loopback of whoever has this MAC, and then an ordinary one."""


async def fetch(host, port):
    """The first line of what a web server answers to the node itself."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line.split()[1]


def instance(pod, name="web"):
    found = next(one for one in pod.status.container_statuses if one.name == name)
    return found.container_id.removeprefix("skerry://")


def port(number, host, **more):
    return core.ContainerPort(container_port=number, host_port=host, protocol=more.pop("protocol", "TCP"), **more)


def test_host_ports(tmp_path: Path) -> None:
    async def work(world):
        probe = core.Probe(tcp_socket=core.TCPSocketAction(port=80), period_seconds=1)
        here = world.node.node_ip
        web = server(
            readiness_probe=probe,
            ports=[
                port(80, 8080),
                port(80, 8081, host_ip=here),
                port(80, 8082, host_ip="10.9.9.9"),
                port(80, 8081, host_ip="127.0.0.1"),
                port(80, 8083, host_ip="127.0.0.1"),
            ],
        )
        echo = core.Container(
            name="echo", image="host", command=["python3", "-c", ECHO], ports=[port(53, 5353, protocol="UDP")]
        )
        await world.create(web, echo, termination_grace_period_seconds=1)
        await world.create(shell("exec sleep 1000"), name="client", termination_grace_period_seconds=0)
        pod, client = await world.until(ready), await world.until(ready, "client")
        for address, open_port in product((here, "127.0.0.1"), (8080, 8081)):
            assert await fetch(address, open_port) == b"200"
        assert await fetch("127.0.0.1", 8083) == b"200"
        for address, closed in ((here, 8082), ("127.0.0.1", 8082), (here, 8083)):
            try:
                await fetch(address, closed)
            except ConnectionRefusedError:
                continue
            raise AssertionError(f"{address}:{closed} answers")
        get = f"import urllib.request as u; print(u.urlopen('http://{here}:8080/').status)"
        for who in (client, pod):  # another pod, and the pod itself
            result = await world.runtime.exec(instance(who), ["python3", "-c", get], seconds=5)
            assert result.output == b"200\n"
        # What pods forge to the node's own loopback does not come to it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("", 8099))
            udp.settimeout(PATIENCE)
            trick = ["python3", "-c", FORGE, NODE_MAC.replace(":", ""), here]
            done = await world.runtime.exec(instance(client), trick, seconds=5)
            assert (done.code, done.output) == (0, b"")
            assert udp.recv(99) == b"honest"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect((here, 5353))
            async with asyncio.timeout(PATIENCE):
                answer = b""
                while not answer:  # the server may just be starting
                    udp.send(b"from ")
                    try:
                        answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(udp, 99), 0.2)
                    except (TimeoutError, ConnectionRefusedError):
                        continue
            assert answer == b"from " + here.encode()

        # A port belongs to one pod at a time.
        await world.create(server(ports=[port(80, 8080)]), name="second", termination_grace_period_seconds=0)
        second = await world.until(lambda one: one.status.phase == "Failed", "second")
        assert second.status.reason == "NodePorts"
        # One whose object was taken away is on its way out: whoever comes next waits for that.
        await world.client.delete(core.Pod, "p", "default", grace_period_seconds=0)
        await world.gone()
        await world.create(server(ports=[port(80, 8080)]), name="third", termination_grace_period_seconds=0)
        await world.until(ready, "third")

    in_world(tmp_path, work)


def test_the_nodes_own_network(tmp_path: Path) -> None:
    async def work(world):
        script = (
            "hostname; head -1 /etc/resolv.conf; getent hosts node-1 | cut -d' ' -f1; "
            "readlink /proc/self/ns/net /proc/self/ns/ipc; "
            "test $(cat /proc/1/comm) = node-1 && echo seen; touch /tmp/written; exec sleep 1000"
        )
        written = core.Probe(exec=core.ExecAction(command=["test", "-e", "/tmp/written"]))
        web = server(8088, name="server", readiness_probe=core.Probe(tcp_socket=core.TCPSocketAction(port=8088)))
        spec = {"host_network": True, "host_pid": True, "host_ipc": True, "termination_grace_period_seconds": 0}
        await world.create(shell(script, readiness_probe=written), web, **spec)
        pod = await world.until(ready)
        here = world.node.node_ip
        assert pod.status.pod_ip == pod.status.host_ip == here
        assert await fetch("127.0.0.1", 8088) == b"200"
        own = [os.readlink(f"/proc/self/ns/{one}") for one in ("net", "ipc")]
        assert (await world.logs()).splitlines() == ["node-1", "nameserver 192.0.2.1", here, *own, "seen"]

    in_world(tmp_path, work)
