"""Put a docker or OCI image archive into the nodes, so that pods can use its images without a registry."""

from __future__ import annotations

import argparse

from skerry.cli import common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry load`."""
    parser.add_argument("archive", metavar="IMAGE.tar", help="as `docker save` or `podman save` write it; gzip is fine")
    common.add_cluster(parser)


def run(parsed: argparse.Namespace) -> int:
    """Load it and print the names that its images have."""
    from skerry.cluster import load

    for name in load.load(common.cluster_name(parsed), parsed.archive):
        print(f"Loaded {name}")
    return 0
