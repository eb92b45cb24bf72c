"""A node with client pods and a server pod, in network namespaces of its own, for bench/proxy.py and its parts.

What leads from the address of a Service to the server is for paths.py; here is what is measured over it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).parent.parent))

from skerry import linux
from skerry.netlink import namespace
from skerry.netlink.namespace import inside
from skerry.netlink.route import Routes
from skerry.node.network.pods import PodNetwork

T = TypeVar("T")

NODE_IP, SERVER_IP = "10.243.0.2", "10.244.1.9"
PORT, FIRST_PORT = 80, 8000
"""Clients connect to PORT, or to FIRST_PORT of the server itself."""
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

    def directory(self) -> Path:
        """A new one, which goes with the bench."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="skerry-bench-")))

    def serve(self, ports: int = 1) -> None:
        """nginx in the server pod."""
        directory = self.directory()
        listens = " ".join(f"listen {FIRST_PORT + n} backlog=4096;" for n in range(ports))
        config = directory / "nginx.conf"
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
