"""The image store's own directory for what is half done: each node process of a machine has one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skerry.node.images.store import Store


def test_a_scratch_directory_that_another_node_cleaned_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes start at the same time, and each cleans up what nobody holds: also what is not held yet."""
    make, made = os.mkdir, list[str]()

    def mkdir(path: str, mode: int = 0o777) -> None:
        make(path, mode)
        if Path(path).parent == tmp_path / "tmp":
            made.append(path)
            if len(made) == 1:
                os.rmdir(path)  # what the other one's cleaning-up does

    monkeypatch.setattr(os, "mkdir", mkdir)
    store = Store(str(tmp_path))
    assert [str(path) for path in (tmp_path / "tmp").iterdir()] == made[1:] and len(made) == 2
    store.close()
