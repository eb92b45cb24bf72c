"""Forward local ports to the pods of a Service, a Deployment, another workload, or to one pod.

  skerry port-forward svc/web 8080:80
  skerry port-forward deploy/web :http

As `kubectl port-forward`, but each connection goes to another ready pod, and when a pod dies the next connection goes
to one that lives. It ends with Ctrl-C.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from skerry.cli import common

if TYPE_CHECKING:
    from skerry.client.portforward import Ports, Subject


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry port-forward`."""
    common.add_cluster(parser)
    parser.add_argument(
        "-n", "--namespace", default="default", metavar="NAMESPACE", help="where it is (default: %(default)s)"
    )
    parser.add_argument(
        "--address", default="localhost", metavar="A,B",
        help="addresses to listen at (default: %(default)s, which is 127.0.0.1 and ::1)",
    )  # fmt: skip
    parser.add_argument(
        "subject", type=_subject, metavar="TYPE/NAME",
        help="service, deployment, replicaset, statefulset, daemonset or pod",
    )  # fmt: skip
    parser.add_argument(
        "ports", type=_ports, nargs="+", metavar="[LOCAL:]REMOTE",
        help="ports by number or name; without LOCAL it is the same, with `:` before it any that is free",
    )  # fmt: skip


def _subject(text: str) -> Subject:
    from skerry.client.portforward import Subject

    try:
        return Subject.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _ports(text: str) -> Ports:
    from skerry.client.portforward import Ports

    try:
        return Ports.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(parsed: argparse.Namespace) -> int:
    """Forward until somebody ends it."""
    from skerry.cluster import forwarding

    addresses = [one.strip() for one in parsed.address.split(",") if one.strip()]
    name = common.cluster_name(parsed)
    forwarding.forward(name, parsed.namespace, parsed.subject, parsed.ports, addresses, _say)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
