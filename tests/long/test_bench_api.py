"""The bench of the API server runs, on small sizes, and every verb has its row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


def test_the_bench_runs() -> None:
    command = [sys.executable, "bench/api.py", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1].strip() for line in done.stdout.partition("memory")[0].splitlines() if line[:2] == "| "]
    for verb in ("create", "get", "status patch", "delete", "list, all", "list, by a label"):
        assert rows.count(verb) == 2, "with 5,000 pods, and as it grows"
