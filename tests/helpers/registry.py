"""A real registry (Debian's docker-registry) on a free loopback port, for as long as a `with` block lasts."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = """\
auth:
  htpasswd: {{realm: tests, path: {root}/htpasswd}}
"""
USER = ("me", "secret")
"""Of a registry with `users`."""
_HTPASSWD = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


@contextlib.contextmanager
def docker_registry(directory: Path, *, users: bool = False) -> Iterator[str]:
    """Its address, `http://127.0.0.1:PORT`. Skips the test where docker-registry is not installed.

    `users`: it serves USER alone.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "config.yml"
    config.write_text(
        _CONFIG.format(root=directory / "data", port=port) + (_AUTH.format(root=directory) if users else "")
    )
    (directory / "htpasswd").write_text(_HTPASSWD)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait(port, process, directory / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"docker-registry ended: {log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)  # its port is the only sign of life it gives
    raise TimeoutError("docker-registry does not listen")
