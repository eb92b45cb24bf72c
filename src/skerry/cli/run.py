"""Run a command of this machine inside the cluster's network: Service names and ClusterIPs work in it.

  skerry run -- curl http://my-service

The exit code is the command's own; 125 where Skerry failed.
"""

from __future__ import annotations

import argparse

from skerry.cli import common

FAILED = 125
"""A code that the command itself hardly uses, as container tools have it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry run`."""
    common.add_cluster(parser)
    common.add_namespace(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD ...", help="the command and its arguments")


def run(parsed: argparse.Namespace) -> int:
    """Run it and wait for its end."""
    from skerry.cluster import entrance

    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    if not command:
        import sys

        print("skerry run: name a command, as in `skerry run -- curl http://my-service`.", file=sys.stderr)
        return 2
    return entrance.run(common.cluster_name(parsed), parsed.namespace, command)
