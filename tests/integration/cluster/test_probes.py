"""What the probes say on machines that lack something: made here, in namespaces of the test's own."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from skerry import linux
from skerry.cluster import idmap, probes
from skerry.cluster.networks import Networks
from skerry.cluster.surroundings import Finding

NO_PRIVILEGES = 38


def findings(prepare: Callable[[], None], data: str = "", networks: Networks | None = None) -> list[Finding]:
    """What the probes find in a child process that has prepared its surroundings."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            prepare()
            answer: object = probes.findings(data, networks)
        except BaseException:  # noqa: BLE001  the parent shows it
            answer = traceback.format_exc()
        with open(writing, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pickle.load(pipe)
    os.waitpid(child, 0)
    assert isinstance(answer, list), answer
    return answer


def unshare(*more: int) -> None:
    """Become root of a new user namespace, with these others; in a new PID namespace, with a /proc of its own."""
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    for flag in more:
        linux.unshare(flag)
    if linux.CLONE_NEWNS in more:
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)


@pytest.fixture(autouse=True)
def good_machine() -> None:
    fatal = [one.sentence for one in probes.findings() if one.fatal]
    if fatal:
        pytest.skip(fatal[0])


def only(found: list[Finding], name: str) -> Finding:
    (one,) = [one for one in found if one.name == name]
    assert one.sentence.endswith(".") and "\n" not in one.sentence
    return one


def test_nothing_is_left_of_a_look(tmp_path: Path) -> None:
    assert not [one for one in probes.findings(str(tmp_path)) if one.fatal]
    assert os.listdir(tmp_path) == []


def test_no_more_user_namespaces(tmp_path: Path) -> None:
    def none_left() -> None:
        unshare()
        Path("/proc/sys/user/max_user_namespaces").write_text("0")

    found = only(findings(none_left), "user-namespaces")
    assert found.fatal and "sudo sysctl user.max_user_namespaces=15000" in found.sentence


def test_a_seccomp_filter_as_containers_have_it() -> None:
    def refuse_unshare() -> None:
        if os.uname().machine != "x86_64":
            pytest.skip("the filter below has this machine's numbers")
        load, equal, answer = (0x20, 0x15, 0x06)
        unshare_number, allow, refuse = 272, 0x7FFF0000, 0x00050001
        program = b"".join(
            struct.pack("=HBBI", *line)
            for line in (
                (load, 0, 0, 0),
                (equal, 0, 1, unshare_number),
                (answer, 0, 0, refuse),
                (answer, 0, 0, allow),
            )
        )
        buffer = ctypes.create_string_buffer(program)
        head = struct.pack("=HxxxxxxQ", 4, ctypes.addressof(buffer))
        libc = ctypes.CDLL(None, use_errno=True)
        linux.prctl(NO_PRIVILEGES, 1)
        assert libc.prctl(22, 2, ctypes.c_char_p(head), 0, 0) == 0, os.strerror(ctypes.get_errno())

    found = only(findings(refuse_unshare), "user-namespaces")
    assert found.fatal and "seccomp=unconfined" in found.sentence


def test_a_covered_proc_as_in_a_container() -> None:
    def cover() -> None:
        unshare(linux.CLONE_NEWNS)
        linux.mount("tmpfs", "/proc/sys", "tmpfs")

    found = only(findings(cover), "proc")
    assert found.fatal and "systempaths=unconfined" in found.sentence


def test_a_data_directory_on_an_overlay(tmp_path: Path) -> None:
    def layer() -> None:
        unshare(linux.CLONE_NEWNS)
        linux.mount("tmpfs", str(tmp_path), "tmpfs")
        for name in ("lower", "upper", "work", "root"):
            (tmp_path / name).mkdir()
        options = ",".join(f"{key}dir={tmp_path}/{key}" for key in ("lower", "upper", "work"))
        linux.mount("overlay", str(tmp_path / "root"), "overlay", data=f"{options},userxattr")

    found = only(findings(layer, str(tmp_path / "root")), "data-directory")
    assert not found.fatal and "only `image: host` works" in found.sentence


def test_a_data_directory_that_is_mounted_noexec(tmp_path: Path) -> None:
    def mount() -> None:
        unshare(linux.CLONE_NEWNS)
        linux.mount("tmpfs", str(tmp_path), "tmpfs", linux.MS_NOEXEC)

    found = only(findings(mount, str(tmp_path)), "data-directory")
    assert not found.fatal and "noexec" in found.sentence


def test_few_open_files() -> None:
    found = only(findings(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))), "open-files")
    assert not found.fatal and "512 files" in found.sentence


@pytest.mark.parametrize("table", ["main", "51820"])
def test_a_vpn_that_routes_10_8(table: str) -> None:
    def connect() -> None:
        unshare(linux.CLONE_NEWNET)
        for words in (
            "link add tun9 type veth peer name tun8",
            "addr add 192.0.2.2/32 dev tun9",
            "link set tun9 up",
            f"route add 10.0.0.0/8 dev tun9 table {table}",
        ):
            subprocess.run(["ip", *words.split()], check=True)

    found = only(findings(connect, networks=Networks()), "addresses")
    assert "reaches 10.0.0.0/8 through tun9" in found.sentence
    other = Networks("172.20.0.0/16", "172.21.0.0/16")
    assert not [one for one in findings(connect, networks=other) if one.name == "addresses"]


@pytest.mark.root
def test_an_ordinary_user_without_newuidmap() -> None:
    def become() -> None:
        os.environ["PATH"] = "/nonexistent"
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)

    found = only(findings(become), "sub-uids")
    assert not found.fatal and "apt install uidmap" in found.sentence


@pytest.mark.skipif(not idmap.Facts.look().tools, reason="newuidmap is not installed")
@pytest.mark.root
def test_an_ordinary_user_without_a_range() -> None:
    def become() -> None:
        os.setgroups([])
        os.setresgid(65533, 65533, 65533)
        os.setresuid(65533, 65533, 65533)

    found = only(findings(become), "sub-uids")
    assert not found.fatal and "usermod --add-subuids" in found.sentence


def test_the_command_says_it(tmp_path: Path) -> None:
    """`skerry up` where nodes cannot start: one sentence with the cure, exit code 1, and nothing is left."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    script = "echo 0 >/proc/sys/user/max_user_namespaces && exec " + f"{sys.executable} -m skerry.cli.main up"
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert done.returncode == 1, done.stdout
    assert done.stderr.count("\n") == 1 and "sudo sysctl user.max_user_namespaces=15000" in done.stderr
    assert not (tmp_path / ".kube").exists()
