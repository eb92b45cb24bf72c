"""What the command line hands to the daemon: one frozen value that says what to run, and the way back for progress.

`skerry up` builds a `ClusterConfig` from its options and `cluster.json`, forks, and the child calls
`skerry.cluster.controlplane.run(config, progress)`. Imports nothing heavy: this is on the path of `up`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from skerry.cluster.errors import ClusterError
from skerry.cluster.networks import Networks
from skerry.cluster.paths import ClusterPaths


class ClusterConfig(NamedTuple):
    """Everything a control plane needs to know at start. A NamedTuple: frozen, and free to import."""

    name: str
    """The cluster's name; its kubeconfig context is `skerry-NAME`."""
    nodes: int
    """How many nodes to start; 0 runs the control plane alone."""
    paths: ClusterPaths
    """Where data, sockets, certificates, tokens and logs are; every directory in it exists (mode 0700)."""
    api_port: int
    """The port on 127.0.0.1 in the kubeconfig. `api_listener` is already bound to it."""
    api_listener: int = -1
    """File descriptor of a listening TCP socket on 127.0.0.1:`api_port`; the daemon owns it. -1: bind it yourself."""
    certificates: int = -1
    """Read end of a pipe: see `wait_for_certificates`. -1 when the files are already there."""
    kubeconfig: Path | None = None
    """The kubeconfig file that has this cluster's context, for messages only."""
    ephemeral: bool = False
    """Keep objects in memory only: no SQLite file."""
    network: str = "contained"
    """"contained": namespaces of its own. "host": the node is this machine (root)."""
    announce: tuple[str, ...] = ()
    """With "host": the interfaces on which balancers' addresses are announced; none: that of the node's address."""
    lock: int = -1
    """File descriptor of the cluster's lock, for whoever outlives the control plane."""
    store: str = ""
    """URL of an outside store; empty for the embedded one (`paths.store`)."""
    registry_mirrors: tuple[tuple[str, str], ...] = ()
    """(registry host, base URL) pairs: pulls from that host go to the URL."""
    proxy_mode: str = "auto"
    """What carries the traffic of Services: "nftables", "userspace", or the first of them that works."""
    audit_log: bool = False
    """Whether each request gets a line in `paths.audit_log`."""
    networks: Networks = Networks()
    """Which addresses nodes, pods and Services have."""

    def wait_for_certificates(self) -> None:
        """Block until the certificate files are written (the command line writes them while the daemon imports).

        ClusterError if whoever was to write them went away. Call it once, as late as possible, before `paths.pki` is
        read; it may be called from a thread.
        """
        if self.certificates < 0:
            return
        written = os.read(self.certificates, 1)
        os.close(self.certificates)
        if not written:
            raise ClusterError(
                "The certificates were not written: the command that starts the cluster was interrupted."
            )


class Progress:
    """The daemon's way to tell the person waiting at `skerry up` what has happened. Never raises: they may have left.

    `send` takes one message, a dict that becomes a line of JSON on the pipe: {"step": "api server", "seconds": 0.31},
    {"ready": true} or {"error": "one sentence"}.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._monotonic = monotonic
        self._since = monotonic()

    def step(self, name: str, seconds: float | None = None) -> None:
        """Something is done: `name` as a person would call it ("api server", "node-1", "dns").

        `seconds` is how long it took; by default the time since the step before.
        """
        now = self._monotonic()
        self._send({"step": name, "seconds": round(now - self._since if seconds is None else seconds, 4)})
        self._since = now

    def warn(self, sentence: str) -> None:
        """Something will not work on this machine, and why; the cluster starts all the same."""
        self._send({"warning": sentence})

    def ready(self) -> None:
        """API, nodes and DNS answer: `skerry up` returns now."""
        self._send({"ready": True})

    def stopping(self) -> None:
        """The cluster is about to end: `skerry up` waits for that, rather than to find it running."""
        self._send({"stopping": True})

    def error(self, sentence: str) -> None:
        """It cannot start. Whoever calls this ends right after; raising ClusterError out of `run` does both."""
        self._send({"error": sentence})
