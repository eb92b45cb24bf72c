"""Ingress: requests per second beside the same Envoy with a configuration written by hand, how soon a change of
endpoints is in force, and how it grows. And how soon the port of a LoadBalancer is open on this machine.

    python bench/ingress.py [--quick]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

from skerry.api.types import core, meta
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.cluster import tokens
from skerry.cluster.paths import cluster_paths

SKERRY = [sys.executable, "-m", "skerry.cli.main"]


def skerry(*words: str) -> str:
    done = subprocess.run([*SKERRY, *words], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        sys.exit(f"skerry {words[0]}: {done.stderr}")
    return done.stdout


async def ports(data: str, count: int) -> list[float]:
    """Milliseconds from the sending of a new LoadBalancer to a connection to its port, sorted."""
    paths = cluster_paths("bench", Path(data))
    token = tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN)
    transport = HttpTransport(Address(unix=str(paths.api_socket)), token=token)
    client, times = Client(transport), []
    for number in range(count):
        port = 20_000 + number  # one that was not open before: addresses come again
        spec = core.ServiceSpec(type="LoadBalancer", ports=[core.ServicePort(port=port, protocol="TCP")])
        made = core.Service(metadata=meta.ObjectMeta(name=f"balanced-{number}", namespace="default"), spec=spec)
        begun = time.perf_counter()
        found = await client.create(made)
        while not found.status.load_balancer.ingress:
            found = await client.get(core.Service, made.metadata.name, "default")
        address = found.status.load_balancer.ingress[0].ip
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                with contextlib.suppress(ConnectionResetError):  # taken, and ended: there are no endpoints
                    socket.create_connection((address, port), 1).close()
                break
            await asyncio.sleep(0.0005)
        times.append((time.perf_counter() - begun) * 1000)
        await client.delete(core.Service, made.metadata.name, "default")
        await asyncio.sleep(0.05)
    await transport.close()
    return sorted(times)


def main() -> None:
    size = "quick" if "--quick" in sys.argv else "full"
    with tempfile.TemporaryDirectory() as directory:
        data = f"{directory}/data"
        where = ("--name", "bench-ingress", "--data-dir", data, "--kubeconfig", f"{directory}/kubeconfig")
        try:
            skerry("up", "--ephemeral", *where)
            opened = asyncio.run(ports(data, 20 if size == "quick" else 200))
            inside = str(Path(__file__).with_name("ingress_inside.py"))
            found = json.loads(skerry("run", "--name", "bench-ingress", "--", sys.executable, inside, data, size))
        finally:
            skerry("delete", "--name", "bench-ingress")
    print("## Requests per second: wrk, 32 connections that are kept, nginx behind\n")
    rows = []
    best, least = (statistics.median(one[which] for one in found["alone"]) for which in (0, 1))
    names = ("Ingress", "through"), ("Envoy, static, with an edge's options", "alike"), ("Envoy, static, bare", "alone")
    for name, key in names:
        rate, cpu = (statistics.median(one[which] for one in found[key]) for which in (0, 1))
        rows.append((name, f"{rate:.0f}", f"{rate / best:.2f}", f"{cpu:.0f}", f"{cpu / least:.2f}"))
    common.table(("", "median", "of bare", "Envoy's CPU, us each", "of bare"), rows)
    print(f"{found['failed']} requests failed. First Ingress to first answer: {found['first']:.2f} s.\n")
    print("## A change of endpoints, from the write's sending to the first request that goes by it; milliseconds\n")
    rows = [
        (one["ingresses"], f"{one['p50']:.1f}", f"{one['p99']:.1f}", f"{one['new']:.1f}", f"{one['memory']:.0f}")
        for one in found["sizes"]
    ]
    common.table(("Ingresses", "p50", "p99", "a new Ingress", "Envoy, MB"), rows)
    print("## The port of a LoadBalancer on this machine, from the Service's sending to a connection; milliseconds\n")
    row = (len(opened), *(f"{opened[int(len(opened) * one)]:.1f}" for one in (0.5, 0.99)), f"{opened[-1]:.1f}")
    common.table(("Services", "p50", "p99", "most"), [row])


if __name__ == "__main__":
    main()
