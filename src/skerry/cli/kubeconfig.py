"""Print a kubeconfig that has this cluster alone."""

from __future__ import annotations

import argparse

from skerry.cli import common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry kubeconfig`."""
    common.add_name(parser)


def run(parsed: argparse.Namespace) -> int:
    """Print it, also of a cluster that is stopped."""
    from skerry.cluster import kubeconfig, lifecycle

    paths, found = lifecycle.existing(parsed.name)
    print(kubeconfig.render(lifecycle.entry(paths, found)), end="")
    return 0
