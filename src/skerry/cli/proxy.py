"""Proxy the Services of any Kubernetes on this machine, in place of kube-proxy.

  skerry proxy --kubeconfig /etc/kubernetes/proxy.conf --node worker-1
  skerry proxy --cleanup

It runs in the foreground, as root, in the network namespace it is started in, and needs to list and watch Services,
EndpointSlices and Nodes. When it ends, what it wrote into the kernel stays, and the next one goes on from there;
--cleanup removes it.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from collections.abc import Callable

HEALTH, METRICS = "0.0.0.0:10256", "127.0.0.1:10249"
USAGE = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry proxy`."""
    parser.add_argument("--kubeconfig", metavar="F", help="how to reach the API server")
    parser.add_argument("--context", default="", metavar="C", help="this context of the file, not the current one")
    parser.add_argument(
        "--node", default=os.uname().nodename.lower(), metavar="N", help="this machine's Node (default: its host name)"
    )
    parser.add_argument(
        "--service-cidr", type=_ranges, default=(), metavar="CIDR[,CIDR]",
        help="the range of cluster IPs (default: what the API server's ServiceCIDRs say)",
    )  # fmt: skip
    parser.add_argument(
        "--cluster-cidr", type=_ranges, default=(), metavar="CIDR[,CIDR]",
        help="where pods have their addresses: who comes to a cluster IP from elsewhere is masqueraded",
    )  # fmt: skip
    parser.add_argument(
        "--nodeport-addresses", type=_list(_addresses), default=("primary",), metavar="CIDR[,CIDR]",
        help="node ports answer on this machine's addresses in these ranges; `primary` (default): those of the Node, "
        "`all`: all",
    )  # fmt: skip
    parser.add_argument(
        "--proxy-mode", choices=["nftables", "userspace", "auto"], default="nftables", metavar="MODE",
        help="`nftables` (default), `userspace` where the kernel does not let us, or `auto`: the first that works",
    )  # fmt: skip
    for name, default in (("healthz", HEALTH), ("metrics", METRICS)):
        parser.add_argument(
            f"--{name}-bind-address", type=_place, default=_place(default), metavar="IP:PORT",
            help=f"where /{name} is (default: {default}); empty for nowhere",
        )  # fmt: skip
    parser.add_argument(
        "--announce", type=_list(str), default=(), metavar="IF[,IF]",
        help="answer on these interfaces for the addresses of balancers that fall to this node (ARP, NDP)",
    )  # fmt: skip
    parser.add_argument(
        "--cleanup", action="store_true", help="remove from the kernel what a proxy left there, and end"
    )


def _list(kind: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Values with commas between."""

    def read(text: str) -> tuple[str, ...]:
        return tuple(kind(one.strip()) for one in text.split(",") if one.strip())

    return read


def _prefix(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'"{text}" is no range of addresses: {error}') from None


def _ranges(text: str) -> tuple[str, ...]:
    found = _list(_prefix)(text)
    if len({":" in one for one in found}) < len(found):
        raise argparse.ArgumentTypeError(
            f'"{text}" has two ranges of one family: give one of IPv4, one of IPv6, or both'
        )
    return found


def _addresses(text: str) -> str:
    return text if text in ("primary", "all") else _prefix(text)


def _place(text: str) -> tuple[str, int] | None:
    """`IP:PORT`, `[IPv6]:PORT` or `IP`; nothing for None."""
    if not text:
        return None
    address, colon, port = text.rpartition(":")
    try:
        place = str(ipaddress.ip_address(address.strip("[]")))
        number = int(port)
    except ValueError:
        number = 0
    if not colon or not 0 < number < 1 << 16:
        raise argparse.ArgumentTypeError(f'"{text}" is not ADDRESS:PORT')
    return place, number


def run(parsed: argparse.Namespace) -> int:
    """Proxy until told to end, or clean up."""
    import logging
    from pathlib import Path

    from skerry.cluster import kubeproxy

    if parsed.cleanup:
        kubeproxy.clean_up()
        return 0
    if not parsed.kubeconfig:
        print("skerry proxy: it needs --kubeconfig (or --cleanup); `skerry proxy --help` says more.", file=sys.stderr)
        return USAGE
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    wanted = kubeproxy.Wanted(
        kubeconfig=Path(parsed.kubeconfig),
        context=parsed.context,
        node=parsed.node,
        service_cidrs=parsed.service_cidr,
        cluster_cidrs=parsed.cluster_cidr,
        nodeport_addresses=parsed.nodeport_addresses,
        mode=parsed.proxy_mode,
        health=parsed.healthz_bind_address,
        metrics=parsed.metrics_bind_address,
        announce=parsed.announce,
    )
    return kubeproxy.run(wanted)
