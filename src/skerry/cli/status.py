"""Show how a cluster is: its API, its nodes, and what this machine does not let it do."""

from __future__ import annotations

import argparse

from skerry.cli import common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry status`."""
    common.add_cluster(parser)
    common.add_output(parser)


def run(parsed: argparse.Namespace) -> int:
    """Print it; a stopped cluster is an answer, a cluster that does not exist is a failure."""
    from skerry.cluster import status

    found = status.describe(common.cluster_name(parsed))
    if parsed.output == "json":
        common.print_json(found)
        return 0
    for line in status.lines(found):
        print(line)
    return 0
