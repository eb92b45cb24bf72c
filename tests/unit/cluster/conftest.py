"""`home`: see home.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cluster.home import Home, serve

from skerry.cluster import daemon, lifecycle, revival


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(daemon, "control_plane", serve)
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 5.0)
    monkeypatch.setattr(revival, "ask", lambda *_: ())  # this control plane has no nodes
    found = Home(tmp_path)
    yield found
    found.end()
