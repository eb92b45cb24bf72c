"""Options that several verbs share: which cluster is meant, and output as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import DEFAULT_NAME, validate_name


def name(text: str) -> str:
    """An argparse type: a cluster's name."""
    return checked(validate_name, text)


def checked(check: Callable[[str], str], text: str) -> str:
    """`text` as `check` returns it; its ClusterError becomes argparse's, so that it is wrong usage."""
    try:
        return check(text)
    except ClusterError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_name(parser: argparse.ArgumentParser) -> None:
    """`--name N`, for verbs that need no kubeconfig."""
    parser.add_argument(
        "--name", type=name, default=DEFAULT_NAME, metavar="N", help="the cluster (default: %(default)s)"
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """`--name N` or `--kubeconfig F`, for verbs that speak to a cluster; see `cluster_name`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--name", type=name, metavar="N", help=f"the cluster (default: {DEFAULT_NAME})")
    which.add_argument("--kubeconfig", metavar="F", help="the cluster of the current context in file F")


def cluster_name(arguments: argparse.Namespace) -> str:
    """The cluster that `add_cluster`'s options mean. ClusterError if the kubeconfig's context is none of ours."""
    if arguments.name is not None:
        return str(arguments.name)
    if arguments.kubeconfig is None:
        return DEFAULT_NAME
    from pathlib import Path

    from skerry.cluster.kubeconfig import context_name, current_context

    context = current_context(Path(arguments.kubeconfig))
    prefix = context_name("")
    if not context.startswith(prefix):
        raise ClusterError(
            f'The current context of {arguments.kubeconfig} is "{context}", which is no cluster of this machine\'s '
            "Skerry: choose one with --name."
        )
    return context.removeprefix(prefix)


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """`-n NAMESPACE`, for verbs that look names up in the cluster."""
    what = "the namespace whose short names work (default: %(default)s)"
    parser.add_argument("-n", "--namespace", default="default", metavar="NAMESPACE", help=what)


def add_output(parser: argparse.ArgumentParser) -> None:
    """`-o json`."""
    parser.add_argument("-o", "--output", choices=["json"], help="print JSON (docs/reference/cli.md has the schema)")


def print_json(value: Any) -> None:
    """As every `-o json` prints it."""
    print(json.dumps(value, indent=2))
