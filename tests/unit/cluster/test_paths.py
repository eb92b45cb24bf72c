"""Names, the data directory's place, and sockets whose paths fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import LONGEST_SOCKET_NAME, SOCKET_PATH_LIMIT, cluster_paths, data_home, validate_name


@pytest.mark.parametrize("name", ["a", "default", "my-1", "0", "a" * 50])
def test_good_names(name: str) -> None:
    assert validate_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "a" * 51, "ä", "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster"):
        validate_name(name)


def test_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_home() == tmp_path / "skerry"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert data_home() == tmp_path / "home" / ".local" / "share" / "skerry"


def test_sockets_lie_in_the_data_directory_when_they_fit(tmp_path: Path) -> None:
    paths = cluster_paths("x", tmp_path)
    assert paths.api_socket == tmp_path / "run" / "api.sock"
    assert paths.node_socket("node-1") == tmp_path / "run" / "node-1.sock"


@pytest.mark.parametrize("length", range(60, 130))
def test_every_socket_path_can_be_bound(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    root = Path("/" + "d" * (length - 1))
    paths = cluster_paths("x", root)
    assert len(str(paths.run)) + 1 + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT
    assert cluster_paths("x", root) == paths  # the same place the next time
    assert cluster_paths("x", root / "other").run != paths.run


def test_short_sockets_prefer_the_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run")
    assert cluster_paths("x", Path("/" + "d" * 120)).run.parent == Path("/run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert cluster_paths("x", Path("/" + "d" * 120)).run.parent == Path("/tmp")
