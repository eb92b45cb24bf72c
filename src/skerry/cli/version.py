"""Print the version of Skerry and of the Kubernetes API that it serves."""

from __future__ import annotations

import argparse

import skerry


def arguments(_: argparse.ArgumentParser) -> None:
    """`skerry version` has none."""


def run(_: argparse.Namespace) -> int:
    """Print it."""
    print(f"skerry {skerry.__version__} (Kubernetes {skerry.KUBERNETES})")
    return 0
