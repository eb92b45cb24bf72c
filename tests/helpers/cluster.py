"""A real cluster, started by the real command line in a home of its own. Called by the end-to-end tests and benches."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.helpers.kubectl import MINORS, Done, Kubectl

SKERRY = [sys.executable, "-m", "skerry.cli.main"]
T = TypeVar("T")


class Cluster:
    """One cluster: its own home, kubeconfig and name, so that nothing of the person's own is touched."""

    def __init__(self, *options: str, name: str = "") -> None:
        # Short, since unix sockets lie below it; a test of long paths makes its own.
        self.home = Path(tempfile.mkdtemp(prefix="skerry-e2e-"))
        self.name = name or "e2e-" + uuid.uuid4().hex[:8]
        # A port of its own: 6443, which it had else, might be another test's by the time it is opened again.
        self.options = options if "--api-port" in options else (*options, "--api-port", str(free_port()))
        self.kubeconfig = self.home / "kubeconfig"
        self.environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "KUBECONFIG": str(self.kubeconfig),
            "LANG": "C.UTF-8",
        }
        self.data = self.home / "data" / "skerry" / self.name
        self.output = ""
        """What `skerry up` printed."""

    def skerry(
        self, verb: str, *arguments: str, name: bool = True, timeout: float = 120, stdin: str | None = None
    ) -> Done:
        """Run `skerry VERB --name NAME ARGUMENTS`; any exit code is an answer."""
        command = [*SKERRY, verb, *(["--name", self.name] if name else []), *arguments]
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.environment,
            cwd="/",
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def up(self, *more: str) -> str:
        """Start it and wait until it is ready, which `up` itself does. AssertionError with the log if it fails."""
        done = self.skerry("up", *self.options, *more)
        assert done.code == 0, f"skerry up: exit {done.code}\n{done.out}\n{done.err}\n{self.logs()}"
        self.output = done.out
        return done.out

    def down(self) -> None:
        """Stop it; the data stays."""
        done = self.skerry("down")
        assert done.code == 0, f"skerry down: exit {done.code}\n{done.err}\n{self.logs()}"

    def delete(self) -> None:
        """Delete it and its home."""
        done = self.skerry("delete")
        assert done.code == 0, f"skerry delete: exit {done.code}\n{done.err}\n{self.logs()}"
        left = sorted(str(path) for path in (self.home / "data").glob("skerry/*"))
        shutil.rmtree(self.home)
        assert left == [], f"skerry delete left {left}"

    def run(self, *command: str, namespace: str = "default", timeout: float = 60) -> Done:
        """Run a command of this machine inside the cluster's network."""
        return self.skerry("run", "-n", namespace, "--", *command, timeout=timeout)

    def status(self) -> dict[str, Any]:
        """What `skerry status -o json` says."""
        done = self.skerry("status", "-o", "json")
        assert done.code == 0, done.err
        found: dict[str, Any] = json.loads(done.out)
        return found

    def kubectl(self, minor: str = MINORS[-1]) -> Kubectl:
        """kubectl of that minor against this cluster."""
        return Kubectl(minor, self.kubeconfig, {})

    def logs(self, lines: int = 60) -> str:
        """The ends of all its logs."""
        parts = []
        for path in sorted(self.data.glob("logs/*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path.name}\n" + "\n".join(tail))
        return "\n".join(parts)

    def report(self) -> str:
        """What somebody who looks into a failed test wants to see: objects, events and logs."""
        kubectl = self.kubectl()
        parts = []
        for what in (("get", "pods,services,deployments,endpointslices", "-A", "-o", "wide"), ("get", "events", "-A")):
            try:
                done = kubectl.run(*what, timeout=10)
                parts.append(f"--- kubectl {' '.join(what)}\n{done.out}{done.err}")
            except subprocess.TimeoutExpired:
                parts.append(f"--- kubectl {' '.join(what)} did not answer")
        return "\n".join([*parts, self.logs()])


def free_port() -> int:
    """A port of this machine's loopback that nobody has, and that the kernel gives to nobody unasked."""
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def eventually(call: Callable[[], T], seconds: float = 30.0, what: str = "") -> T:
    """The first answer of `call` that is true and no AssertionError, asked for again and again for at most `seconds`.

    For what can only be looked at from outside (a connection, a process that has gone); where there is an event to wait
    for (`kubectl wait`, a watch), that is better.
    """
    until = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        problem = ""
        try:
            found = call()
            if found:
                return found
            problem = f"last answer: {found!r}"
        except AssertionError as error:
            problem = str(error)
        if time.monotonic() >= until:
            raise AssertionError(f"{what or 'it'} did not come about within {seconds:.0f} s; {problem}")
        pause.wait(0.02)
