"""From an EndpointSlice changed in the API to the first connection at its endpoint, for bench/proxy.py.

The API server with its controllers is a process, `skerry proxy` another, both with their tables full. A client in a pod
connects once a millisecond until the other server answers, which adds half of one to what is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import controlplane
import paths
from paths import VIP
from place import FIRST_PORT, NODE_IP, PORT, SERVER_IP, Place

from skerry import linux
from skerry.api.types import core, discovery
from skerry.client.client import Client
from skerry.netlink.namespace import inside


def _answer(listener: socket.socket, letter: bytes) -> None:
    while True:
        with listener.accept()[0] as one:
            one.send(letter)


def _look(client: int, told: Any) -> None:
    """Connects until the letter it is told is what answers; says when that was."""
    inside_of(client)
    while True:
        wanted = told.recv()
        while True:
            with socket.socket() as one:
                one.settimeout(5)
                one.connect((VIP, PORT))
                if one.recv(1) == wanted:
                    told.send(time.monotonic())
                    break
            time.sleep(0.001)


def inside_of(netns: int) -> None:
    linux.setns(netns, linux.CLONE_NEWNET)


async def to_connection(count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from an EndpointSlice being sent, and from its being stored, to the first connection at its endpoint."""
    seed: list[Any] = [node_object()]
    for one, part in paths.services(count, 5):
        seed += [stored(one), stored(part)]
    seed.append(stored(paths.service("web", VIP)))
    async with contextlib.AsyncExitStack() as stack:
        sync = stack.enter_context(contextlib.ExitStack())
        place = Place(sync, netns=os.open("/proc/self/ns/net", os.O_RDONLY))
        context = multiprocessing.get_context("fork")
        pods = [place.server, place.clients[1]]
        addresses = [SERVER_IP, "10.244.1.11"]
        for pod, ip, letter in zip(pods, addresses, (b"A", b"B"), strict=True):
            listener = inside(pod, lambda ip=ip: socket.create_server((ip, FIRST_PORT), backlog=4096))
            process = context.Process(target=_answer, args=(listener, letter), daemon=True)
            process.start()
            sync.callback(process.terminate)
        seed.append(stored(paths.slice_of("web", addresses[1], port=FIRST_PORT)))
        running = await stack.enter_async_context(controlplane.serving(seed))
        directory = Path(sync.enter_context(tempfile.TemporaryDirectory()))
        config = directory / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "current-context": "b",
                    "contexts": [{"name": "b", "context": {"cluster": "b", "user": "b"}}],
                    "clusters": [{"name": "b", "cluster": {"server": f"http://127.0.0.1:{running.port}"}}],
                    "users": [{"name": "b", "user": {"token": controlplane.TOKEN}}],
                }
            )
        )
        command = ["-m", "skerry.cli.main", "proxy", "--kubeconfig", str(config), "--node", "node-1"]
        command += ["--service-cidr", "10.96.0.0/12", "--cluster-cidr", "10.244.0.0/16"]
        proxy = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
        assert proxy.stderr is not None
        while b"proxying for" not in (line := await proxy.stderr.readline()):
            assert line, "the proxy ended"
        await settled(running.client)
        mine, theirs = context.Pipe()
        looking = context.Process(target=_look, args=(place.clients[0], theirs), daemon=True)
        looking.start()
        sync.callback(looking.terminate)
        sent, kept = [], []
        for n in range(rounds + 5):
            held = await running.client.get(discovery.EndpointSlice, "web-0", "default")
            wanted = paths.slice_of("web", addresses[n % 2], port=FIRST_PORT)
            held.endpoints = wanted.endpoints
            mine.send((b"A", b"B")[n % 2])
            await asyncio.sleep(0.02)
            begun = time.monotonic()
            await running.client.update(held)
            answered = time.monotonic()
            seen = await asyncio.to_thread(mine.recv)
            if n >= 5:
                sent.append(seen - begun)
                kept.append(seen - answered)
        proxy.terminate()
        await proxy.wait()
    return sent, kept


async def settled(client: Client) -> None:
    """Returns when all Services have the condition that the proxy programmed them: nobody writes any more."""
    while True:
        every = (await client.list(core.Service)).items
        mine = (one.status.conditions for one in every if one.metadata.namespace == "default")
        if all(any((one.type, one.status) == ("Programmed", "True") for one in found) for found in mine):
            return
        await asyncio.sleep(1)


def stored(one: Any) -> Any:
    one.metadata.uid = f"uid-{one.kind}-{one.metadata.name}"
    one.metadata.creation_timestamp = controlplane.CREATED
    return one


def node_object() -> core.Node:
    made = controlplane.node()
    made.status.addresses = [core.NodeAddress(type="InternalIP", address=NODE_IP)]
    return made
