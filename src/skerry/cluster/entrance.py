"""The way into a running cluster from outside: which process is which node's first, and running a program in a node.

The control plane announces its nodes' processes in `nodes.json` beside the sockets; `skerry run` and `skerry shell`
read it.
"""

from __future__ import annotations

import json

from skerry.cluster import lifecycle, state
from skerry.cluster.errors import ClusterError
from skerry.cluster.files import write_private
from skerry.cluster.paths import ClusterPaths

DOMAIN = "cluster.local"
_FILE = "nodes.json"


def announce(paths: ClusterPaths, nodes: dict[str, int]) -> None:
    """Say which process is each node's first (in the host's PID namespace). Called by the control plane."""
    table = {name: {"pid": pid, "start": state.start_time(pid)} for name, pid in nodes.items()}
    write_private(paths.run / _FILE, json.dumps(table).encode())


def node_processes(paths: ClusterPaths) -> dict[str, int]:
    """Each running node's first process, by the node's name, in the order of their numbers."""
    try:
        table = json.loads((paths.run / _FILE).read_bytes())
    except FileNotFoundError:
        return {}
    alive = {name: row["pid"] for name, row in table.items() if state.start_time(row["pid"]) == row["start"]}
    return dict(sorted(alive.items(), key=lambda item: (len(item[0]), item[0])))


def run(name: str, namespace: str, command: list[str]) -> int:
    """Run `command` inside the first node of cluster `name`; its exit code. ClusterError if that cannot be."""
    from skerry.cluster.inside import run_inside
    from skerry.node.resolvconf import of_namespace

    paths, found = lifecycle.existing(name)
    option = "" if name == "default" else f" --name {name}"
    if state.holder(paths) is None:
        raise ClusterError(f'Cluster "{name}" is not running: `skerry up{option}` starts it.')
    if found.nodes == 0:
        raise ClusterError(f'Cluster "{name}" has no nodes (--nodes 0), so there is no network to run in.')
    nodes = node_processes(paths)
    if not nodes:
        raise ClusterError(f'No node of cluster "{name}" is running: see the logs in {paths.logs}.')
    dns = found.networks.dns_ip
    return run_inside(next(iter(nodes.values())), command, of_namespace(namespace, [dns], DOMAIN, _host_conf()))


def _host_conf() -> str:
    try:
        with open("/etc/resolv.conf") as file:
            return file.read()
    except OSError:
        return ""
