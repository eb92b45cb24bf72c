"""The directory of a cluster through its life: whose it is, what is left alone, what goes."""

from __future__ import annotations

import json
import socket
import sqlite3
import stat
from pathlib import Path

import pytest
from tests.unit.cluster.home import Home, tree

from skerry.cluster import daemon, lifecycle, state
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import cluster_paths


def test_delete_removes_data_and_context(home: Home) -> None:
    home.start()
    root = cluster_paths("x").root
    assert lifecycle.delete("x")
    assert not root.exists() and home.context() == ""
    assert not lifecycle.delete("x")


def test_delete_cures_damage(home: Home) -> None:
    home.start()
    lifecycle.stop("x")
    cluster_paths("x").state.write_text("{")
    with pytest.raises(ClusterError, match="damaged"):
        home.start()
    assert lifecycle.delete("x")
    home.start()


def test_a_newer_data_directory_is_refused(home: Home) -> None:
    home.start()
    lifecycle.stop("x")
    path = cluster_paths("x").state
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ClusterError, match="newer Skerry"):
        home.start()


def test_data_dir_is_found_again_by_name(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "place"
    home.start(data_dir=str(place))
    assert (place / "cluster.json").exists()
    assert cluster_paths("x").root == place and state.names() == ["x"]
    lifecycle.stop("x")
    assert not home.start().already
    with pytest.raises(ClusterError, match="leave out --data-dir"):
        home.start(data_dir=str(tmp_path / "third"))
    with pytest.raises(ClusterError, match='holds the cluster "x"'):
        home.start("y", data_dir=str(place))
    lifecycle.delete("x")
    assert state.names() == [] and not place.exists()


def test_data_dir_with_other_things_in_it_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(ClusterError, match="not empty and holds no cluster"):
        home.start(data_dir=str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "letter").exists()


def test_delete_leaves_what_came_into_data_dir_later(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "place"
    home.start(data_dir=str(place))
    (place / "letter").write_text("dear")
    lifecycle.delete("x")
    assert [item.name for item in place.iterdir()] == ["letter"]


def test_stale_sockets_go_when_it_starts(home: Home) -> None:
    home.start()
    lifecycle.stop("x")
    left = cluster_paths("x").run / "node-9.sock"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(left))
    assert stat.S_ISSOCK(left.stat().st_mode)
    home.start()
    assert not left.exists()


def test_a_long_log_is_put_aside(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.start()
    lifecycle.stop("x")
    log = cluster_paths("x").control_plane_log
    monkeypatch.setattr(daemon, "LOG_BYTES", 3)
    log.write_text("old!")
    home.start()
    assert log.with_name(log.name + ".1").read_text() == "old!"
    assert "old!" not in log.read_text()


def test_a_directory_with_names_like_ours_is_not_ours(home: Home, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    for name in ("images", "logs", "nodes", "run"):
        (place / name).mkdir(parents=True)
    (place / "images" / "photo").write_text("dear")
    with pytest.raises(ClusterError, match="not empty and holds no cluster"):
        home.start(data_dir=str(place))
    assert sorted(item.name for item in place.iterdir()) == ["images", "logs", "nodes", "run"]
    assert not lifecycle.delete("x")
    assert (place / "images" / "photo").exists()


def test_a_newer_data_directory_is_left_as_it_is(home: Home) -> None:
    home.start()
    lifecycle.stop("x")
    paths = cluster_paths("x")
    paths.state.write_text(json.dumps(json.loads(paths.state.read_text()) | {"format": 99, "new": {"field": 1}}))
    (paths.root / "store.db").write_bytes(b"a store of the future")
    (paths.root / ".half.77").write_text("whatever that is there")
    before = tree(paths.root)
    for options in ({}, {"nodes": 3}, {"data_dir": str(paths.root)}):
        with pytest.raises(ClusterError, match="was written by a newer Skerry"):
            home.start(**options)
    assert tree(paths.root) == before


def test_a_newer_store_is_left_as_it_is(home: Home) -> None:
    """Also one whose newer format stands in its log alone."""
    home.start()
    lifecycle.stop("x")
    paths = cluster_paths("x")
    database = sqlite3.connect(paths.store, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE future (key TEXT)")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("PRAGMA user_version=2")
    there = {path: path.read_bytes() for path in paths.root.glob("store.db*")}
    database.close()
    for path, content in there.items():
        path.write_bytes(content)
    before = tree(paths.root)
    with pytest.raises(ClusterError, match=r"was written by a newer Skerry \(format 2; this one knows 1\)"):
        home.start()
    assert tree(paths.root) == before


def test_what_a_killed_probe_has_left_goes(home: Home) -> None:
    home.start()
    left = cluster_paths("x").root / ".probe-abc" / "work" / "work"
    lifecycle.stop("x")
    left.mkdir(parents=True)
    left.chmod(0)  # as the kernel leaves it
    home.start()
    assert not left.parent.parent.exists()
