"""Ways from a client pod to a server pod, for bench/proxy.py.

What leads from the address of a Service to the server differs: nothing, one DNAT rule, Skerry's table, chains per
service and endpoint, haproxy. Each has a place (place.py) of its own. All are made once and measured in turns, so that
a slow minute hits all of them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from place import FIRST_PORT, NODE_IP, PORT, SERVER_IP, Place, started

from skerry import linux
from skerry.api.types import core, discovery, meta
from skerry.clock import FakeClock, SystemClock
from skerry.netlink.route import Routes
from skerry.proxy.brain import Brain
from skerry.proxy.nftables.backend import Nftables
from skerry.proxy.table import Node
from skerry.proxy.userspace import places
from skerry.proxy.userspace.backend import Userspace

NODE = Node("a", (NODE_IP,), service_cidrs=("10.96.0.0/12",), pod_cidrs=("10.244.1.0/24",))
VIP = "10.100.0.1"


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
    config = place.directory() / "haproxy.cfg"
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
