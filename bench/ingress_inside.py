"""Run by ingress.py inside a node: requests through Ingress and through an Envoy with a configuration written by hand,
beside it; endpoints that change; Ingresses that become many.

    python bench/ingress_inside.py DATA_DIR quick|full

Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import cpu_seconds

from skerry.api.types import core, discovery, meta, networking
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.cluster import tokens
from skerry.cluster.nodeingress import HTTP
from skerry.cluster.paths import cluster_paths
from skerry.gateway.program import program

NODE, ALONE, ALIKE = "10.243.0.2", 18080, 18081
BACKENDS = (9001, 9002)
NGINX = """
user root; worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000;
  server {{ listen 10.243.0.2:9001; location / {{ return 200 "a"; }} }}
  server {{ listen 10.243.0.2:9002; location / {{ return 200 "b"; }} }} }}
"""


def static(port: int, *, alike: bool) -> dict[str, Any]:
    """Envoy's configuration for one host and one cluster, as the manual has it.

    `alike`: with what an edge needs besides, and Ingress has: headers about the client, checked paths, retries, times.
    """
    at = {"socket_address": {"address": NODE, "port_value": port}}
    end = {"endpoint": {"address": {"socket_address": {"address": NODE, "port_value": BACKENDS[0]}}}}
    types = "type.googleapis.com/envoy.extensions.filters"
    host: dict[str, Any] = {"name": "bench", "domains": ["*"]}
    host["routes"] = [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}]
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}},
        ],
    }
    if alike:
        forwarded = {"header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"}}
        host["request_headers_to_add"] = [forwarded]
        host["retry_policy"] = {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 3}
        host["routes"][0]["route"] |= {"timeout": "0s", "idle_timeout": "60s"}
        manager |= {
            "use_remote_address": True,
            "append_x_forwarded_port": True,
            "normalize_path": True,
            "strip_any_host_port": True,
            "request_headers_timeout": "60s",
            "stream_idle_timeout": "60s",
            "common_http_protocol_options": {"idle_timeout": "75s"},
        }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    cluster = {
        "name": "web",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": [end]}]},
    }
    return {"static_resources": {"listeners": [{"address": at, "filter_chains": [chain]}], "clusters": [cluster]}}


@contextlib.contextmanager
def running(*command: str) -> Iterator[int]:
    """In a session of its own as Ingress' Envoy is: the kernel shares processors among sessions (autogroups)."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def wrk(port: int, seconds: int, pid: int) -> tuple[float, float, int]:
    """Requests per second, microseconds of CPU time that each took this process, and how many failed."""
    used = cpu_seconds([pid])
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-H", "Host: h0.example", f"http://{NODE}:{port}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    rate = float(re.search(r"Requests/sec: +([\d.]+)", said)[1])  # type: ignore[index]
    count = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    return rate, (cpu_seconds([pid]) - used) * 1e6 / count, int(failed[1]) if failed else 0


class Asker:
    """One connection that is kept."""

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(NODE, HTTP)

    async def ask(self, host: str = "h0.example") -> bytes:
        self.writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        return await self.reader.readexactly(length)

    async def until(self, wanted: bytes, host: str = "h0.example") -> None:
        while await self.ask(host) != wanted:  # noqa: ASYNC110  (what is asked is Envoy)
            await asyncio.sleep(0.0005)


def slice_of(number: int) -> discovery.EndpointSlice:
    labels = {"kubernetes.io/service-name": f"s{number}"}
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(name=f"s{number}", namespace="default", labels=labels),
        address_type="IPv4",
        endpoints=[discovery.Endpoint(addresses=[NODE])],
        ports=[discovery.EndpointPort(name="", port=BACKENDS[0], protocol="TCP")],
    )


def ingress(number: int) -> networking.Ingress:
    named = networking.IngressServiceBackend(name=f"s{number}", port=networking.ServiceBackendPort(number=80))
    path = networking.HTTPIngressPath(path="/", path_type="Prefix", backend=networking.IngressBackend(service=named))
    rule = networking.IngressRule(host=f"h{number}.example", http=networking.HTTPIngressRuleValue(paths=[path]))
    return networking.Ingress(
        metadata=meta.ObjectMeta(name=f"i{number}", namespace="default"), spec=networking.IngressSpec(rules=[rule])
    )


async def add(client: Client, number: int) -> None:
    spec = core.ServiceSpec(cluster_ip="None", ports=[core.ServicePort(port=80)])
    named = meta.ObjectMeta(name=f"s{number}", namespace="default")
    await client.create(core.Service(metadata=named, spec=spec))
    await client.create(slice_of(number))
    await client.create(ingress(number))


async def changes(client: Client, asker: Asker, count: int) -> list[float]:
    """Milliseconds from the sending of a change of endpoints to the first request that goes by it."""
    found = await client.get(discovery.EndpointSlice, "s0", "default")
    times = []
    for number in range(count):
        turn = (number + 1) % 2
        found.ports[0].port = BACKENDS[turn]
        begun = time.perf_counter()
        found = await client.update(found)
        await asker.until(b"ab"[turn : turn + 1])
        times.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(0.01)
    found.ports[0].port = BACKENDS[0]
    await client.update(found)
    await asker.until(b"a")
    return times


def envoy_of(root: Path) -> int:
    """The process of the cluster's Envoy."""
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and str(root / "run" / "gw").encode() in Path(f"/proc/{entry}/cmdline").read_bytes():
                return int(entry)
    raise SystemExit("Envoy does not run")


def memory(pid: int) -> float:
    """In MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]


async def main(root: Path, quick: bool) -> None:
    paths = cluster_paths("bench", root)
    token = tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN)
    client = Client(HttpTransport(Address(unix=str(paths.api_socket)), token=token))
    threads = str(max(1, min(4, os.cpu_count() or 1)))
    out: dict[str, Any] = {"through": [], "alike": [], "alone": [], "failed": 0, "sizes": []}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        write(f"{directory}/nginx.conf", NGINX.format(directory=directory))
        stack.enter_context(running("nginx", "-c", f"{directory}/nginx.conf", "-e", f"{directory}/log"))

        def beside(name: str, port: int, *, alike: bool) -> int:
            write(f"{directory}/{name}.json", json.dumps(static(port, alike=alike)))
            more = ("--concurrency", threads, "--disable-hot-restart", "--log-level", "error")
            return stack.enter_context(running(program(), "-c", f"{directory}/{name}.json", *more))

        ways = [
            ("alone", ALONE, beside("alone", ALONE, alike=False)),
            ("alike", ALIKE, beside("alike", ALIKE, alike=True)),
        ]
        asker = Asker()
        begun = time.perf_counter()
        await add(client, 0)
        while True:
            with contextlib.suppress(OSError):
                await asker.open()
                break
            await asyncio.sleep(0.002)
        await asker.until(b"a")
        out["first"] = time.perf_counter() - begun
        for _ in range(2 if quick else 5):
            for name, port, pid in (("through", HTTP, envoy_of(root)), *ways):
                rate, cpu, failed = wrk(port, 2 if quick else 5, pid)
                out[name].append((rate, cpu))
                out["failed"] += failed
        asker.writer.close()
        await asker.open()  # meanwhile the first was idle for so long that Envoy is about to close it
        have = 1
        for size in (10, 50) if quick else (10, 100, 1000):
            for number in range(have, size):
                await add(client, number)
            await asker.until(b"a", f"h{size - 1}.example")
            have = size
            new = []
            for _ in range(2 if quick else 10):
                begun = time.perf_counter()
                await add(client, have)
                await asker.until(b"a", f"h{have}.example")
                new.append((time.perf_counter() - begun) * 1000)
                have += 1
            times = sorted(await changes(client, asker, 30 if quick else 300))
            out["sizes"].append(
                {
                    "ingresses": size,
                    "p50": statistics.median(times),
                    "p99": times[int(len(times) * 0.99)],
                    "new": statistics.median(new),
                    "memory": memory(envoy_of(root)),
                }
            )
    print(json.dumps(out))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "quick"))
