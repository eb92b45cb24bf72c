"""A person's home directory for tests of a cluster's life, with a control plane that is only a process."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.cluster import daemon, lifecycle
from skerry.cluster.config import ClusterConfig, Progress
from skerry.cluster.options import Options


def serve(config: ClusterConfig, progress: Progress) -> None:
    """A control plane that waits for its certificates, then answers on the API's socket until SIGTERM."""
    config.wait_for_certificates()
    api = socket.socket(socket.AF_UNIX)
    api.bind(str(config.paths.api_socket))
    api.listen()
    assert config.paths.server_certificate.exists() and config.paths.tokens.exists()
    progress.step("API server")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    progress.ready()
    while True:
        connection, _ = api.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()


class Home:
    """A person's home directory, and what they have started in it."""

    def __init__(self, path: Path) -> None:
        self.kubeconfig = path / "kubeconfig"
        self.said: list[dict[str, Any]] = []
        self._started: list[str] = []

    def start(self, name: str = "x", **options: Any) -> lifecycle.Started:
        self._started.append(name)
        options.setdefault("nodes", None)
        return lifecycle.start(Options(name=name, **options), self.said.append)

    def context(self) -> str:
        return str(yaml.safe_load(self.kubeconfig.read_text())["current-context"])

    def end(self) -> None:
        for name in self._started:
            lifecycle.delete(name)


def port_of(started: lifecycle.Started) -> int:
    return urllib.parse.urlparse(started.server).port or 0


def taken_port() -> tuple[socket.socket, int]:
    taken = socket.create_server(("127.0.0.1", 0))
    return taken, taken.getsockname()[1]


def become(control_plane: Callable[[ClusterConfig, Progress], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "control_plane", control_plane)


def until(call: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not call():
        assert time.monotonic() < end


def killed(work: Callable[[], object]) -> None:
    """A child of ours does this and is killed where it would not return."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
