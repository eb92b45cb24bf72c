"""Print a kubeconfig that has this cluster alone: the administrator's, or with --user one for somebody else."""

from __future__ import annotations

import argparse

from skerry.cli import common
from skerry.cluster.errors import ClusterError


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry kubeconfig`."""
    common.add_name(parser)
    parser.add_argument(
        "--user", metavar="U", help="for this user: a client certificate, good for a year; give it rights with RBAC"
    )
    parser.add_argument(
        "--group", metavar="G", action="append", default=[], help="a group that --user is in; may be repeated"
    )


def run(parsed: argparse.Namespace) -> int:
    """Print it, also of a cluster that is stopped."""
    from skerry.cluster import kubeconfig, lifecycle

    paths, found = lifecycle.existing(parsed.name)
    if parsed.user is None and parsed.group:
        raise ClusterError("--group is for a --user.")
    made = lifecycle.entry(paths, found)
    if parsed.user is not None:
        made = lifecycle.entry_for(paths, made, parsed.user, tuple(parsed.group))
    print(kubeconfig.render(made), end="")
    return 0
