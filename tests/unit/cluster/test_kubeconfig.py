"""The kubeconfig: which file, what changes in it, what stays, and the lock."""

from __future__ import annotations

import os
import signal
import stat
import threading
from pathlib import Path

import pytest
import yaml

from skerry.cluster import kubeconfig, sharedfile
from skerry.cluster.errors import ClusterError

ENTRY = kubeconfig.Entry("skerry-one", "https://127.0.0.1:6443", b"-----CA-----", "0123abcd")

FOREIGN = """\
apiVersion: v1
clusters:
- cluster: {server: https://example.test}
  name: other
contexts:
- {name: other, context: {cluster: other, user: other}}
current-context: other
kind: Config
users:
- name: other
  user:
    token: 0123
    expiry: 2024-01-01T00:00:00Z
    odd: 1:20
    flag: yes
x-extension: {a: [1, 2]}
"""


def test_explicit_file_wins(tmp_path: Path) -> None:
    assert kubeconfig.target(str(tmp_path / "f"), {"KUBECONFIG": "/elsewhere"}) == tmp_path / "f"


def test_first_existing_file_of_the_list_else_the_last(tmp_path: Path) -> None:
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    environment = {"KUBECONFIG": f"{a}:{b}::{c}:{a}"}
    assert kubeconfig.target(None, environment) == c
    b.touch()
    assert kubeconfig.target(None, environment) == b
    a.touch()
    assert kubeconfig.target(None, environment) == a


def test_home_without_the_variable(tmp_path: Path) -> None:
    assert kubeconfig.target(None, {"HOME": str(tmp_path), "KUBECONFIG": ""}) == tmp_path / ".kube" / "config"


def test_new_file_is_private_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config"
    kubeconfig.add(path, ENTRY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == "skerry-one"
    assert content["contexts"] == [{"name": "skerry-one", "context": {"cluster": "skerry-one", "user": "skerry-one"}}]
    assert content["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": "LS0tLS1DQS0tLS0t",
    }
    assert content["users"] == [{"name": "skerry-one", "user": {"token": "0123abcd"}}]
    assert content["kind"] == "Config" and content["apiVersion"] == "v1"
    assert os.listdir(path.parent) == ["config"]  # neither lock nor half a file is left


def test_add_keeps_what_is_not_ours_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(FOREIGN)
    path.chmod(0o640)
    kubeconfig.add(path, ENTRY)
    text = path.read_text()
    # As YAML 1.1 values these would be 83, a date, 80 and True: they are kept as they are written.
    for line in ("token: 0123", "expiry: 2024-01-01T00:00:00Z", "odd: 1:20", "flag: yes", "x-extension: {a: [1, 2]}"):
        assert line in text
    content = yaml.safe_load(text)
    assert [row["name"] for row in content["contexts"]] == ["other", "skerry-one"]
    assert content["current-context"] == "skerry-one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_add_again_replaces(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.add(path, ENTRY)
    kubeconfig.add(path, ENTRY._replace(server="https://127.0.0.1:7000"))
    content = yaml.safe_load(path.read_text())
    assert [row["cluster"]["server"] for row in content["clusters"]] == ["https://127.0.0.1:7000"]
    assert len(content["contexts"]) == len(content["users"]) == 1


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing yet\n", "clusters: null\ncontexts: []\nusers:\n", "kind: Config\n"]
)
def test_add_to_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    kubeconfig.add(path, ENTRY)
    content = yaml.safe_load(path.read_text())
    assert [len(content[key]) for key in ("clusters", "contexts", "users")] == [1, 1, 1]
    assert content["kind"] == "Config" and content["apiVersion"] == "v1"


def test_remove_takes_only_ours(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(FOREIGN)
    kubeconfig.add(path, ENTRY)
    assert kubeconfig.remove(path, "skerry-one")
    content = yaml.safe_load(path.read_text())
    assert [row["name"] for row in content["contexts"]] == ["other"]
    assert content["current-context"] == ""  # ours was current: no other is chosen for the person
    assert not kubeconfig.remove(path, "skerry-one")


def test_remove_leaves_another_current_context(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.add(path, ENTRY)
    kubeconfig.add(path, ENTRY._replace(context="skerry-two"))
    assert kubeconfig.remove(path, "skerry-one")
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == "skerry-two"
    assert [row["name"] for row in content["users"]] == ["skerry-two"]


def test_removing_the_last_leaves_lists_not_nulls(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.add(path, ENTRY)
    kubeconfig.remove(path, "skerry-one")
    content = yaml.safe_load(path.read_text())
    assert content["clusters"] == content["contexts"] == content["users"] == []


def test_remove_without_a_file_is_fine(tmp_path: Path) -> None:
    assert not kubeconfig.remove(tmp_path / "none", "skerry-one")


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "just words", "contexts: {a: b}\n", "\x00"])
def test_what_is_no_kubeconfig_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ClusterError, match="nothing was changed"):
        kubeconfig.add(path, ENTRY)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["config"]


def test_a_lock_left_behind_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    monkeypatch.setattr(sharedfile, "LOCK_SECONDS", 0.02)
    with pytest.raises(ClusterError, match=r"remove .*config\.lock and try again"):
        kubeconfig.add(path, ENTRY)
    assert not path.exists() and (tmp_path / "config.lock").exists()


def test_a_lock_of_ours_whose_holder_was_killed_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "config"
    child = os.fork()
    if child == 0:
        sharedfile.Lock(path).__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / "config.lock").exists()
    kubeconfig.add(path, ENTRY)
    assert os.listdir(tmp_path) == ["config"]


def test_a_lock_of_ours_that_is_held_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    monkeypatch.setattr(sharedfile, "LOCK_SECONDS", 0.02)
    with sharedfile.Lock(path), pytest.raises(ClusterError, match="locked by another program"):
        kubeconfig.add(path, ENTRY)
    kubeconfig.add(path, ENTRY)


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config"
    names = [f"skerry-{index}" for index in range(8)]
    threads = [threading.Thread(target=kubeconfig.add, args=(path, ENTRY._replace(context=name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row["name"] for row in yaml.safe_load(path.read_text())["contexts"]} == set(names)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text(FOREIGN)
    link.symlink_to(real)
    kubeconfig.add(link, ENTRY)
    assert link.is_symlink() and "skerry-one" in real.read_text()


def test_current_context(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with pytest.raises(ClusterError, match="no kubeconfig"):
        kubeconfig.current_context(path)
    kubeconfig.add(path, ENTRY)
    assert kubeconfig.current_context(path) == "skerry-one"


def test_a_write_that_was_killed_leaves_the_old_file_and_is_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(FOREIGN)
    for again in (lambda: kubeconfig.add(path, ENTRY), lambda: kubeconfig.remove(path, "skerry-none")):
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            kubeconfig.add(path, ENTRY._replace(context="skerry-lost"))
        os.waitpid(child, 0)
        assert "skerry-lost" not in path.read_text() and len(os.listdir(tmp_path)) == 3
        again()
        assert os.listdir(tmp_path) == ["config"]
    assert "skerry-one" in path.read_text()


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(FOREIGN)
    done = threading.Event()

    def write() -> None:
        for number in range(15):
            kubeconfig.add(path, ENTRY._replace(context=f"skerry-{number}"))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    sizes = []
    while not done.is_set():
        content = yaml.safe_load(path.read_text())
        names = [row["name"] for row in content["contexts"]]
        assert content["current-context"] in names and "other" in names
        assert len(content["contexts"]) == len(content["users"]) == len(content["clusters"])
        sizes.append(len(names))
    thread.join()
    assert sizes == sorted(sizes) and len(set(sizes)) > 3


def test_permissions_of_what_a_link_leads_to_are_kept(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    real, link = tmp_path / "deep" / "real", tmp_path / "config"
    real.write_text(FOREIGN)
    real.chmod(0o640)
    link.symlink_to("deep/real")
    kubeconfig.add(link, ENTRY)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.readlink(link) == "deep/real" and os.listdir(real.parent) == ["real"]


def test_a_link_that_leads_nowhere_yet(tmp_path: Path) -> None:
    link = tmp_path / "config"
    link.symlink_to("real")
    kubeconfig.add(link, ENTRY)
    assert link.is_symlink() and "skerry-one" in (tmp_path / "real").read_text()


def test_what_can_never_be_written_is_said_before(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is a directory: name a file"):
        kubeconfig.check(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match="file is in the way of the kubeconfig"):
        kubeconfig.check(tmp_path / "file" / "config")
    kubeconfig.check(tmp_path / "new" / "deep" / "config")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_said_before(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ClusterError, match=rf"\({tmp_path} is read-only\): choose another --kubeconfig"):
        kubeconfig.check(tmp_path / "new" / "config")
    tmp_path.chmod(0o700)


def test_a_lock_of_client_go_that_is_given_back_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "config"
    lock = tmp_path / "config.lock"
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))  # as client-go makes it: without permissions
    threading.Timer(0.1, lock.unlink).start()
    kubeconfig.add(path, ENTRY)
    assert os.listdir(tmp_path) == ["config"]
