"""What a process decides on its way to becoming a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skerry import linux
from skerry.node.runtime import container, rootfs
from skerry.node.runtime.spec import DEFAULT_CAPABILITIES, DEFAULT_PATH, ContainerSpec, HostImage


@pytest.fixture
def bins(tmp_path: Path) -> str:
    """Two directories of a PATH; `tool` is in both, but not executable in the first."""
    for name, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").touch()
        (tmp_path / name / "tool").chmod(mode)
    (tmp_path / "first/plain").touch(0o644)
    (tmp_path / "first/folder").mkdir()
    return f"{tmp_path}/first:{tmp_path}/second"


def test_a_program_is_the_first_executable_one_in_path(bins: str) -> None:
    assert container._find("tool", bins) == bins.rpartition(":")[2] + "/tool"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("plain", 'exec: "plain": permission denied'),
        ("folder", 'exec: "folder": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_what_cannot_be_executed(bins: str, name: str, message: str) -> None:
    with pytest.raises(container._Refusal) as refused:
        container._find(name, bins)
    assert str(refused.value) == message


def test_what_the_environment_gets_besides() -> None:
    spec = ContainerSpec(id="c", pod_uid="p", rootfs=HostImage(), argv=["x"], env={"A": "1"}, uid=4294967294)
    assert container._environment(spec) == {
        "A": "1",
        "PATH": DEFAULT_PATH,
        "HOSTNAME": os.uname().nodename,
        "HOME": "/",
    }
    own = {"PATH": "/bin", "HOSTNAME": "h", "HOME": "/x"}
    spec = ContainerSpec(id="c", pod_uid="p", rootfs=HostImage(), argv=["x"], env=own)
    assert container._environment(spec) == own


def test_home_is_that_of_the_user() -> None:
    assert container._home(0) == "/root"


def test_capabilities_have_the_kernels_numbers() -> None:
    numbers = {"CHOWN": 0, "KILL": 5, "NET_ADMIN": 12, "SYS_ADMIN": 21, "SETFCAP": 31, "CHECKPOINT_RESTORE": 40}
    assert {name: linux.CAPABILITIES.index(name) for name in numbers} == numbers
    assert sum(1 << linux.CAPABILITIES.index(name) for name in DEFAULT_CAPABILITIES) == 0xA80425FB


def test_paths_in_overlay_options_are_escaped() -> None:
    assert rootfs._escape("/a:b,c\\d", ":") == "/a\\:b\\,c\\\\d"
