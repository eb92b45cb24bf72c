"""Stop a cluster and remove its data and its kubectl context."""

from __future__ import annotations

import argparse

from skerry.cli import common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry delete`."""
    common.add_name(parser)
    parser.add_argument("--kubeconfig", metavar="F", help="another kubeconfig file to take the context out of")


def run(parsed: argparse.Namespace) -> int:
    """Delete it; nothing to delete is done as well."""
    from skerry.cluster import lifecycle

    if lifecycle.delete(parsed.name, parsed.kubeconfig):
        print(f'Cluster "{parsed.name}" is deleted.')
    else:
        print(f'There is no cluster "{parsed.name}".')
    return 0
