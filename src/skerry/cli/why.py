"""Say why a Service has the endpoints it has, and why a pod is not one of them.

  skerry why web
  skerry why web -n shop -o json
  skerry why web --kubeconfig ~/.kube/config --context prod

Works with any Kubernetes: it only gets and lists. Exit code: 0 the Service is healthy, 1 something was found,
3 it could not be looked at.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from skerry.cli import common

if TYPE_CHECKING:
    from skerry.explain.findings import Report

FOUND, USAGE, FAILED = 1, 2, 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry why`."""
    common.add_cluster(parser)
    parser.add_argument("--context", metavar="C", help="with --kubeconfig: this context, not the current one")
    parser.add_argument(
        "-n", "--namespace", metavar="NAMESPACE",
        help="where the Service is (default: the context's namespace with --kubeconfig, else `default`)",
    )  # fmt: skip
    parser.add_argument("service", type=_service, metavar="SERVICE", help="its name")
    parser.add_argument("-o", "--output", choices=["json"], help="print JSON (docs/reference/why.md has the schema)")


def _service(text: str) -> str:
    """`NAME`, or as kubectl prints it `service/NAME`."""
    kind, slash, name = text.rpartition("/")
    if slash and kind not in ("svc", "service", "services"):
        raise argparse.ArgumentTypeError(f'"{text}" is no Service')
    if not name:
        raise argparse.ArgumentTypeError("the Service's name is empty")
    return name


def run(parsed: argparse.Namespace) -> int:
    """Print what was found; FOUND if anything is wrong."""
    from skerry.clock import SystemClock
    from skerry.cluster import explaining

    if parsed.context and not parsed.kubeconfig:
        print("skerry why: --context is one of the file that --kubeconfig names: give both.", file=sys.stderr)
        return USAGE
    place = explaining.place(parsed.name, parsed.kubeconfig, parsed.context or "")
    report = explaining.explain(place, parsed.namespace or place.namespace, parsed.service)
    if parsed.output == "json":
        common.print_json(report.plain())
    else:
        _show(report, SystemClock().now())
    return 0 if report.healthy else FOUND


def _show(report: Report, now: float) -> None:
    from skerry.explain import text

    width = min(shutil.get_terminal_size((100, 24)).columns, 120) if sys.stdout.isatty() else 100
    for line in text.lines(report, now, width):
        print(line)
