"""Run by dns.py inside a node: an EndpointSlice is written, and DNS is asked until it says so.

    python bench/dns_changes.py DATA_DIR COUNT

Prints two JSON lists of seconds: from the write's sending, and from its answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from pathlib import Path

from skerry.api.types import core, discovery, meta
from skerry.client.client import Client
from skerry.client.http import Address, HttpTransport
from skerry.cluster import tokens
from skerry.cluster.paths import cluster_paths
from skerry.dns import wire

NAME = "changing.default.svc.cluster.local."
PAUSE = 0.0002  # seconds between two questions: the server should not be busy with them alone


async def main(root: Path, count: int) -> None:
    paths = cluster_paths("bench", root)
    token = tokens.token_of(tokens.read(paths.tokens), tokens.ADMIN)
    client = Client(HttpTransport(Address(unix=str(paths.api_socket)), token=token))
    named = meta.ObjectMeta(name="changing", namespace="default")
    ports = [core.ServicePort(name="http", port=80)]
    await client.create(core.Service(metadata=named, spec=core.ServiceSpec(cluster_ip="None", ports=ports)))
    labels = {"kubernetes.io/service-name": "changing"}
    found = await client.create(
        discovery.EndpointSlice(
            metadata=meta.ObjectMeta(name="changing-1", namespace="default", labels=labels),
            address_type="IPv4",
            endpoints=[discovery.Endpoint(addresses=["10.244.9.1"])],
        )
    )
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("10.96.0.10", 53))
    sock.settimeout(5.0)
    question = wire.question(NAME, "A", 7)
    sent, answered = [], []
    for number in range(count):
        address = f"10.244.{10 + (number >> 8)}.{number & 255}"
        found.endpoints[0].addresses = [address]
        wanted = socket.inet_aton(address)
        begun = time.perf_counter()
        found = await client.update(found)
        written = time.perf_counter()
        while True:
            sock.send(question)
            if wanted in sock.recv(4096):
                break
            await asyncio.sleep(PAUSE)
        now = time.perf_counter()
        sent.append(now - begun)
        answered.append(now - written)
        await asyncio.sleep(0.005)
    print(json.dumps([sent, answered]))


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
