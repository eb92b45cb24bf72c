"""A shell of this machine ($SHELL) inside the cluster's network: Service names and ClusterIPs work in it."""

from __future__ import annotations

import argparse
import os

from skerry.cli import common

FAILED = 125


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry shell`."""
    common.add_cluster(parser)
    common.add_namespace(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run it until it ends; its exit code."""
    from skerry.cluster import entrance

    return entrance.run(common.cluster_name(parsed), parsed.namespace, [os.environ.get("SHELL") or "/bin/sh"])
