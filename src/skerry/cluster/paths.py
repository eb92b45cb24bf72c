"""Where a cluster keeps things: names, the data directory's layout, and sockets whose paths fit the kernel's limit.

Everything of one cluster lies under one directory (`$XDG_DATA_HOME/skerry/NAME`, or `--data-dir`), so that removing it
is removing the cluster. Called by the command line, the control plane and the node processes. Imports nothing heavy:
every verb of the command line starts here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from skerry.cluster.errors import ClusterError

DEFAULT_NAME = "default"
"""The cluster that a verb without `--name` means."""

SOCKET_PATH_LIMIT = 107
"""Bytes of a unix socket's path that Linux takes (108 with the closing zero)."""

LONGEST_SOCKET_NAME = len("node-9999.sock")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def validate_name(name: str) -> str:
    """`name` if it can name a cluster (a DNS label of at most 50 bytes, for `skerry-NAME`), else ClusterError."""
    if len(name) <= 50 and _NAME.fullmatch(name):
        return name
    raise ClusterError(
        f'"{name}" cannot name a cluster: use at most 50 lower-case letters, digits and "-", '
        "beginning and ending with a letter or digit."
    )


def data_home() -> Path:
    """The directory that has one entry a cluster: `$XDG_DATA_HOME/skerry`, by default under `~/.local/share`."""
    base = os.environ.get("XDG_DATA_HOME", "")
    # The base directory specification: a relative value is to be ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return root / "skerry"


class ClusterPaths(NamedTuple):
    """The layout under one cluster's data directory. A NamedTuple, since `dataclasses` costs 10 ms to import."""

    root: Path
    run: Path
    """Sockets and what is true only while the cluster runs. `root/run`, or a short directory if that is too long."""

    @property
    def state(self) -> Path:
        """cluster.json: what the cluster is (options, port, format)."""
        return self.root / "cluster.json"

    @property
    def lock(self) -> Path:
        """Locked by whoever starts, is or removes the cluster; holds the daemon's process id."""
        return self.root / "lock"

    @property
    def marker(self) -> Path:
        """An empty file that says: what lies beside it is Skerry's, even where no cluster.json is."""
        return self.root / ".skerry"

    @property
    def store(self) -> Path:
        """The embedded store's SQLite file."""
        return self.root / "store.db"

    @property
    def pki(self) -> Path:
        """Keys and certificates: see `certificates.py`."""
        return self.root / "pki"

    @property
    def ca_certificate(self) -> Path:
        return self.pki / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.pki / "ca.key"

    @property
    def server_certificate(self) -> Path:
        """PEM: the API server's certificate followed by the authority's."""
        return self.pki / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.pki / "server.key"

    @property
    def account_key(self) -> Path:
        """What the API server signs service accounts' tokens with: 32 random bytes."""
        return self.pki / "accounts.key"

    @property
    def tokens(self) -> Path:
        """tokens.json: {token: {"user": name, "groups": [...]}}; see `tokens.py`."""
        return self.root / "tokens.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def control_plane_log(self) -> Path:
        return self.logs / "control-plane.log"

    @property
    def nodes(self) -> Path:
        """One directory a node: pods, volumes, container logs."""
        return self.root / "nodes"

    @property
    def images(self) -> Path:
        """Unpacked image layers and manifests, shared by the cluster's nodes."""
        return self.root / "images"

    @property
    def cgroups(self) -> Path:
        """The directories of the machine's cgroups that are the cluster's, one a line; see node/cgroups/subtree.py."""
        return self.root / "cgroups"

    @property
    def machine(self) -> Path:
        """With the network "host": what has to be put back of the machine's network; see cluster/machine.py."""
        return self.root / "machine"

    @property
    def api_socket(self) -> Path:
        """The API server's unix socket (plain HTTP/1.1; a bearer token is still needed)."""
        return self.run / "api.sock"

    def node(self, name: str) -> Path:
        """The data directory of node `name`."""
        return self.nodes / name

    def node_log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def node_socket(self, name: str) -> Path:
        """The node agent's unix socket: logs, exec, image loading."""
        return self.run / f"{name}.sock"


def cluster_paths(name: str, root: Path | None = None) -> ClusterPaths:
    """Paths of cluster `name`, whose data is at `root` (by default its own place under `data_home()`).

    A cluster made with `--data-dir D` is found again by its name alone: its place is then a symbolic link to D.
    """
    root = Path(os.path.realpath(root if root is not None else data_home() / name))
    return ClusterPaths(root, _run_directory(root))


def _run_directory(root: Path) -> Path:
    """`root/run` when every socket in it can be bound, else a directory of this cluster's own in a short place."""
    run = root / "run"
    if len(os.fsencode(run)) + 1 + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT:
        return run
    import hashlib

    short = "skerry-" + hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and len(os.fsencode(runtime)) < 60 and os.path.isdir(runtime):
        return Path(runtime) / short
    return Path("/tmp") / f"{short}-{os.getuid()}"  # noqa: S108 - made by `state.prepare`, which checks its owner
