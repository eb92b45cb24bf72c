"""Ways from a client pod to a server pod, each in network namespaces of its own, for bench/proxy.py.

A *place* is a node with client pods (several addresses) and one server pod in which nginx listens on several ports.
What leads from the address of a Service to the server differs: nothing, one DNAT rule, Skerry's table, chains per
service and endpoint, haproxy. All are made once and measured in turns, so that a slow minute hits all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))

from skerry import linux
from skerry.api.types import core, discovery, meta
from skerry.clock import FakeClock, SystemClock
from skerry.netlink import namespace
from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork
from skerry.proxy.brain import Brain
from skerry.proxy.nftables.backend import Nftables
from skerry.proxy.table import Node
from skerry.proxy.userspace import places
from skerry.proxy.userspace.backend import Userspace

T = TypeVar("T")

NODE_IP, SERVER_IP = "10.243.0.2", "10.244.1.9"
NODE = Node("a", (NODE_IP,), service_cidrs=("10.96.0.0/12",), pod_cidrs=("10.244.1.0/24",))
VIP, PORT, FIRST_PORT = "10.100.0.1", 80, 8000
CLIENTS = 4


def started(netns: int | None, *command: str, **more: Any) -> subprocess.Popen[Any]:
    """A program in a network namespace (None: this one)."""
    enter = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns}", "--"] if netns is not None else []
    return subprocess.Popen([*enter, *command], **more)


def settle(netns: int | None) -> None:
    """Settings of a node: it forwards, and connections that ended do not fill the kernel's table."""
    wanted = {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.all.rp_filter": "0",
        "net.ipv4.conf.default.rp_filter": "0",
        "net.ipv4.ip_local_port_range": "1025 65000",
        "net.netfilter.nf_conntrack_tcp_timeout_time_wait": "1",
        "net.netfilter.nf_conntrack_tcp_timeout_close": "1",
        "net.core.somaxconn": "4096",
    }

    def write() -> None:
        for name, value in wanted.items():
            with contextlib.suppress(OSError):
                linux.sysctl(name, value)

    write() if netns is None else inside(netns, write)


class Place:
    """A node with pods: the clients, and the server with nginx."""

    def __init__(self, stack: contextlib.ExitStack, netns: int | None = None) -> None:
        """`netns`: the node's namespace, a new one if None."""
        self.node = namespace.new() if netns is None else netns
        self._stack = stack
        settle(self.node)
        self.do(self._address)
        self._pods = self.do(PodNetwork)
        self.clients = [self._pod(f"10.244.1.{10 + n}") for n in range(CLIENTS)]
        self.server = self._pod(SERVER_IP)
        stack.callback(self._pods.close)
        self.address = (SERVER_IP, FIRST_PORT)
        """Where clients connect to."""

    def _address(self) -> None:
        with Routes() as routes:
            routes.add_address(routes.index("lo"), f"{NODE_IP}/32")

    def do(self, work: Callable[[], T]) -> T:
        return inside(self.node, work)

    def _pod(self, ip: str) -> int:
        netns = namespace.new()
        settle(netns)
        self.do(lambda: self._pods.connect(ip, [ip], netns))
        return netns

    def serve(self, ports: int = 1) -> None:
        """nginx in the server pod."""
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-"))
        listens = " ".join(f"listen {FIRST_PORT + n} backlog=4096;" for n in range(ports))
        config = Path(directory) / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {directory}/pid; error_log stderr crit;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off; keepalive_requests 1000000000;\n"
            f'server {{ {listens} location / {{ return 200 "ok"; }} }} }}\n'
        )
        self.run(self.server, "nginx", "-c", str(config), "-e", "stderr", ready=(SERVER_IP, FIRST_PORT))

    def run(self, netns: int, *command: str, ready: tuple[str, int] | None = None) -> subprocess.Popen[Any]:
        """A program until the bench ends; returns when a client can connect to `ready`."""
        process = started(netns, *command, stderr=subprocess.DEVNULL)

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            process.wait()

        self._stack.callback(end)
        until = time.monotonic() + 20
        while ready is not None:
            with contextlib.suppress(OSError):
                self.connect(ready).close()
                break
            assert process.poll() is None and time.monotonic() < until, f"{command[0]} does not listen"
            time.sleep(0.02)
        return process

    def ended_with(self, pid: int) -> None:
        """A child process ends when the bench does."""

        def end() -> None:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)

        self._stack.callback(end)

    def connect(self, address: tuple[str, int] | None = None, client: int = 0) -> socket.socket:
        """A connection from a client pod."""
        made = inside(self.clients[client], lambda: socket.socket())
        made.settimeout(5)
        made.connect(address or self.address)
        return made

    def wrk(self, seconds: float, *, close: bool) -> float:
        """Requests per second of all clients together, with a connection for each request or kept ones."""
        url = "http://{}:{}/".format(*self.address)
        more = ["-H", "Connection: close"] if close else []
        command = ["wrk", "-t1", "-c8", f"-d{seconds:.0f}s", "--timeout", "5s", *more, url]
        running = [started(one, *command, stdout=subprocess.PIPE, text=True) for one in self.clients]
        total = 0.0
        for one in running:
            said = one.communicate()[0]
            found = re.search(r"Requests/sec:\s+([\d.]+)", said)
            wrong = re.search(r"(Non-2xx.*|Socket errors.*)", said)
            # nginx closes first: wrk may count that as a read error although the answer was whole
            if found is None or (wrong and not re.search(r"connect 0, read \d+, write 0, timeout 0", wrong[0])):
                raise RuntimeError(said)
            total += float(found[1])
        return total

    def bulk(self, seconds: float) -> float:
        """Gigabits per second of one connection."""
        listener = inside(self.server, lambda: socket.create_server((SERVER_IP, FIRST_PORT + 99)))
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)  # it must not outlive a bench that fails
            try:
                served, _ = listener.accept()
                buffer = bytearray(1 << 20)
                while served.recv_into(buffer):
                    pass
            finally:
                os._exit(0)
        host, port = self.address
        client = self.connect((host, port + 99))
        data = memoryview(bytes(1 << 20))
        sent, begun = 0, time.perf_counter()
        while time.perf_counter() < begun + seconds:
            sent += client.send(data)
        taken = time.perf_counter() - begun
        client.close()
        listener.close()
        os.waitpid(pid, 0)
        return 8 * sent / taken / 1e9

    def first_packets(self, times: int) -> list[float]:
        """Seconds that connect takes: the first packet there, the answer back."""
        taken = []

        def go() -> None:
            for _ in range(times):
                with socket.socket() as one:
                    begun = time.perf_counter()
                    one.connect(self.address)
                    taken.append(time.perf_counter() - begun)

        inside(self.clients[0], go)
        return taken


# What leads to the server


def direct(place: Place) -> None:
    """Nothing: no rule, no connection tracking."""


def floor(place: Place) -> None:
    """A single hand-written rule a port."""
    nft(
        place.node,
        "table ip floor { chain pre { type nat hook prerouting priority -100;\n"
        f"ip daddr {VIP} tcp dport {PORT} dnat to {SERVER_IP}:{FIRST_PORT}\n"
        f"ip daddr {VIP} tcp dport {PORT + 99} dnat to {SERVER_IP}:{FIRST_PORT + 99}\n"
        "}\n}",
    )
    place.address = (VIP, PORT)


def haproxy(place: Place) -> None:
    """Debian's haproxy as a TCP balancer on the node."""
    directory = tempfile.mkdtemp(prefix="skerry-bench-")
    config = Path(directory) / "haproxy.cfg"
    listens = "".join(
        f"listen l{n}\n  bind {NODE_IP}:{PORT + n}\n  server s {SERVER_IP}:{FIRST_PORT + n}\n" for n in (0, 99)
    )
    config.write_text(
        "global\n  maxconn 4000\n"
        "defaults\n  mode tcp\n  maxconn 4000\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        + listens
    )
    place.run(place.node, "haproxy", "-q", "-f", str(config), ready=(NODE_IP, PORT))
    place.address = (NODE_IP, PORT)


def services(count: int, endpoints: int) -> Iterator[tuple[core.Service, discovery.EndpointSlice]]:
    """Services with endpoints that nobody connects to."""
    for n in range(count):
        yield service(f"s{n}", address(n)), slice_of(f"s{n}", *(backend(n * endpoints + i) for i in range(endpoints)))


def address(n: int) -> str:
    return f"10.{96 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"


def backend(n: int) -> str:
    return f"10.{128 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"


def service(name: str, ip: str, ports: tuple[int, ...] = (PORT,), **spec: Any) -> core.Service:
    listed = [core.ServicePort(name=f"p{one}", port=one, protocol="TCP") for one in ports]
    spec = {"type": "ClusterIP", "internal_traffic_policy": "Cluster", "session_affinity": "None"} | spec
    return core.Service(
        metadata=meta.ObjectMeta(name=name, namespace="default"),
        spec=core.ServiceSpec(cluster_ip=ip, cluster_i_ps=[ip], ip_families=["IPv4"], ports=listed, **spec),
    )


def slice_of(
    of: str, *addresses: str, port: int = 8080, service_port: int = PORT, part: int = 0
) -> discovery.EndpointSlice:
    ends = [
        discovery.Endpoint(addresses=[one], conditions=discovery.EndpointConditions(ready=True)) for one in addresses
    ]
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(name=f"{of}-{part}", namespace="default", labels={"kubernetes.io/service-name": of}),
        address_type="IPv4",
        ports=[discovery.EndpointPort(name=f"p{service_port}", port=port, protocol="TCP")],
        endpoints=ends,
    )


class Skerry:
    """Skerry's brain and back end in a node's namespace."""

    def __init__(self, do: Callable[[Callable[[], Any]], Any] = lambda work: work()) -> None:
        self.brain = Brain(NODE)
        self.clock = FakeClock()
        self._do = do
        self.kernel: Nftables = do(lambda: Nftables(NODE, self.clock))

    def decide(self, count: int, endpoints: int) -> float:
        """Seconds that the brain takes for so many Services."""
        found = list(services(count, endpoints))
        begun = time.perf_counter()
        for one, _ in found:
            self.brain.apply_service(f"default/{one.metadata.name}", one)
        for _, one in found:
            self.brain.apply_slice(f"default/{one.metadata.name}", one)
        return time.perf_counter() - begun

    def load(self) -> float:
        """Seconds until the whole table is in the kernel."""
        begun = time.perf_counter()
        self.kernel.start(self.brain.table)
        return time.perf_counter() - begun

    def restart(self) -> None:
        """Another back end, as after a restart of the proxy."""
        self.kernel.close()
        self.kernel = self._do(lambda: Nftables(NODE, self.clock))

    def apply(self, one: core.Service | discovery.EndpointSlice) -> float:
        """Seconds from a change of an object to the kernel's table."""
        key = f"default/{one.metadata.name}"
        begun = time.perf_counter()
        if isinstance(one, core.Service):
            change = self.brain.apply_service(key, one)
        else:
            change = self.brain.apply_slice(key, one)
        self.kernel.program(self.brain.table, change)
        return time.perf_counter() - begun


def skerry(place: Place, count: int = 0, *, affinity: str = "None", ports: int = 1) -> Skerry:
    """Skerry's table, in which the server's Service is one of `count` others."""
    made = Skerry(place.do)
    made.decide(count, 5)
    made.load()
    made.apply(service("web", VIP, (PORT, PORT + 99), session_affinity=affinity))
    for n in range(ports):
        made.apply(slice_of("web", SERVER_IP, port=FIRST_PORT + n, part=n))
    made.apply(slice_of("web", SERVER_IP, port=FIRST_PORT + 99, service_port=PORT + 99, part=99))
    place.address = (VIP, PORT)
    return made


def userspace(place: Place) -> None:
    """Skerry's back end without nftables: a process on the node that relays."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            linux.setns(place.node, linux.CLONE_NEWNET)
            asyncio.run(_relay(tell))
        finally:
            os._exit(1)
    os.close(tell)
    place.ended_with(pid)
    assert os.read(ready, 1), "the userspace back end did not start"
    os.close(ready)
    place.address = (VIP, PORT)


async def _relay(tell: int) -> None:
    brain = Brain(NODE)
    brain.apply_service("default/web", service("web", VIP, (PORT, PORT + 99)))
    for port in (0, 99):
        part = slice_of("web", SERVER_IP, port=FIRST_PORT + port, service_port=PORT + port, part=port)
        brain.apply_slice(f"default/{part.metadata.name}", part)
    back_end = Userspace(NODE, SystemClock(), places.find(NODE))
    back_end.start(brain.table)
    os.write(tell, b"1")
    await asyncio.Event().wait()


def with_flowtable(place: Place) -> None:
    """Skerry's table, and a software flowtable that takes established flows past all hooks."""

    def links() -> list[str]:
        with Routes() as routes:
            return [one.name for one in routes.links() if one.name != "lo"]

    skerry(place)
    devices = ", ".join(f'"{one}"' for one in place.do(links))
    nft(
        place.node,
        f"table ip fast {{\nflowtable f {{ hook ingress priority 0; devices = {{ {devices} }}; }}\n"
        "chain forward { type filter hook forward priority 0; ct state established flow add @f; }\n}",
    )


def nft(netns: int | None, rules: str) -> float:
    """Seconds that Debian's nft program takes for these rules."""
    begun = time.perf_counter()
    process = started(netns, "nft", "-f", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, wrong = process.communicate(rules)
    if process.returncode:
        raise RuntimeError(wrong[:2000])
    return time.perf_counter() - begun


def chains(place: Place | None, count: int, endpoints: int) -> float:
    """Seconds to load chains per service and per endpoint, as kube-proxy's nftables mode has them."""
    netns = place.node if place else None
    lines = ["table ip chains {", "chain mark-for-masquerade { meta mark set meta mark or 0x4000; }"]
    verdicts = []
    for n in range(count):
        backends = [f"{backend(n * endpoints + i)}:8080" for i in range(endpoints)]
        lines += chain(f"s{n}", backends)
        verdicts.append(f"{address(n)} . tcp . {PORT} : goto svc-s{n}")
    for port, to in ((PORT, FIRST_PORT), (PORT + 99, FIRST_PORT + 99)):
        lines += chain(f"web{port}", [f"{SERVER_IP}:{to}"])
        verdicts.append(f"{VIP} . tcp . {port} : goto svc-web{port}")
    lines += [
        "map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = {",
        ",\n".join(verdicts),
        "} }",
        "chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }",
        "chain nat-prerouting { type nat hook prerouting priority -100; jump services; }",
        "chain nat-output { type nat hook output priority -100; jump services; }",
        "chain nat-postrouting { type nat hook postrouting priority 100; meta mark and 0x4000 == 0 return",
        "meta mark set meta mark xor 0x4000; masquerade; }",
        "}",
    ]
    if place:
        place.address = (VIP, PORT)
    return nft(netns, "\n".join(lines))


def chain(name: str, backends: list[str]) -> list[str]:
    """The chain of a service, and those of its endpoints."""
    made = [
        f"chain ep-{name}-{one.replace('.', '-').replace(':', '-')} {{ ip saddr {one.partition(':')[0]} jump"
        f" mark-for-masquerade; meta l4proto tcp dnat to {one}; }}"
        for one in backends
    ]
    return [*made, f"chain svc-{name} {{ {choice(name, backends)} }}"]


def choice(name: str, backends: list[str]) -> str:
    """The rule that picks one of them."""
    to = ", ".join(f"{i} : goto ep-{name}-{b.replace('.', '-').replace(':', '-')}" for i, b in enumerate(backends))
    return f"numgen random mod {len(backends)} vmap {{ {to} }};"


def change_chains(n: int, backends: list[str], *, new: str = "", gone: str = "") -> float:
    """Seconds that the nft program takes to change the endpoints of service `n` as kube-proxy does."""
    name = f"s{n}"
    lines = []
    if new:
        made = chain(name, [new])[0].removeprefix("chain ")
        lines.append(f"add chain ip chains {made}")
    lines.append(f"flush chain ip chains svc-{name}")
    lines.append(f"add rule ip chains svc-{name} {choice(name, backends).rstrip(';')}")
    if gone:
        lines.append(f"delete chain ip chains ep-{name}-{gone.replace('.', '-').replace(':', '-')}")
    return nft(None, "\n".join(lines) + "\n")
