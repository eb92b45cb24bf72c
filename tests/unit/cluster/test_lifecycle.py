"""Starting, stopping and deleting with a control plane that is only a process: everything but the cluster itself.

The real one is tried in tests/e2e.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cluster.home import Home, become, port_of, serve, taken_port

from skerry.cluster import lifecycle, listener, state
from skerry.cluster.config import ClusterConfig, Progress
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import cluster_paths


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


def test_a_running_one_does_not_come_to_the_foreground(home: Home) -> None:
    """Whoever waits for it to be ready (a service manager) must not be told that all is well."""
    first = home.start()
    said = rf"running already \(process {first.pid}\), and not from this terminal: leave out --foreground"
    with pytest.raises(ClusterError, match=said):
        home.start(foreground=True)
    assert home.start().already


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("nodes", 0, "--nodes 1"),
        ("ephemeral", True, "no --ephemeral"),
        ("network", "host", "--network contained"),
        ("announce", "eth0", "no --announce"),
        ("store", "http://etcd", "no --store"),
        ("api_port", 1, "--api-port"),
        ("pod_cidr", "10.1.0.0/16", "--pod-cidr 10.244.0.0/16"),
        ("service_cidr", "10.2.0.0/16", "--service-cidr 10.96.0.0/12"),
        ("max_pods", 300, "--max-pods 110"),
        ("proxy_mode", "userspace", "--proxy-mode auto"),
        ("audit_log", True, "no --audit-log"),
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
