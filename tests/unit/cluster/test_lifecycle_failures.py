"""What goes wrong while a cluster starts, runs or ends, with a control plane that is only a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cluster.home import Home, become, killed, serve, taken_port, until

from skerry.cluster import lifecycle, state, status
from skerry.cluster.config import ClusterConfig, Progress
from skerry.cluster.errors import ClusterError
from skerry.cluster.options import Options
from skerry.cluster.paths import cluster_paths


def test_an_error_of_the_daemon_is_the_sentence(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: ClusterConfig, progress: Progress) -> None:
        progress.step("API server")
        raise ClusterError("The store is damaged: delete it.")

    become(fail, monkeypatch)
    with pytest.raises(ClusterError, match=r"^The store is damaged: delete it\. The log is .*control-plane\.log\.$"):
        home.start(nodes=0)
    assert state.names() == [] and not home.kubeconfig.exists()
    assert state.holder(cluster_paths("x")) is None


def test_a_failed_first_start_is_not_in_the_way_of_the_next(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(config: ClusterConfig, progress: Progress) -> None:
        config.wait_for_certificates()
        for suffix in ("", "-wal", "-shm"):
            config.paths.store.with_name(config.paths.store.name + suffix).touch()
        raise ClusterError("No.")

    become(fail, monkeypatch)
    for _ in range(2):
        with pytest.raises(ClusterError, match=r"^No\."):
            home.start(nodes=0, data_dir=str(tmp_path / "place"))
    become(serve, monkeypatch)
    home.start(nodes=2, data_dir=str(tmp_path / "place"))


def test_a_first_start_that_is_refused_leaves_no_directory(home: Home, tmp_path: Path) -> None:
    taken, port = taken_port()
    with taken:
        for refused in ({"api_port": port}, {"pod_cidr": "10.96.0.0/16"}, {"kubeconfig": str(tmp_path)}):
            with pytest.raises(ClusterError):
                home.start(**refused)
            assert not cluster_paths("x").root.exists()
        mine = tmp_path / "mine"
        mine.mkdir()
        with pytest.raises(ClusterError):
            home.start(api_port=port, data_dir=str(mine))
        assert mine.exists()


def test_a_crash_of_the_daemon_is_a_sentence_and_a_traceback_in_the_log(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(config: ClusterConfig, progress: Progress) -> None:
        raise RuntimeError("two\nlines")

    become(crash, monkeypatch)
    with pytest.raises(ClusterError, match="The control plane failed: RuntimeError: two lines The log is"):
        home.start(nodes=0)
    assert "Traceback" in cluster_paths("x").control_plane_log.read_text()


@pytest.mark.parametrize(
    ("end", "how"), [(lambda: os.kill(os.getpid(), 9), "signal 9"), (lambda: os._exit(3), "exit code 3")]
)
def test_a_daemon_that_dies(home: Home, monkeypatch: pytest.MonkeyPatch, end: Callable[[], None], how: str) -> None:
    become(lambda config, progress: end(), monkeypatch)
    with pytest.raises(ClusterError, match=f"ended before it was ready \\({how}\\)"):
        home.start(nodes=0)


def test_a_daemon_that_says_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    become(lambda config, progress: signal.pause(), monkeypatch)
    monkeypatch.setattr(lifecycle, "START_SECONDS", 0.05)
    with pytest.raises(ClusterError, match="did not become ready"):
        home.start(nodes=0)
    assert state.holder(cluster_paths("x")) is None


def test_an_interrupted_start_leaves_nothing_running(home: Home) -> None:
    def interrupt(message: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lifecycle.start(Options(name="x"), interrupt)
    assert state.holder(cluster_paths("x")) is None and state.names() == []


def test_a_daemon_that_ignores_sigterm_is_killed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def stubborn(config: ClusterConfig, progress: Progress) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        progress.ready()
        while True:
            signal.pause()

    become(stubborn, monkeypatch)
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.05)
    home.start()
    assert lifecycle.stop("x")
    assert state.holder(cluster_paths("x")) is None


def test_reopened_after_kill_9(home: Home) -> None:
    first = home.start()
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert state.holder(cluster_paths("x")) is None
    second = home.start()
    assert not second.already and second.server == first.server


def test_up_on_one_that_hangs_says_so_and_down_ends_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.start()
    monkeypatch.setattr(lifecycle, "ANSWER_SECONDS", 0.2)
    os.kill(first.pid, signal.SIGSTOP)
    said = f'cluster "x" .process {first.pid}. does not answer .*: end it with `skerry down --name x`'
    with pytest.raises(ClusterError, match=said):
        home.start()
    monkeypatch.setattr(status, "API_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=said):
        status.describe("x")
    # It ends at once and well: it is woken to hear that it shall.
    assert lifecycle.stop("x")
    assert os.waitpid(first.pid, 0)[1] == 0
    assert state.holder(cluster_paths("x")) is None
    second = home.start()
    assert not second.already
    os.kill(second.pid, signal.SIGSTOP)
    assert lifecycle.delete("x")
    assert state.names() == []


def test_up_on_one_that_lost_its_api_server_says_so(home: Home) -> None:
    first = home.start()
    cluster_paths("x").api_socket.unlink()
    with pytest.raises(ClusterError, match=f"process {first.pid}. does not answer .*No such file"):
        home.start()


def test_a_first_start_that_was_killed_is_started_anew(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left might contradict what is asked for now."""
    paths = cluster_paths("x")

    def leave(paths: Any, *_: object) -> None:
        (paths.root / "store.db").write_text("of another life")
        (paths.images / "half").mkdir()
        paths.tokens.with_name(".tokens.json.77").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "_write_what_it_needs", leave)
        killed(lambda: home.start())
    assert state.wait_until_gone(paths, 5)
    assert state.names() == [] and (paths.root / "store.db").exists()
    home.start()
    assert not (paths.root / "store.db").exists() and list(paths.images.iterdir()) == []
    assert not list(paths.root.glob(".tokens*"))


@pytest.mark.parametrize("again", ["up", "delete"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_delete_that_was_killed_is_finished(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, again: str, elsewhere: bool
) -> None:
    from skerry.cluster import removal

    place = str(tmp_path / "place") if elsewhere else None
    home.start(data_dir=place)
    paths = cluster_paths("x")
    (paths.images / "layer").mkdir()
    real = removal.remove

    def die(path: Path) -> None:
        if path == paths.images:
            os.kill(os.getpid(), signal.SIGKILL)
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(removal, "remove", die)
        killed(lambda: lifecycle.delete("x"))
    assert state.names() == [] and (paths.images / "layer").exists()
    if again == "up":
        home.start(data_dir=place)
        assert not (paths.images / "layer").exists()
        lifecycle.delete("x")
    else:
        assert lifecycle.delete("x")
    assert not paths.root.exists()


def test_two_deletes_at_once(home: Home) -> None:
    for _ in range(5):
        home.start()
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    lifecycle.delete("x")
                    code = 0
                except BaseException:  # noqa: BLE001  the parent must not run twice
                    traceback.print_exc()
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0, 0]
        assert not cluster_paths("x").root.exists()


def test_up_while_it_stops_waits_and_starts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(config: ClusterConfig, progress: Progress) -> None:
        ended: list[int] = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
        config.wait_for_certificates()
        progress.ready()
        while not ended:
            signal.pause()
        progress.stopping()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        while True:
            signal.pause()

    become(slow, monkeypatch)
    first = home.start()
    down = os.fork()
    if down == 0:
        lifecycle.stop("x")
        os._exit(0)
    until(lambda: state.holder(cluster_paths("x")) == state.Holder(first.pid, state.STOPPING))
    second = home.start()
    assert not second.already and second.pid != first.pid
    os.waitpid(down, 0)


def test_down_while_it_starts_ends_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(config: ClusterConfig, progress: Progress) -> None:
        config.wait_for_certificates()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        subprocess.Popen([sys.executable, "-m", "skerry.cli.main", "down", "--name", "x"], stdout=subprocess.DEVNULL)
        while True:
            signal.pause()

    become(slow, monkeypatch)
    with pytest.raises(ClusterError, match="was stopped by another command while it started"):
        home.start()
    assert state.names() == []
