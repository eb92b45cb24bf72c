"""The benches run, on small sizes, and have the rows that docs/benchmarks.md shows; what they count is checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


def quick(name: str) -> str:
    """What a bench prints."""
    command = [sys.executable, f"bench/{name}.py", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, heads and all."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def test_api() -> None:
    verbs = [row[0] for row in rows(quick("api").partition("memory")[0])]
    for verb in ("create", "get", "status patch", "delete", "list, all", "list, by a label"):
        assert verbs.count(verb) == 2, "with 5,000 pods, and as it grows"


def test_dns_beside_unbound() -> None:
    found = rows(quick("dns"))
    assert any("the write's answer" in row[0] for row in found)
    each = next(int(row[3]) for row in found if row[:2] == ["200", "2000"])
    assert each < 2000, "bytes a record set: small sizes carry the interpreter's own"


def test_endpoints_are_written_as_seldom_as_can_be() -> None:
    found = rows(quick("endpoints").partition("(e)")[2])[1:]
    assert [row[3] for row in found] == ["1.00"] * 3, "no slice is written that need not be"


def test_ingress_beside_envoy_alone() -> None:
    said = quick("ingress")
    assert "\n0 requests failed." in said
    found = {row[0]: row for row in rows(said)}
    assert {"Ingress", "Envoy, static, bare", "10", "50"} <= found.keys()
    assert float(found["50"][1]) < 500, "milliseconds until a change is in force"
    assert float(found["20"][1]) < 500, "milliseconds until the port of a LoadBalancer is open"


def test_pods() -> None:
    kinds = {row[0] for row in rows(quick("pods"))}
    assert {"Deployment, host", "bare pods, host", "Deployment, nginx"} <= kinds


def test_startup() -> None:
    nodes = [row[:2] for row in rows(quick("startup")) if row[1:2] in (["new"], ["reopened"])]
    assert nodes == [["0", "new"], ["1", "new"], ["1", "reopened"], ["2", "new"], ["3", "new"]]


@pytest.mark.root
def test_proxy_spreads_evenly_and_keeps_clients() -> None:
    found = quick("proxy")
    chance = float(found.partition("(p = ")[2].partition(")")[0])
    assert chance > 1e-6, "each endpoint gets its share"
    assert "Affinity: 4 clients used " in found
