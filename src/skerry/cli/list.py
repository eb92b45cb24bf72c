"""Show all clusters of this user on this machine."""

from __future__ import annotations

import argparse

from skerry.cli import common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry list`."""
    common.add_output(parser)


def run(parsed: argparse.Namespace) -> int:
    """Print a line, or an object, a cluster."""
    from skerry.cluster import status

    rows = status.summaries()
    if parsed.output == "json":
        common.print_json(rows)
        return 0
    if not rows:
        print("There is no cluster; `skerry up` makes one.")
        return 0
    columns = [("NAME", "name"), ("STATE", "state"), ("NODES", "nodes"), ("API", "api"), ("DATA", "dataDir")]
    table = [[title for title, _ in columns]] + [[str(row[key]) for _, key in columns] for row in rows]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    for line in table:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0
