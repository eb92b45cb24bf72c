"""What `skerry up` was asked for, and whether that fits the cluster that is there.

Filled in by the command line, used by lifecycle.py. Pure.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from skerry.cluster.errors import ClusterError
from skerry.cluster.networks import MAX_PODS, POD_CIDR, SERVICE_CIDR
from skerry.cluster.state import State


class Options(NamedTuple):
    """What was asked for; None and () are what was not said."""

    name: str
    nodes: int | None = None
    ephemeral: bool | None = None
    data_dir: str | None = None
    kubeconfig: str | None = None
    store: str | None = None
    network: str | None = None
    announce: str | None = None
    registry_mirrors: tuple[tuple[str, str], ...] = ()
    api_port: int | None = None
    pod_cidr: str | None = None
    service_cidr: str | None = None
    max_pods: int | None = None
    proxy_mode: str | None = None
    audit_log: bool | None = None
    foreground: bool = False


def merge(before: State | None, options: Options) -> State:
    """The state that `options` ask for: of a new cluster, or of an existing one that they must not contradict.

    ClusterError where they do, or where they do not fit each other.
    """
    if before is None:
        return _new(options)
    mirrors = dict(before.registry_mirrors)
    checks: list[tuple[str, object, object]] = [
        ("--nodes", options.nodes, before.nodes),
        ("--ephemeral", options.ephemeral, before.ephemeral),
        ("--network", options.network, before.network),
        ("--announce", options.announce, before.announce),
        ("--store", options.store, before.store),
        ("--api-port", options.api_port, before.api_port),
        ("--pod-cidr", options.pod_cidr, before.pod_cidr),
        ("--service-cidr", options.service_cidr, before.service_cidr),
        ("--max-pods", options.max_pods, before.max_pods),
        ("--proxy-mode", options.proxy_mode, before.proxy_mode),
        ("--audit-log", options.audit_log, before.audit_log),
    ]
    checks += [(f"--registry-mirror {host}", url, mirrors.get(host, url)) for host, url in options.registry_mirrors]
    for option, wanted, have in checks:
        if wanted is not None and wanted != have:
            was = f"no {option}" if have is False or have == "" else f"{option} {have}"
            raise ClusterError(
                f'Cluster "{options.name}" was made with {was}: leave the option out, choose another --name, or '
                "`skerry delete` it first."
            )
    return before._replace(registry_mirrors=tuple((mirrors | dict(options.registry_mirrors)).items()))


def _new(options: Options) -> State:
    made = State(
        name=options.name,
        nodes=1 if options.nodes is None else options.nodes,
        ephemeral=bool(options.ephemeral),
        network=options.network or "contained",
        announce=options.announce or "",
        store=options.store or "",
        api_port=options.api_port or 0,
        pod_cidr=options.pod_cidr or POD_CIDR,
        service_cidr=options.service_cidr or SERVICE_CIDR,
        max_pods=options.max_pods or MAX_PODS,
        proxy_mode=options.proxy_mode or "auto",
        audit_log=bool(options.audit_log),
        registry_mirrors=options.registry_mirrors,
        created=time.time(),
    )
    _fit(made)
    room = made.networks.nodes
    if made.nodes > room:
        raise ClusterError(
            f"--pod-cidr {made.pod_cidr} has room for {room} of the {made.nodes} nodes, since each needs a "
            f"/{made.networks.node_prefix} of it: "
            "choose a larger range."
        )
    return made


def _fit(made: State) -> None:
    """ClusterError where the rest does not go with the network that was asked for."""
    if made.network != "host":
        if made.announce:
            raise ClusterError(
                "--announce is for --network host: nobody outside can reach a contained cluster's addresses."
            )
        return
    if made.nodes != 1:
        raise ClusterError("With --network host this machine is the node, so there is one: leave out --nodes.")
    if made.networks.has_ipv6:
        raise ClusterError(
            "--network host is for IPv4 alone: give one range of it with --pod-cidr and one with --service-cidr."
        )
    if made.proxy_mode == "userspace":
        raise ClusterError("--network host carries Services with nftables: leave out --proxy-mode userspace.")
