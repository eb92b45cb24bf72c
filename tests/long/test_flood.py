"""A million new flows while a Service's endpoints change as fast as the kernel takes it: not one may miss a backend."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.helpers.namespaces import in_network_namespace
from tests.integration.proxy.net import Host, Network
from tests.unit.proxy.build import port, service

from skerry import linux
from skerry.api.types import discovery
from skerry.clock import SystemClock

pytestmark = [pytest.mark.long, pytest.mark.root]

VIP = "10.96.0.9"
FLOWS = 1_000_000
SECONDS = 240
"""At most: what other work leaves of a busy machine may be little."""
PORTS = [
    discovery.EndpointPort(name="u", protocol="UDP", port=8080),
    discovery.EndpointPort(name="t", protocol="TCP", port=8080),
]
# Sees every packet that begins a connection, before it is translated.
WITNESS = """\
table ip witness {
    counter flows_udp { }
    counter flows_tcp { }
    chain prerouting {
        type filter hook prerouting priority mangle;
        ip daddr 10.96.0.9 ct state new meta l4proto udp counter name flows_udp
        ip daddr 10.96.0.9 ct state new meta l4proto tcp counter name flows_tcp
    }
}
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    built = tmp_path / "flood"
    source = Path(__file__).with_name("flood.c")
    subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-o", str(built), str(source)], check=True)
    return str(built)


def start(program: str, host: Host, protocol: str) -> subprocess.Popen[str]:
    command = [program, host.ip, VIP, "80", protocol, str(SECONDS)]
    return host.do(lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))


def seen(protocol: str) -> int:
    """New connections of that protocol, as conntrack takes them."""
    done = subprocess.run(
        ["nft", "list", "counter", "ip", "witness", f"flows_{protocol}"], capture_output=True, text=True
    )
    found = re.search(r"packets (\d+)", done.stdout)
    assert found, done.stderr
    return int(found[1])


def forget_quickly() -> None:
    """A source port that is used again a second later is a new flow again."""
    for name in (
        "udp_timeout",
        "udp_timeout_stream",
        "tcp_timeout_syn_sent",
        "tcp_timeout_syn_recv",
        "tcp_timeout_close",
    ):
        linux.sysctl(f"net.netfilter.nf_conntrack_{name}", "1")


@in_network_namespace
def test_no_flow_of_a_flood_misses_while_endpoints_change(program: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=WITNESS, text=True, check=True)
    forget_quickly()
    asyncio.run(asyncio.wait_for(flood(program), SECONDS + 60))


async def flood(program: str) -> None:
    network = Network(SystemClock())
    clients = [network.pod() for _ in range(4)]
    pods = [network.pod() for _ in range(12)]
    network.service(service("web", VIP, port(80, "u", "UDP"), port(80, "t", "TCP")))
    network.endpoints(*pods[:3], ports=PORTS)
    floods = [start(program, client, ("udp", "tcp")[number % 2]) for number, client in enumerate(clients)]
    chance = random.Random(17)
    members = pods[:3]
    changes = 0
    began = time.monotonic()
    try:
        while True:
            members = changed(members, pods, chance)
            network.endpoints(*members, ports=PORTS)
            changes += 1
            await asyncio.sleep(0)  # sweeps happen in between
            if changes % 256 == 0:
                assert network.kernel.misses() == 0, f"after {changes} changes"
                if seen("udp") >= FLOWS // 2 and seen("tcp") >= FLOWS // 2:
                    break
                assert time.monotonic() - began < SECONDS, f"only {seen('udp')} and {seen('tcp')} flows"
                assert all(one.poll() is None for one in floods), [one.communicate() for one in floods]
    finally:
        for one in floods:
            one.kill()
            one.communicate()
    udp, tcp = seen("udp"), seen("tcp")
    print(f"{udp} UDP and {tcp} TCP flows, {changes} changes in {time.monotonic() - began:.1f} s")
    assert changes > 1000
    network.finish()


def changed(members: list[Host], pods: list[Host], chance: random.Random) -> list[Host]:
    """One more, one fewer, one replaced, or quite others; always at least one."""
    rest = [pod for pod in pods if pod not in members]
    what = chance.randrange(4)
    if what == 0 and rest:
        return [*members, chance.choice(rest)]
    if what == 1 and len(members) > 1:
        return chance.sample(members, len(members) - 1)
    if what == 2 and rest:
        return [*chance.sample(members, len(members) - 1), chance.choice(rest)]
    return chance.sample(pods, chance.randint(1, len(pods)))
