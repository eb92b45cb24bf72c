"""Ingress: requests per second beside the same Envoy with a configuration written by hand, how soon a change of
endpoints is in force, and how it grows.

    python bench/ingress.py [--quick]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common

SKERRY = [sys.executable, "-m", "skerry.cli.main"]


def skerry(*words: str) -> str:
    done = subprocess.run([*SKERRY, *words], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        sys.exit(f"skerry {words[0]}: {done.stderr}")
    return done.stdout


def main() -> None:
    size = "quick" if "--quick" in sys.argv else "full"
    with tempfile.TemporaryDirectory() as directory:
        data = f"{directory}/data"
        where = ("--name", "bench-ingress", "--data-dir", data, "--kubeconfig", f"{directory}/kubeconfig")
        try:
            skerry("up", "--ephemeral", *where)
            inside = str(Path(__file__).with_name("ingress_inside.py"))
            found = json.loads(skerry("run", "--name", "bench-ingress", "--", sys.executable, inside, data, size))
        finally:
            skerry("delete", "--name", "bench-ingress")
    print("## Requests per second: wrk, 32 connections that are kept, nginx behind\n")
    rows = []
    best, least = (statistics.median(one[which] for one in found["alone"]) for which in (0, 1))
    names = ("Ingress", "through"), ("Envoy, static, with an edge's options", "alike"), ("Envoy, static, bare", "alone")
    for name, key in names:
        rate, cpu = (statistics.median(one[which] for one in found[key]) for which in (0, 1))
        rows.append((name, f"{rate:.0f}", f"{rate / best:.2f}", f"{cpu:.0f}", f"{cpu / least:.2f}"))
    common.table(("", "median", "of bare", "Envoy's CPU, us each", "of bare"), rows)
    print(f"{found['failed']} requests failed. First Ingress to first answer: {found['first']:.2f} s.\n")
    print("## A change of endpoints, from the write's sending to the first request that goes by it; milliseconds\n")
    rows = [
        (one["ingresses"], f"{one['p50']:.1f}", f"{one['p99']:.1f}", f"{one['new']:.1f}", f"{one['memory']:.0f}")
        for one in found["sizes"]
    ]
    common.table(("Ingresses", "p50", "p99", "a new Ingress", "Envoy, MB"), rows)


if __name__ == "__main__":
    main()
