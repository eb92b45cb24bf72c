"""The bench of the endpoints controllers runs, on small sizes, and finds the fewest writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


def test_the_bench_runs() -> None:
    command = [sys.executable, "bench/endpoints.py", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.partition("(e)")[2].splitlines() if line.startswith("| ")][1:]
    assert [row[4].strip() for row in rows] == ["1.00"] * 3, "no slice is written that need not be"
