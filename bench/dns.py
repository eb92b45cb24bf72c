"""Cluster DNS beside Debian's unbound: questions a second, what one costs, how fast an answer changes, and memory.

    python bench/dns.py [--quick]

Our server (the one of every node, in a process of its own, filled with as many Services) and unbound with the same
names as local data, both on one core, asked by the same dnsperf on another, in one run. On a busy machine the CPU time
of one question is the figure to trust. Then a real cluster: an EndpointSlice changes, and a client asks until it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib
from common import cpu_seconds, pss, table

from skerry.api.types import core, discovery, meta
from skerry.dns.names import Names
from skerry.dns.records import Records
from skerry.dns.server import DnsServer

ZONE = "cluster.local"


def service(number: int) -> core.Service:
    address = f"10.{100 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return core.Service(
        metadata=meta.ObjectMeta(name=f"service-{number}", namespace="default"),
        spec=core.ServiceSpec(cluster_ip=address, ports=[core.ServicePort(name="http", port=80)]),
    )


def endpoint_slice(number: int, endpoints: int) -> discovery.EndpointSlice:
    first = number * endpoints
    addresses = [f"10.{244 - (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(first, first + endpoints)]
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(labels={"kubernetes.io/service-name": f"service-{number}"}),
        address_type="IPv4",
        endpoints=[discovery.Endpoint(addresses=[one]) for one in addresses],
        ports=[discovery.EndpointPort(name="http", port=8080, protocol="TCP")],
    )


def filled(services: int, endpoints: int) -> Records:
    records = Records()
    records.apply_namespace("default", True)
    for number in range(services):
        records.apply_service(f"default/service-{number}", service(number))
        if endpoints:
            records.apply_slice(f"default/service-{number}-1", endpoint_slice(number, endpoints))
    records.synced = True
    return records


def names(services: int) -> Iterator[str]:
    for number in range(services):
        yield f"service-{number}.default.svc.{ZONE}"


def serve(services: int, endpoints: int, port: Any, cpu: int) -> None:
    """A server in a process of its own, on one core."""
    os.sched_setaffinity(0, {cpu})

    async def run() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        server = DnsServer(Names(filled(services, endpoints)))
        await server.serve(sock, None)
        port.send(sock.getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(run())


def unbound(services: int, place: Path, port: int, cpu: int) -> subprocess.Popen[bytes]:
    data = [f'  local-data: "{name}. 5 IN A {service(n).spec.cluster_ip}"' for n, name in enumerate(names(services))]
    text = [
        "server:",
        f"  interface: 127.0.0.1@{port}",
        *(f"  {line}" for line in ('username: ""', 'chroot: ""', f'directory: "{place}"', 'pidfile: ""')),
        *(f"  {line}" for line in ("num-threads: 1", "use-syslog: no", "access-control: 127.0.0.0/8 allow")),
        *(f"  {line}" for line in ('module-config: "iterator"', f'local-zone: "{ZONE}." static', "verbosity: 0")),
        *data,
        "remote-control:",
        "  control-enable: no",
    ]
    config = place / "unbound.conf"
    config.write_text("\n".join(text) + "\n")
    return subprocess.Popen(["taskset", "-c", str(cpu), "/usr/sbin/unbound", "-d", "-c", str(config)])


def ask(port: int, queries: Path, seconds: float, cpu: int) -> tuple[float, int]:
    """dnsperf's questions a second, and how many were answered. No seconds: each question once."""
    command = ["taskset", "-c", str(cpu), "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries)]
    command += ["-c", "8", "-q", "100", *(["-l", str(seconds)] if seconds else ["-n", "1"])]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Queries per second:\s+([\d.]+)", text)
    done = re.search(r"Queries completed:\s+(\d+)", text)
    lost = re.search(r"Queries lost:\s+(\d+)", text)
    codes = re.search(r"Response codes:\s+(.*)", text)
    assert rate and done and lost and codes, text
    assert "NOERROR" in codes[1] and int(lost[1]) * 1000 <= int(done[1]), text
    return float(rate[1]), int(done[1])


def answered(port: int) -> None:
    """Returns when something answers there."""
    packet = bytes(dnslib.DNSRecord.question(f"service-0.default.svc.{ZONE}").pack())
    for _ in range(600):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.1)
            sock.connect(("127.0.0.1", port))
            try:
                sock.send(packet)
                sock.recv(4096)
            except OSError:
                time.sleep(0.1)
                continue
            return
    raise SystemExit("no server answers")


def speed(services: int, endpoints: int, seconds: float, rounds: int) -> None:
    """Side by side, in turns. Ours has the endpoints (so many a Service) and all their names too."""
    cpus = sorted(os.sched_getaffinity(0))
    theirs_cpu, ours_cpu = cpus[0], cpus[-1]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        queries = place / "queries"
        asked = [f"{name} A" for name in names(services)]
        random.Random(1).shuffle(asked)
        queries.write_text("\n".join(asked) + "\n")
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        ours = context.Process(target=serve, args=(services, endpoints, there, ours_cpu), daemon=True)
        ours.start()
        port = here.recv()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            other = free.getsockname()[1]
        theirs = unbound(services, place, other, ours_cpu)
        try:
            answered(port)
            answered(other)
            for where in (port, other):  # every name once: the first answer to a name costs more, and is told apart
                ask(where, queries, 0, theirs_cpu)
            found: dict[str, list[tuple[float, float]]] = {"skerry": [], "unbound": []}
            for _ in range(rounds):
                for name, where, pid in (("skerry", port, ours.pid), ("unbound", other, theirs.pid)):
                    assert pid is not None
                    before = cpu_seconds([pid])
                    rate, done = ask(where, queries, seconds, theirs_cpu)
                    found[name].append((rate, (cpu_seconds([pid]) - before) / done))
            rows = []
            for name, rounds_of in found.items():
                rates, costs = zip(*rounds_of, strict=True)
                cost = statistics.median(costs)
                rows.append((name, f"{statistics.median(rates):.0f}", f"{cost * 1e6:.1f}", f"{1 / cost:.0f}"))
            table(
                [
                    f"{services} names, {services * endpoints} endpoints",
                    "questions/s seen",
                    "CPU a question (us)",
                    "questions/s of one core",
                ],
                rows,
            )
            ratio = statistics.median(r for r, _ in found["skerry"]) / statistics.median(r for r, _ in found["unbound"])
            print(f"skerry answers {ratio:.2f} of unbound's questions a second\n")
        finally:
            ours.terminate()
            ours.join()
            theirs.terminate()
            theirs.wait()


def memory(services: int, endpoints: int) -> None:
    """What the index of many Services and endpoints takes, and what one change in it costs."""
    here, there = multiprocessing.get_context("fork").Pipe()

    def measure() -> None:
        before = pss([os.getpid()])
        records = filled(services, endpoints)
        used = pss([os.getpid()]) - before
        changed = []
        for number in random.Random(2).sample(range(services), min(services, 1000)):
            different = endpoint_slice(number, endpoints)
            different.endpoints.pop()
            begun = time.perf_counter()
            records.apply_slice(f"default/service-{number}-1", different)
            changed.append(time.perf_counter() - begun)
        there.send((used, statistics.median(changed)))

    process = multiprocessing.get_context("fork").Process(target=measure)
    process.start()
    used, cost = here.recv()
    process.join()
    sets = services + services * endpoints  # a name with addresses each; the ways back are not counted
    each = used * 1e6 / sets
    head = ["Services", "endpoints", "MB", "bytes a record set", "one change (us)"]
    table(head, [(services, services * endpoints, f"{used:.0f}", f"{each:.0f}", f"{cost * 1e6:.0f}")])


def changes(count: int) -> None:
    """A real cluster: from the write of an EndpointSlice to the answer that shows it."""
    from tests.helpers.cluster import Cluster

    cluster = Cluster("--ephemeral")
    try:
        cluster.up()
        script = Path(__file__).with_name("dns_changes.py")
        data = cluster.status()["dataDir"]
        done = cluster.run(sys.executable, str(script), data, str(count), timeout=300)
        assert done.code == 0, done.err
        found = json.loads(done.out)
    finally:
        cluster.delete()
    rows = []
    for what, times in zip(("the write's sending", "the write's answer"), found, strict=True):
        times.sort()
        rows.append((what, len(times), *(f"{times[int(len(times) * q)] * 1000:.2f}" for q in (0.5, 0.9, 0.99))))
    table(["a changed answer, from", "changes", "p50 (ms)", "p90 (ms)", "p99 (ms)"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short run that shows that everything works")
    options = parser.parse_args()
    services, seconds, rounds = (200, 1.0, 1) if options.quick else (10_000, 5.0, 5)
    if shutil.which("dnsperf") and Path("/usr/sbin/unbound").exists():
        for size in (100, services):
            speed(size, 10, seconds, rounds)
    else:
        print("dnsperf and unbound are missing: apt-get install dnsperf unbound\n")
    memory(services, 10)
    changes(50 if options.quick else 1000)


if __name__ == "__main__":
    main()
