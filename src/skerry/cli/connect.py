"""Reach the cluster's names and addresses from this machine, through one proxy on 127.0.0.1.

  skerry connect                                    prints the proxy's address and serves it until Ctrl-C
  skerry connect -- curl http://web.default         runs a command that uses it

The proxy speaks SOCKS5 and HTTP. With a command the exit code is its own; 125 where Skerry failed.
"""

from __future__ import annotations

import argparse

from skerry.cli import common

FAILED = 125
"""A code that the command itself hardly uses, as `skerry run` has it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry connect`."""
    common.add_cluster(parser)
    common.add_namespace(parser)
    parser.add_argument(
        "--port", type=_port, default=0, metavar="P", help="the proxy's port on 127.0.0.1 (default: one that is free)"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD ...", help="the command and its arguments")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) < 65536:
        raise argparse.ArgumentTypeError(f'"{text}" is no port')
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    """Serve until somebody ends it, or the command has ended."""
    from skerry.cluster.connect import main

    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    return main.connect(common.cluster_name(parsed), parsed.namespace, parsed.port, command, _say)


def _say(line: str) -> None:
    print(line, flush=True)
