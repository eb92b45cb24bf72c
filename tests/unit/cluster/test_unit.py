"""The systemd unit: read by a parser of ours, and by systemd's own where it is installed."""

from __future__ import annotations

import argparse
import configparser
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from skerry.cli import main as cli
from skerry.cli import up
from skerry.cluster.notify import Notifier
from skerry.cluster.unit import Unit, render


def parsed(text: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kube $ 5% config"))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["systemd", *words]) == 0
    return capsys.readouterr().out


def test_a_user_s_unit(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    text = printed(capsys, "--nodes", "3", "--data-dir", str(home / "place"))
    unit = parsed(text)
    service = unit["Service"]
    assert service["ExecStart"].endswith(f"up --foreground --nodes 3 --data-dir {home}/place")
    assert service["ExecStart"].startswith("/")
    assert (service["Type"], service["KillMode"], service["Delegate"]) == ("notify", "mixed", "yes")
    assert "User" not in service and unit["Install"]["WantedBy"] == "default.target"
    assert f'Environment="KUBECONFIG={home}/kube $ 5%% config"' in text
    commands = [line[2:].strip() for line in text.splitlines() if line.startswith("#   ")]
    assert commands[0].endswith("> ~/.config/systemd/user/skerry-default.service")
    assert commands[1] == "systemctl --user daemon-reload && systemctl --user enable --now skerry-default.service"


def test_the_machine_s_unit(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--system", "--name", "x", "--ephemeral", "--registry-mirror", "docker.io=http://m:5000")
    unit = parsed(text)
    end = "up --foreground --name x --ephemeral --registry-mirror docker.io=http://m:5000"
    assert unit["Service"]["ExecStart"].endswith(end)
    assert unit["Service"]["User"] and unit["Install"]["WantedBy"] == "multi-user.target"
    assert "network.target" in unit["Unit"]["After"]
    assert "skerry systemd --system --name x --ephemeral" in text and "/etc/systemd/system/skerry-x.service" in text


def test_a_node_that_is_the_machine_waits_for_its_address(capsys: pytest.CaptureFixture[str]) -> None:
    unit = parsed(printed(capsys, "--system", "--network", "host"))["Unit"]
    assert unit["After"] == "network-online.target local-fs.target" and unit["Wants"] == "network-online.target"


def test_every_option_of_up_goes_into_it() -> None:
    values = {
        "name": "x", "nodes": "2", "data_dir": "/d", "kubeconfig": "/k", "store": "http://s", "network": "contained",
        "announce": "eth0,eth1",
        "registry_mirror": "a=http://b", "api_port": "7000", "max_pods": "50", "pod_cidr": "10.1.0.0/16",
        "service_cidr": "10.2.0.0/16", "proxy_mode": "userspace",
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    up.arguments(parser)
    options = {action.dest for action in parser._actions} - {"help", "foreground", "ephemeral", "audit_log"}
    assert options == set(values)
    words = [word for key, value in values.items() for word in (f"--{key.replace('_', '-')}", value)]
    typed = parser.parse_args([*words, "--ephemeral", "--audit-log"])
    assert parser.parse_args(up.words(typed)) == typed


def test_relative_paths_mean_this_directory(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert f"--kubeconfig {home}/here" in printed(capsys, "--kubeconfig", "here")


@pytest.mark.parametrize("words", [["--user", "--system"], ["--nodes", "x"], ["extra"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["systemd", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("system", [True, False])
def test_systemd_finds_no_fault_in_it(tmp_path: Path, system: bool) -> None:
    command = ("/bin/sh", "a b", 'quo"te', "per%cent", "dol$lar", "back\\slash", "it's;", "")
    unit = Unit("x", command, (("KUBECONFIG", "/a b/$c/%d"),), system=system)
    path = tmp_path / unit.service
    path.write_text(render(unit, "skerry systemd"))
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    words = ["systemd-analyze", *([] if system else ["--user"]), "verify", "--man=no", str(path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("abstract", [True, False])
def test_what_systemd_hears(tmp_path: Path, abstract: bool) -> None:
    name = f"@skerry-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.settimeout(5)
        environment = {"NOTIFY_SOCKET": name, "HOME": "/"}
        notifier = Notifier(environment)
        assert environment == {"HOME": "/"}  # no process of the cluster is to speak in our name
        notifier.ready("https://127.0.0.1:6443")
        assert systemd.recv(200) == b"READY=1\nSTATUS=https://127.0.0.1:6443"
        notifier.stopping()
        assert systemd.recv(200).startswith(b"STOPPING=1\n")


def test_nobody_listens() -> None:
    Notifier({}).ready("x")
    Notifier({"NOTIFY_SOCKET": "/nonexistent"}).ready("x")
