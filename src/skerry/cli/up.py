"""Start a cluster, or open it again, and return when nodes and DNS are ready.

The context skerry-N goes into --kubeconfig, else $KUBECONFIG, else ~/.kube/config, and becomes the current one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

from skerry.cli import common
from skerry.cluster import lifecycle
from skerry.cluster.errors import ClusterError
from skerry.cluster.networks import MAX_PODS, POD_CIDR, SERVICE_CIDR, pod_range, service_range
from skerry.cluster.notify import Notifier
from skerry.cluster.options import Options
from skerry.cluster.paths import DEFAULT_NAME


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry up`."""
    add = parser.add_argument
    add("--name", type=common.name, default=DEFAULT_NAME, metavar="N", help="the cluster (default: %(default)s)")
    add("--nodes", type=_nodes, metavar="K", help="how many nodes (default: 1; 0: the API and the controllers alone)")
    add("--ephemeral", action="store_true", default=None, help="keep the objects in memory only")
    add("--data-dir", metavar="D", help="where data and logs go (default: $XDG_DATA_HOME/skerry/N)")
    add("--kubeconfig", metavar="F", help="the kubeconfig file that gets the context")
    add("--store", metavar="URL", help="an outside store (default: an embedded one)")
    add(
        "--network",
        choices=["contained", "host"],
        help="contained (default): in namespaces of its own; host (root): the node is this machine",
    )
    add(
        "--announce",
        metavar="IF[,IF]",
        help="with --network host: where it answers for balancers' addresses (default: where the default route leads)",
    )
    add(
        "--registry-mirror",
        type=_mirror,
        action="append",
        default=[],
        metavar="HOST=URL",
        help="pull images of registry HOST from URL instead",
    )
    add("--api-port", type=_port, metavar="P", help="the API's port on 127.0.0.1 (default: 6443 or a free one)")
    add(
        "--pod-cidr",
        type=_pods,
        metavar="CIDR",
        help=f"the pods' addresses, a /24 (IPv6: a /64) a node; two families: V4,V6 (default: {POD_CIDR})",
    )
    add(
        "--service-cidr",
        type=_services,
        metavar="CIDR",
        help=f"the Services' addresses, of the same families (default: {SERVICE_CIDR})",
    )
    add("--max-pods", type=_max_pods, metavar="N", help=f"how many pods a node takes (default: {MAX_PODS})")
    add(
        "--proxy-mode",
        choices=["auto", "nftables", "userspace"],
        help="what carries the traffic of Services (auto, the default: nftables where the kernel lets us)",
    )
    add("--audit-log", action="store_true", default=None, help="a line of JSON for each request, in logs/audit.log")
    add("--foreground", action="store_true", help="stay until the cluster ends; its log goes to this terminal")


def words(parsed: argparse.Namespace) -> list[str]:
    """The options as they could be typed again anywhere: paths are absolute. Without --foreground."""
    found = []
    for name in _SIMPLE:
        value = getattr(parsed, name)
        if value is None or (name == "name" and value == DEFAULT_NAME):
            continue
        found += [f"--{name.replace('_', '-')}", os.path.abspath(value) if name in _PATHS else str(value)]
    if parsed.ephemeral:
        found.append("--ephemeral")
    if parsed.audit_log:
        found.append("--audit-log")
    for host, url in parsed.registry_mirror:
        found += ["--registry-mirror", f"{host}={url}"]
    return found


_PATHS = ("data_dir", "kubeconfig")
_SIMPLE = (
    *("name", "nodes", *_PATHS, "store", "network", "announce", "api_port", "max_pods", "pod_cidr", "service_cidr"),
    "proxy_mode",
)
"""Options with one value."""


def run(parsed: argparse.Namespace) -> int:
    """Start it; one line a step with its time."""
    if parsed.store:
        raise ClusterError("This version has the embedded store only: leave out --store.")
    options = Options(
        name=parsed.name,
        nodes=parsed.nodes,
        ephemeral=parsed.ephemeral,
        data_dir=parsed.data_dir,
        kubeconfig=parsed.kubeconfig,
        store=parsed.store,
        network=parsed.network,
        announce=parsed.announce,
        registry_mirrors=tuple(parsed.registry_mirror),
        api_port=parsed.api_port,
        pod_cidr=parsed.pod_cidr,
        service_cidr=parsed.service_cidr,
        max_pods=parsed.max_pods,
        proxy_mode=parsed.proxy_mode,
        audit_log=parsed.audit_log,
        foreground=parsed.foreground,
    )
    manager = Notifier()
    with _interrupted_by_signals():
        started = lifecycle.start(options, _report)
    if started.already:
        print(
            f'Cluster "{started.name}" is running already;{_revived(started)} the current kubectl context is '
            f"{started.context}."
        )
        return 0
    print(
        f'Cluster "{started.name}" is ready after {started.seconds:.2f} s: {started.server}, kubectl context '
        f"{started.context} in {started.kubeconfig}.",
        flush=True,
    )
    if started.daemon is not None and parsed.foreground:
        manager.ready(f"{started.server}, kubectl context {started.context}")
        return lifecycle.stay(started.daemon, manager.stopping)
    return 0


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Whoever ends this command before the cluster is ready wants no cluster: as with ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _revived(started: lifecycle.Started) -> str:
    match started.revived:
        case ():
            return ""
        case (name,):
            return f" {name} was down and runs again;"
    return f" {', '.join(started.revived)} were down and run again;"


def _report(message: dict[str, Any]) -> None:
    if "step" in message:
        print(f"  {message['step']:20} {message['seconds']:6.2f} s", flush=True)
    elif "warning" in message:
        print(f"skerry: {message['warning']}", file=sys.stderr, flush=True)


def _nodes(text: str) -> int:
    number = _whole(text)
    if not 0 <= number <= 200:
        raise argparse.ArgumentTypeError("a cluster has 0 to 200 nodes here")
    return number


def _port(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return number


def _max_pods(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("a node takes 1 to 1000 pods")
    return number


def _pods(text: str) -> str:
    return common.checked(pod_range, text)


def _services(text: str) -> str:
    return common.checked(service_range, text)


def _whole(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number')
    return int(text)


def _mirror(text: str) -> tuple[str, str]:
    host, _, url = text.partition("=")
    if not host or "/" in host or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f'"{text}" is not HOST=URL, as in docker.io=http://127.0.0.1:5000')
    return host, url.rstrip("/")
