"""Starting, stopping and deleting with a control plane that is only a process: everything but the cluster itself.

The real one is tried in tests/e2e.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.cluster import daemon, lifecycle, listener, revival, state
from skerry.cluster.config import ClusterConfig, Progress
from skerry.cluster.errors import ClusterError
from skerry.cluster.options import Options
from skerry.cluster.paths import cluster_paths


def serve(config: ClusterConfig, progress: Progress) -> None:
    """A control plane that waits for its certificates, then answers on the API's socket until SIGTERM."""
    config.wait_for_certificates()
    api = socket.socket(socket.AF_UNIX)
    api.bind(str(config.paths.api_socket))
    api.listen()
    assert config.paths.server_certificate.exists() and config.paths.tokens.exists()
    progress.step("API server")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    progress.ready()
    while True:
        connection, _ = api.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()


class Home:
    """A person's home directory, and what they have started in it."""

    def __init__(self, path: Path) -> None:
        self.kubeconfig = path / "kubeconfig"
        self.said: list[dict[str, Any]] = []
        self._started: list[str] = []

    def start(self, name: str = "x", **options: Any) -> lifecycle.Started:
        self._started.append(name)
        options.setdefault("nodes", None)
        return lifecycle.start(Options(name=name, **options), self.said.append)

    def context(self) -> str:
        return str(yaml.safe_load(self.kubeconfig.read_text())["current-context"])

    def end(self) -> None:
        for name in self._started:
            lifecycle.delete(name)


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


def port_of(started: lifecycle.Started) -> int:
    return urllib.parse.urlparse(started.server).port or 0


def taken_port() -> tuple[socket.socket, int]:
    taken = socket.create_server(("127.0.0.1", 0))
    return taken, taken.getsockname()[1]


def become(control_plane: Callable[[ClusterConfig, Progress], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "control_plane", control_plane)


def test_start_and_stop(home: Home) -> None:
    started = home.start()
    paths = cluster_paths("x")
    assert state.holder(paths) == state.Holder(started.pid, state.READY)
    assert [message.get("step") for message in home.said] == ["API server"]
    assert home.context() == "skerry-x" and started.context == "skerry-x"
    saved = state.load(paths)
    assert saved is not None
    assert saved.api_port == port_of(started) and saved.kubeconfigs == (str(home.kubeconfig),)
    assert os.getsid(started.pid) == started.pid  # a closed terminal does not end it
    with socket.create_connection(("127.0.0.1", saved.api_port), timeout=5):
        pass  # the daemon has the listening socket
    assert lifecycle.stop("x")
    assert state.holder(paths) is None
    assert not lifecycle.stop("x")
    assert paths.tokens.exists()


def test_the_port_stays_for_life_and_certificates_are_kept(home: Home) -> None:
    first = home.start()
    paths = cluster_paths("x")
    certificate, tokens = paths.server_certificate.read_bytes(), paths.tokens.read_bytes()
    lifecycle.stop("x")
    second = home.start()
    assert second.server == first.server
    assert (paths.server_certificate.read_bytes(), paths.tokens.read_bytes()) == (certificate, tokens)


def test_a_chosen_port(home: Home) -> None:
    taken, port = taken_port()
    with taken, pytest.raises(ClusterError, match=f"Port {port} of 127.0.0.1 is taken .* choose another --api-port"):
        home.start(api_port=port)
    assert state.names() == []  # what never ran is no cluster
    assert port_of(home.start(api_port=port)) == port


def test_a_port_chosen_because_6443_was_taken_can_be_had_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, port = taken_port()
    monkeypatch.setattr(listener, "DEFAULT_PORT", port)
    with taken, listener.listen(0, None, {}) as found:
        chosen = found.getsockname()[1]
        assert chosen != port
        client = socket.create_connection(("127.0.0.1", chosen), timeout=5)
        served, _ = found.accept()
        served.close()  # the server ends first: its side of the connection stays in TIME_WAIT for a minute
        assert client.recv(1) == b""
        client.close()
    with listener.listen(chosen, None, {}) as again:
        assert again.getsockname()[1] == chosen


def test_the_port_of_a_cluster_was_taken_meanwhile(home: Home) -> None:
    port = port_of(home.start())
    lifecycle.stop("x")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ClusterError, match="kubeconfig names, is taken"):
        home.start()
    assert state.names() == ["x"]


def test_two_clusters_have_two_ports(home: Home) -> None:
    assert port_of(home.start("x")) != port_of(home.start("y"))
    assert state.names() == ["x", "y"]
    assert home.context() == "skerry-y"
    lifecycle.delete("y")
    assert home.context() == ""
    assert state.names() == ["x"]


def test_up_on_a_running_one_says_so(home: Home, tmp_path: Path) -> None:
    first = home.start()
    again = home.start()
    assert again.already and again.pid == first.pid
    other = home.start(kubeconfig=str(tmp_path / "other"))
    assert other.already and "skerry-x" in (tmp_path / "other").read_text()
    lifecycle.delete("x")
    assert "skerry-x" not in (tmp_path / "other").read_text()


def test_up_on_one_that_hangs_says_so_and_down_ends_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = home.start()
    monkeypatch.setattr(lifecycle, "ANSWER_SECONDS", 0.2)
    os.kill(first.pid, signal.SIGSTOP)
    said = f'cluster "x" .process {first.pid}. does not answer .*: end it with `skerry down --name x`'
    with pytest.raises(ClusterError, match=said):
        home.start()
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


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("nodes", 0, "--nodes 1"),
        ("ephemeral", True, "no --ephemeral"),
        ("network", "host", "--network contained"),
        ("store", "http://etcd", "no --store"),
        ("api_port", 1, "--api-port"),
        ("pod_cidr", "10.1.0.0/16", "--pod-cidr 10.244.0.0/16"),
        ("service_cidr", "10.2.0.0/16", "--service-cidr 10.96.0.0/12"),
        ("max_pods", 300, "--max-pods 110"),
        ("proxy_mode", "userspace", "--proxy-mode auto"),
        ("registry_mirrors", (("docker.io", "http://b"),), "--registry-mirror docker.io http://a"),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_contradicting_options_are_refused(home: Home, option: str, value: Any, named: str, running: bool) -> None:
    home.start(registry_mirrors=(("docker.io", "http://a"),))
    if not running:
        lifecycle.stop("x")
    with pytest.raises(ClusterError, match=f'Cluster "x" was made with {named}'):
        home.start(**{option: value})


def test_the_same_options_again_are_fine_and_none_keep_what_was(home: Home) -> None:
    options: dict[str, Any] = {"nodes": 0, "ephemeral": True, "registry_mirrors": (("docker.io", "http://a"),)}
    home.start(**options)
    lifecycle.stop("x")
    home.start(**options)
    lifecycle.stop("x")
    home.start()
    saved = state.load(cluster_paths("x"))
    assert saved is not None and (saved.nodes, saved.ephemeral) == (0, True)
    assert saved.registry_mirrors == (("docker.io", "http://a"),)


def test_a_new_mirror_needs_a_stopped_cluster(home: Home) -> None:
    home.start()
    with pytest.raises(ClusterError, match="skerry down"):
        home.start(registry_mirrors=(("quay.io", "http://q"),))
    lifecycle.stop("x")
    home.start(registry_mirrors=(("quay.io", "http://q"),))
    saved = state.load(cluster_paths("x"))
    assert saved is not None and saved.registry_mirrors == (("quay.io", "http://q"),)


def test_two_at_once_one_wins(home: Home) -> None:
    paths = cluster_paths("x")
    paths.root.mkdir(parents=True)
    other = state.acquire(paths)
    assert other is not None
    other.announce(state.STARTING)
    with pytest.raises(ClusterError, match=rf"being started by another command \(process {os.getpid()}\)"):
        home.start()
    other.clear()
    other.close()
    home.start()


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


def test_existing_names_what_there_is(home: Home) -> None:
    with pytest.raises(ClusterError, match=r'no cluster "x" \(there is none yet\): `skerry up --name x`'):
        lifecycle.existing("x")
    home.start("y")
    with pytest.raises(ClusterError, match=r"\(there is y\): `skerry up` makes it"):
        lifecycle.existing("default")


def test_zero_nodes_is_said_as_a_number(home: Home) -> None:
    home.start(nodes=0)
    with pytest.raises(ClusterError, match="was made with --nodes 0:"):
        home.start(nodes=1)


def test_ranges_are_for_life(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(config: ClusterConfig, progress: Progress) -> None:
        progress.step(f"{config.networks.pod_cidr} {config.networks.service_cidr}")
        serve(config, progress)

    become(look, monkeypatch)
    for options in ({"pod_cidr": "172.20.0.0/16", "service_cidr": "172.21.0.0/16"}, {}):
        home.start(**options)
        lifecycle.stop("x")
        seen.append(home.said[0]["step"])
        home.said.clear()
    assert seen == ["172.20.0.0/16 172.21.0.0/16"] * 2


def test_ranges_that_do_not_fit_are_refused(home: Home) -> None:
    with pytest.raises(ClusterError, match=r"overlap: choose another --pod-cidr"):
        home.start(pod_cidr="10.96.0.0/16")
    with pytest.raises(ClusterError, match=r"has room for 4 of the 5 nodes"):
        home.start(pod_cidr="10.1.0.0/22", nodes=5)
    assert state.names() == []


def test_a_cluster_made_before_ranges_could_be_chosen(home: Home) -> None:
    home.start()
    lifecycle.stop("x")
    path = cluster_paths("x").state
    table = json.loads(path.read_text())
    del table["podCIDR"], table["serviceCIDR"]
    path.write_text(json.dumps(table))
    home.start()
    saved = state.load(cluster_paths("x"))
    assert saved is not None and saved.networks.dns_ip == "10.96.0.10"


def test_a_port_that_a_stopped_cluster_has_is_not_given_to_another(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, port = taken_port()
    taken.close()
    monkeypatch.setattr(listener, "DEFAULT_PORT", port)
    assert port_of(home.start("x")) == port
    lifecycle.stop("x")
    assert port_of(home.start("y")) != port
    assert port_of(home.start("x")) == port


def test_the_cluster_that_has_the_port_is_named(home: Home) -> None:
    port = port_of(home.start("x"))
    with pytest.raises(ClusterError, match=rf'^Port {port} .* cluster "x".*: choose another --api-port\.$'):
        home.start("y", api_port=port)
    lifecycle.stop("x")
    home.start("y", api_port=port)
    with pytest.raises(ClusterError, match=r'cluster "y".*: `skerry down --name y` first\.$'):
        home.start("x")


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


def until(call: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not call():
        assert time.monotonic() < end


def killed(work: Callable[[], object]) -> None:
    """A child of ours does this and is killed where it would not return."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_kubeconfig_that_cannot_be_written_is_known_before_anything_starts(home: Home, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(ClusterError, match=r"cannot be written .* choose another --kubeconfig"):
        home.start(kubeconfig=str(locked / "config"))
    assert home.said == []


def test_a_kubeconfig_that_is_a_directory_is_known_before_anything_starts(home: Home, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"is a directory: name a file with --kubeconfig"):
        home.start(kubeconfig=str(tmp_path))
    assert home.said == []


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


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
