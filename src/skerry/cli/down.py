"""Stop a cluster. Its data stays; `skerry up` opens it again."""

from __future__ import annotations

import argparse

from skerry.cli import common


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `skerry down`."""
    common.add_name(parser)


def run(parsed: argparse.Namespace) -> int:
    """Stop it; nothing to stop is done as well."""
    from skerry.cluster import lifecycle

    if lifecycle.stop(parsed.name):
        print(f'Cluster "{parsed.name}" is stopped.')
    else:
        print(f'Cluster "{parsed.name}" is not running.')
    return 0
