"""The bench of DNS runs, on small sizes, beside unbound where that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


def test_the_bench_runs() -> None:
    command = [sys.executable, "bench/dns.py", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert any("the write's answer" in row[1] for row in rows)
    each = next(int(row[4]) for row in rows if row[1].strip() == "200" and row[2].strip() == "2000")
    assert each < 2000, "bytes a record set: small sizes carry the interpreter's own"
