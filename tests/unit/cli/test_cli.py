"""The command line: verbs, options, messages and exit codes (design of the command line: a contract for scripts)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.cli import main as cli
from skerry.cluster import daemon, entrance, lifecycle, load, state
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import cluster_paths


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return tmp_path


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster "default" that was started once, with no control plane behind it, and stopped."""

    def serve(config: Any, progress: Any) -> None:
        config.wait_for_certificates()
        progress.step("API server", 0.25)
        progress.ready()

    monkeypatch.setattr(daemon, "control_plane", serve)
    assert cli.main(["up", "--api-port", str(free_port())]) == 0
    state.wait_until_gone(cluster_paths("default"), 5)
    yield "default"
    lifecycle.delete("default")


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_that_says_what_it_does(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: skerry {verb}") and len(out.splitlines()) > 3


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_names_every_verb(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([word]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in cli.VERBS)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["up", "--nonsense"],
        ["up", "extra"],
        ["up", "--nodes", "-1"],
        ["up", "--nodes", "many"],
        ["up", "--nodes", "1000"],
        ["up", "--api-port", "0"],
        ["up", "--api-port", "70000"],
        ["up", "--pod-cidr", "10.1.2.3/16"],
        ["up", "--service-cidr", "fd00::1/108"],
        ["up", "--max-pods", "0"],
        ["up", "--max-pods", "1001"],
        ["up", "--registry-mirror", "docker.io"],
        ["up", "--registry-mirror", "docker.io=127.0.0.1:5000"],
        ["up", "--network", "bridge"],
        ["up", "--name", "Bad_Name"],
        ["up", "--nam", "x"],
        ["down", "--name", "../x"],
        ["status", "--name", "x", "--kubeconfig", "f"],
        ["list", "-o", "yaml"],
        ["run"],
        ["run", "--"],
        ["load"],
    ],
)
def test_wrong_usage_is_2_and_one_sentence(words: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert not (home / "data").exists()
    said = capsys.readouterr()
    if words:
        assert said.out == "" and said.err.startswith("skerry") and said.err.count("\n") == 1
        assert said.err.endswith(".\n") and ".." not in said.err.replace("../x", "")


@pytest.mark.parametrize("number", ["-1", "201"])
def test_a_number_out_of_range_is_told_the_range(number: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", "--nodes", number]) == 2
    assert "a cluster has 0 to 200 nodes here" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["down", "delete"])
def test_down_and_delete_of_nothing_are_0(verb: str, home: Path) -> None:
    assert cli.main([verb]) == 0
    assert cli.main([verb, "--name", "other"]) == 0
    assert not (home / "data").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], 1),
        (["kubeconfig"], 1),
        (["load", "/etc/hostname"], 1),
        (["run", "--", "true"], 125),
        (["shell"], 125),
        (["status", "--kubeconfig", "/nonexistent"], 1),
    ],
)
def test_no_cluster_is_one_sentence_on_stderr(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("skerry: There is no ") and said.err.count("\n") == 1


def test_up_prints_a_line_a_step(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["API", "server", "0.25", "s"]
    assert lines[-1].startswith('Cluster "default" is ready after ') and "skerry-default" in lines[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--store", "http://127.0.0.1:2379"], "leave out --store"),
        (["--network", "host", "--nodes", "2"], "this machine is the node, so there is one: leave out --nodes"),
        (["--network", "host", "--nodes", "0"], "leave out --nodes"),
        (["--network", "host", "--proxy-mode", "userspace"], "leave out --proxy-mode userspace"),
        (
            [
                "--network",
                "host",
                "--pod-cidr",
                "10.1.0.0/16,fd00:1::/56",
                "--service-cidr",
                "10.2.0.0/16,fd00:2::/112",
            ],
            "--network host is for IPv4 alone",
        ),
        (["--announce", "eth0"], "--announce is for --network host"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up", *options]) == 1
    assert words in capsys.readouterr().err


def test_the_network_of_the_machine_is_for_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["up", "--network", "host"]) == 1
    assert "--network host takes root" in capsys.readouterr().err
    assert state.names() == []


def test_list(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["list"]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "STATE", "NODES", "API", "DATA"]
    assert line.split()[:3] == ["default", "stopped", "1"]
    assert cli.main(["list", "-o", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) == {"name", "state", "nodes", "api", "context", "dataDir"}
    assert row["state"] == "stopped" and row["context"] == "skerry-default"


def test_list_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    assert "skerry up" in capsys.readouterr().out
    assert cli.main(["list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_list_shows_a_damaged_one(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    cluster_paths("default").state.write_text("{")
    capsys.readouterr()
    assert cli.main(["list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "damaged"


def test_status_of_a_stopped_one(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.startswith("Cluster   default: stopped\n")
    assert cli.main(["status", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "stopped" and found["pid"] is None and found["nodeStatus"] == []


def test_status_by_kubeconfig(stopped: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--kubeconfig", str(home / "kubeconfig")]) == 0
    (home / "other").write_text("current-context: kind-kind\n")
    assert cli.main(["status", "--kubeconfig", str(home / "other")]) == 1
    assert '"kind-kind", which is no cluster' in capsys.readouterr().err


def test_kubeconfig_prints_one(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    capsys.readouterr()
    assert cli.main(["kubeconfig"]) == 0
    content = yaml.safe_load(capsys.readouterr().out)
    assert content["current-context"] == "skerry-default" and content["users"][0]["user"]["token"]


@pytest.mark.parametrize("words", [["run", "--", "true"], ["shell"]])
def test_run_in_a_stopped_one(stopped: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 125
    assert "is not running: `skerry up` starts it" in capsys.readouterr().err


def test_run_hands_on_the_command_and_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(name: str, namespace: str, command: list[str]) -> int:
        seen.append((name, namespace, command))
        return 42

    monkeypatch.setattr(entrance, "run", run)
    assert cli.main(["run", "-n", "kube-system", "--name", "x", "--", "curl", "-s", "--name", "--", "y"]) == 42
    assert cli.main(["run", "echo", "-n", "a"]) == 42
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert cli.main(["shell", "-n", "other"]) == 42
    assert seen == [
        ("x", "kube-system", ["curl", "-s", "--name", "--", "y"]),
        ("default", "default", ["echo", "-n", "a"]),
        ("default", "other", ["/bin/zsh"]),
    ]


def test_load_names_what_it_loaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(load, "load", lambda name, archive: [f"{archive}@{name}"])
    assert cli.main(["load", "a.tar", "--name", "x"]) == 0
    assert capsys.readouterr().out == "Loaded a.tar@x\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ClusterError("Something: do this."), "Something: do this."),
        (OSError(errno.ENOSPC, "No space left on device", "/d"), "The disk is full (/d): make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/d"), "Permission denied (/d)"),
        (OSError(errno.EROFS, "Read-only file system", "/d"), "The file system is read-only (/d)"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error."),
        (KeyboardInterrupt(), "Interrupted."),
    ],
)
def test_failures_are_one_sentence_and_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, sentence: str
) -> None:
    def fail(name: str) -> bool:
        raise error

    monkeypatch.setattr(lifecycle, "stop", fail)
    assert cli.main(["down"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"skerry: {sentence}") and err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_is_not_ours(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.chmod(0o500)
    assert cli.main(["up", "--nodes", "0"]) == 1
    assert "Permission denied" in capsys.readouterr().err
    home.chmod(0o700)


def test_a_file_where_the_data_should_be(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "data").write_text("")
    assert cli.main(["up", "--nodes", "0"]) == 1
    assert "A file is in the way of a directory" in capsys.readouterr().err


@pytest.mark.parametrize("verb", cli.VERBS)
def test_verbs_start_light(verb: str) -> None:
    """The heavy libraries are the daemon's: a verb's own imports stay without them, or every command would be slow."""
    program = (
        f"import sys, skerry.cli.main, skerry.cli.{verb.replace('-', '_')}\n"
        "heavy = {'msgspec', 'aiohttp', 'cryptography', 'yaml', 'asyncio', 'ssl', 'dnslib', 'backports', 'h11'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m skerry.cli.main --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_json_has_the_fields_that_the_reference_names(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    reference = Path(__file__).resolve().parents[3] / "docs" / "reference" / "cli.md"
    _, summary, more = reference.read_text().split("\n## JSON\n")[1].split("| field")
    rows = [[line for line in table.splitlines() if line.startswith("| `")] for table in (summary, more)]
    fields = [{line.split("`")[1] for line in table} for table in rows]
    capsys.readouterr()
    assert cli.main(["list", "-o", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)[0]) == fields[0]
    assert cli.main(["status", "-o", "json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == fields[0] | fields[1]
