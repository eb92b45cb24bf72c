"""Clients that count every request that fails, and the servers they ask. Called by the tests of rolling updates.

The programs run inside pods (`image: host`), so they are texts here; only the standard library is there.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.kubectl import Kubectl

CLIENT = r"""
import asyncio, collections, json, sys, time

address, port, clients, kept = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "keep-alive"
PATIENCE = 10.0
loop = None
failures, examples, backends = collections.Counter(), [], collections.Counter()
good, slowest, stopping, began = 0, 0.0, False, time.time()
REQUEST = b"GET /hostname HTTP/1.1\r\nHost: x\r\n" + (b"" if kept else b"Connection: close\r\n") + b"\r\n"


class Answer(asyncio.Protocol):
    # One connection. `done`: resolves to what went wrong with the request under way, "" if nothing did.
    def __init__(self):
        self.done, self.data, self.closes, self.lost, self.name = None, b"", False, False, ""

    def connection_made(self, transport):
        self.transport = transport

    def ask(self):
        self.data, self.done = b"", loop.create_future()
        self.transport.write(REQUEST)
        return self.done

    def data_received(self, data):
        self.data += data
        head, gap, body = self.data.partition(b"\r\n\r\n")
        if not gap:
            return
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields[b"content-length"]):
            return
        self.closes = fields.get(b"connection") == b"close"
        self.name = body.decode().strip()
        if kept or not self.closes:
            self.end("" if head.startswith(b"HTTP/1.1 200") else "status " + head[9:12].decode())

    def connection_lost(self, error):
        self.lost = True
        head, gap, body = self.data.partition(b"\r\n\r\n")
        whole = bool(self.name) and error is None
        what = type(error).__name__ if error else "closed"
        self.end("" if whole and not kept else "%s after %d bytes" % (what, len(self.data)))

    def end(self, problem):
        if self.done is not None and not self.done.done():
            self.done.set_result(problem)


def failed(what, connection):
    failures[what] += 1
    if len(examples) < 20:
        local = connection.transport.get_extra_info("sockname") if connection else None
        examples.append([round(time.time(), 4), what, local and local[1]])


async def client():
    global good, slowest
    connection = None
    while not stopping:
        at, problem = time.time(), ""
        try:
            async with asyncio.timeout(PATIENCE):
                if connection is None or connection.lost:
                    connection = None
                    _, connection = await loop.create_connection(Answer, address, port)
                problem = await connection.ask()
        except TimeoutError:
            problem = "timed out with" + ("" if connection else "out") + " a connection"
        except OSError as error:
            problem = type(error).__name__ + " " + str(error.errno)
        slowest = max(slowest, time.time() - at)
        if problem:
            failed(problem, connection)
        else:
            good += 1
            backends[connection.name] += 1
        if connection and (problem or not kept or connection.closes):
            connection.transport.close()
            connection = None


async def progress():
    while not stopping:
        print(json.dumps({"good": good, "failed": sum(failures.values())}), flush=True)
        await asyncio.sleep(0.2)


async def main():
    global loop, stopping
    loop = asyncio.get_running_loop()
    work = [asyncio.create_task(client()) for _ in range(clients)] + [asyncio.create_task(progress())]
    await loop.run_in_executor(None, sys.stdin.read)
    stopping = True
    await asyncio.gather(*work)
    print(json.dumps({"good": good, "failures": failures, "examples": examples, "slowest": slowest,
                      "seconds": time.time() - began, "backends": backends}), flush=True)


asyncio.run(main())
"""
"""ADDRESS PORT CLIENTS keep-alive|close: asks until its standard input ends, then says how it went."""

SERVER = r"""
import asyncio, os, signal, socket, sys

drains = sys.argv[1] == "drains"
NAME = socket.gethostname().encode()
open_ones, stopping = set(), False


class Web(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data, self.working = transport, b"", False
        open_ones.add(self)

    def connection_lost(self, error):
        open_ones.discard(self)
        if stopping and not open_ones:
            loop.call_soon(loop.stop)

    def data_received(self, data):
        self.data += data
        if b"\r\n\r\n" in self.data and not self.working:
            self.working = True
            loop.call_later(0.01, self.answer)

    def answer(self):
        close = stopping or b"connection: close" in self.data.lower()
        self.data, self.working = b"", False
        last = b"Connection: close\r\n" if close else b""
        self.transport.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (last, len(NAME), NAME))
        if close:
            self.transport.close()


def stop():
    # Serves on, and closes each connection after its next answer; who does not come for it within 5 s is too late.
    global stopping
    stopping = True
    loop.call_later(5, loop.stop)
    if not open_ones:
        loop.stop()


loop = asyncio.new_event_loop()
# It is the first process of its namespace: without a handler the kernel would keep the signal from it.
loop.add_signal_handler(signal.SIGTERM, stop if drains else lambda: os._exit(0))
loop.run_until_complete(loop.create_server(Web, None, 80, backlog=1024))
loop.run_forever()
"""
"""A web server that takes 10 ms an answer. `dies`: SIGTERM ends it at once; `drains`: it finishes what it has."""


@dataclass
class Outcome:
    """What some clients saw together."""

    good: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[Any] = field(default_factory=list)
    backends: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failures.total()

    def __str__(self) -> str:
        rate = self.good / self.seconds if self.seconds else 0
        return (
            f"{self.failed} of {self.good + self.failed} failed in {self.seconds:.1f} s ({rate:.0f}/s, slowest "
            f"{self.slowest:.2f} s): {dict(self.failures)}, for example {self.examples[:5]}"
        )


class Clients:
    """Clients that run in pods; `finish` ends them."""

    def __init__(self, running: Sequence[subprocess.Popen[str]]) -> None:
        self._running = running
        self._said = [""] * len(running)
        self._news = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=each) for each in enumerate(running)]
        for one in self._readers:
            one.start()

    def _read(self, number: int, one: subprocess.Popen[str]) -> None:
        assert one.stdout is not None
        for line in one.stdout:
            with self._news:
                self._said[number] = line
                self._news.notify_all()

    @property
    def good(self) -> int:
        """The answers so far."""
        return sum(json.loads(one)["good"] for one in self._said if one)

    @property
    def failed(self) -> int:
        """The requests so far that had no good answer."""
        return sum(json.loads(one)["failed"] for one in self._said if one)

    def until(self, count: int, seconds: float = 60.0) -> None:
        """Returns when there have been so many answers since the beginning."""
        with self._news:
            assert self._news.wait_for(lambda: self.good >= count, seconds), f"{self.good} answers in {seconds} s"

    def finish(self) -> Outcome:
        """Lets all end the request they are at; what they saw."""
        found = Outcome()
        for one in self._running:
            assert one.stdin is not None
            one.stdin.close()
        for number, one in enumerate(self._running):
            self._readers[number].join(30)
            assert one.stderr is not None
            assert one.wait(30) == 0, one.stderr.read()
            said = json.loads(self._said[number])
            found.good += said["good"]
            found.seconds = max(found.seconds, said["seconds"])
            found.slowest = max(found.slowest, said["slowest"])
            found.failures += Counter(said["failures"])
            found.examples += said["examples"]
            found.backends += Counter(said["backends"])
        return found

    def end(self) -> None:
        for one, reader in zip(self._running, self._readers, strict=True):
            if one.poll() is None:
                one.kill()
            reader.join(30)
            for pipe in (one.stdin, one.stdout, one.stderr):
                if pipe is not None:
                    pipe.close()
            one.wait(30)


@contextlib.contextmanager
def clients(
    kubectl: Kubectl, pods: Sequence[str], address: str, count: int, *, keep_alive: bool = False
) -> Iterator[Clients]:
    """`count` clients, spread over these pods (of `client_pod`), that ask `address`:80 until `finish`."""
    how = "keep-alive" if keep_alive else "close"
    running = []
    for number, pod in enumerate(pods):
        share = count // len(pods) + (number < count % len(pods))
        command = [kubectl.argv0, "exec", "-i", pod, "--", "python3", "-c", CLIENT, address, "80", str(share), how]
        running.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=kubectl.env(),
            )
        )  # fmt: skip
    found = Clients(running)
    try:
        yield found
    finally:
        found.end()


def client_pod(name: str, node: str) -> dict[str, Any]:
    """A pod on a node in which clients can run."""
    main = {"name": "main", "image": "host", "command": ["sleep", "100000"]}
    spec = {"containers": [main], "nodeName": node, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def python_server(*, drains: bool = False) -> dict[str, Any]:
    """A container that serves; see SERVER."""
    command = ["python3", "-c", SERVER, "drains" if drains else "dies"]
    return {"name": "web", "image": "host", "command": command}


def deployment(name: str, container: dict[str, Any], replicas: int, **annotations: str) -> list[dict[str, Any]]:
    """A Deployment with a readiness probe, and the Service before it."""
    probe = {"httpGet": {"port": 80, "path": "/hostname"}, "periodSeconds": 1}
    template = {
        "metadata": {"labels": {"app": name}, "annotations": annotations},
        "spec": {"containers": [container | {"readinessProbe": probe}]},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    service = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
    ]
