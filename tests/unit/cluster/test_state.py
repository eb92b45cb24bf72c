"""cluster.json and the lock."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from skerry.cluster import state
from skerry.cluster.certificates import Expiry
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import ClusterPaths, cluster_paths

FULL = state.State(
    name="x",
    nodes=3,
    ephemeral=True,
    api_port=7001,
    registry_mirrors=(("docker.io", "http://127.0.0.1:5000"),),
    kubeconfigs=("/a", "/b"),
    certificates=Expiry(2e9, 1.9e9),
    created=1.7e9,
    version="0.1.0",
)


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    found = cluster_paths("x", tmp_path / "x")
    state.prepare(found)
    return found


def test_nothing_there(paths: ClusterPaths) -> None:
    assert state.load(paths) is None


@pytest.mark.parametrize("value", [FULL, state.State(name="x")])
def test_round_trip(paths: ClusterPaths, value: state.State) -> None:
    state.save(paths, value)
    assert state.load(paths) == value
    assert paths.state.stat().st_mode & 0o777 == 0o600


def test_newer_is_refused(paths: ClusterPaths) -> None:
    state.save(paths, FULL)
    table = json.loads(paths.state.read_text())
    paths.state.write_text(json.dumps(table | {"format": state.FORMAT + 1, "version": "9.9"}))
    with pytest.raises(ClusterError, match=r"newer Skerry \(9.9, format 2"):
        state.load(paths)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": "x"}', "\xff"])
def test_damaged_is_refused(paths: ClusterPaths, text: str) -> None:
    paths.state.write_bytes(text.encode("latin-1"))
    with pytest.raises(ClusterError, match="damaged"):
        state.load(paths)


def test_directories_are_private(paths: ClusterPaths) -> None:
    paths.root.chmod(0o755)
    state.prepare(paths)
    for directory in (paths.root, paths.run, paths.logs, paths.nodes, paths.images, paths.pki):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_one_has_the_lock(paths: ClusterPaths) -> None:
    first = state.acquire(paths)
    assert first is not None
    assert state.acquire(paths) is None
    assert not state.wait_until_gone(paths, 0.0)
    first.close()
    assert state.wait_until_gone(paths, 0.0)


def test_the_lock_of_a_deleted_cluster_is_none(paths: ClusterPaths, tmp_path: Path) -> None:
    first = state.acquire(paths)
    assert first is not None
    paths.lock.unlink()
    second = state.acquire(paths)  # of the new file, whoever still has the old one
    assert second is not None
    assert os.fstat(second.fd).st_ino == paths.lock.stat().st_ino
    first.close()
    second.close()


def test_holder_is_whoever_announced_and_lives(paths: ClusterPaths) -> None:
    assert state.holder(paths) is None
    lock = state.acquire(paths)
    assert lock is not None
    assert state.holder(paths) is None
    lock.announce(state.STARTING)
    assert state.holder(paths) == state.Holder(os.getpid(), state.STARTING)
    lock.announce(state.READY)
    assert state.holder(paths) == state.Holder(os.getpid(), state.READY)
    lock.clear()
    assert state.holder(paths) is None
    lock.close()


def test_holder_is_not_another_process_with_the_same_number(paths: ClusterPaths) -> None:
    paths.lock.write_text(f"{os.getpid()} {state.start_time(os.getpid()) - 1} ready")
    assert state.holder(paths) is None


def test_a_process_that_ended_is_no_holder(paths: ClusterPaths) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet waited for
    assert state.start_time(pid) == -1
    os.waitpid(pid, 0)
    assert state.start_time(pid) == -1


def test_start_time_with_an_odd_command_name(tmp_path: Path) -> None:
    assert state.start_time(os.getpid()) > 0
    assert state.start_time(1 << 30) == -1


def test_names_are_those_with_a_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert state.names() == []
    for name in ("b", "a"):
        here = cluster_paths(name)
        state.prepare(here)
        state.save(here, FULL)
    (tmp_path / "skerry" / "junk").mkdir()
    assert state.names() == ["a", "b"]


def test_link_to_a_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    elsewhere = cluster_paths("x", tmp_path / "elsewhere")
    state.prepare(elsewhere)
    state.save(elsewhere, FULL)
    state.link("x", elsewhere.root)
    assert cluster_paths("x").root == elsewhere.root
    assert state.names() == ["x"]
    with pytest.raises(ClusterError, match="has its data in"):
        state.link("x", tmp_path / "third")
    elsewhere.state.unlink()
    state.link("x", tmp_path / "third")  # a link to what is gone is replaced
    assert cluster_paths("x").root == tmp_path / "third"
    state.unlink("x")
    assert cluster_paths("x").root == tmp_path / "home" / "skerry" / "x"


def test_what_was_written_before_a_reboot_means_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process id may then start at the same tick."""
    paths = cluster_paths("x", tmp_path)
    lock = state.acquire(paths)
    assert lock is not None
    with monkeypatch.context() as patch:
        patch.setattr(state, "_boot", lambda: 77)
        lock.announce(state.READY)
        assert state.holder(paths) == state.Holder(os.getpid(), state.READY)
    assert state.holder(paths) is None
    lock.close()


def test_a_stop_is_announced_for_a_process_that_lives(tmp_path: Path) -> None:
    paths = cluster_paths("x", tmp_path)
    lock = state.acquire(paths)
    assert lock is not None
    state.announce_stop(paths)
    assert state.holder(paths) is None
    lock.announce(state.READY)
    state.announce_stop(paths)
    assert state.holder(paths) == state.Holder(os.getpid(), state.STOPPING)
    paths.lock.write_text(f"{2**22 + 1} -1 ready")
    assert state.holder(paths) is None
    lock.close()
