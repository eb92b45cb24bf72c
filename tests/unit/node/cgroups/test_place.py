"""Where cgroups may be made, read from directory trees like those of real machines."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from skerry.node.cgroups import place

V1_CGROUP = "9:name=systemd:/\n4:memory:/user/me\n3:pids:/\n2:cpu,cpuacct:/user\n0::/\n"


def cgroup(directory: Path, procs: str = "", controllers: str = "cpu memory pids", kind: str = "domain") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").write_text(procs)
    (directory / "cgroup.controllers").write_text(controllers)
    (directory / "cgroup.subtree_control").write_text("")
    if kind:
        (directory / "cgroup.type").write_text(kind)
    return directory


def closed(*directories: Path) -> None:
    """Makes directories read-only, as those of root are to others."""
    for one in directories:
        for file in one.iterdir():
            if file.is_file():
                file.chmod(0o444)
        one.chmod(0o555)


def find(cgroups: str, mounts: str, ours: tuple[int, ...] = (), *, root: bool = False) -> place.Place:
    """As for somebody who is bound by the modes of files, which root is not."""

    def writable(path: str) -> bool:
        return os.path.exists(path) and bool(os.stat(path).st_mode & stat.S_IWUSR)

    return place.find(cgroups, mounts, ours, root=root, writable=writable)


def v1_mounts(top: Path) -> str:
    for name, below in (("memory", "user/me"), ("pids", ""), ("cpu,cpuacct", "user")):
        cgroup(top / name / below, kind="")
    return (
        f"30 25 0:26 / {top} ro - tmpfs tmpfs ro\n"
        f"31 30 0:27 / {top}/memory rw,nosuid - cgroup cgroup rw,memory\n"
        f"32 30 0:28 / {top}/pids rw,nosuid - cgroup cgroup rw,pids\n"
        f"33 30 0:29 / {top}/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    )


def v2_mounts(top: Path, root: str = "/") -> str:
    return f"30 25 0:26 {root} {top} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_version_1_goes_below_the_cgroups_that_we_are_in(tmp_path: Path) -> None:
    found = find(V1_CGROUP, v1_mounts(tmp_path))
    assert found.version == 1
    assert found.parents == {
        "cpu": f"{tmp_path}/cpu,cpuacct/user",
        "memory": f"{tmp_path}/memory/user/me",
        "pids": f"{tmp_path}/pids",
    }
    assert found.options == {"cpu": "cpu,cpuacct", "memory": "memory", "pids": "pids"}
    assert found.missing == ()


def test_version_1_with_only_some_that_can_be_written(tmp_path: Path) -> None:
    mounts = v1_mounts(tmp_path)
    closed(tmp_path / "cpu,cpuacct/user", tmp_path / "pids")
    found = find(V1_CGROUP, mounts)
    assert (list(found.parents), found.missing) == (["memory"], ("cpu", "pids"))
    closed(tmp_path / "memory/user/me")
    with pytest.raises(place.NotWritableError, match="root alone"):
        find(V1_CGROUP, mounts)


def test_version_1_in_a_container_shows_the_container_only(tmp_path: Path) -> None:
    cgroup(tmp_path / "memory", kind="")
    mounts = f"31 30 0:27 /docker/abc {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
    assert find("4:memory:/docker/abc\n", mounts).parents == {"memory": f"{tmp_path}/memory"}
    with pytest.raises(place.NotWritableError):
        find("4:memory:/docker/other\n", mounts)


def test_version_2_goes_below_the_nearest_that_holds_no_processes(tmp_path: Path) -> None:
    """A desktop terminal: app.slice is the user's, and only its scopes hold processes."""
    cgroup(tmp_path, kind="")
    cgroup(tmp_path / "app.slice")
    cgroup(tmp_path / "app.slice/terminal.scope", "1\n2\n")
    found = find("0::/app.slice/terminal.scope\n", v2_mounts(tmp_path), ours=(2,))
    assert found == place.Place(2, {"": f"{tmp_path}/app.slice"}, {"": ""})


def test_version_2_in_a_scope_of_our_own(tmp_path: Path) -> None:
    """`systemd-run --user --scope -p Delegate=yes`: only we are in it, and move aside."""
    cgroup(tmp_path, kind="")
    cgroup(tmp_path / "run.scope", "7\n8\n", controllers="memory pids")
    found = find("0::/run.scope\n", v2_mounts(tmp_path), ours=(8, 7))
    assert found == place.Place(2, {"": f"{tmp_path}/run.scope"}, {"": ""}, ("cpu",), (7, 8))


def test_version_2_as_the_machine_s_root(tmp_path: Path) -> None:
    """The root of the hierarchy may hold processes and divide all the same."""
    cgroup(tmp_path, "1\n2\n", kind="")
    assert find("0::/\n", v2_mounts(tmp_path), ours=(2,)).parents == {"": str(tmp_path)}


def test_version_2_that_belongs_to_root(tmp_path: Path) -> None:
    cgroup(tmp_path, kind="")
    cgroup(tmp_path / "session.scope", "7\n")
    closed(tmp_path / "session.scope", tmp_path)
    with pytest.raises(place.NotWritableError, match="systemd-run --user --scope"):
        find("0::/session.scope\n", v2_mounts(tmp_path), ours=(7,))


def test_version_2_in_a_container_with_other_processes(tmp_path: Path) -> None:
    cgroup(tmp_path, "1\n7\n")
    with pytest.raises(place.NotWritableError, match="other processes"):
        find("0::/\n", v2_mounts(tmp_path), ours=(7,))


def test_both_versions_take_the_one_with_the_controllers(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "unified"
    mounts = v1_mounts(old) + v2_mounts(cgroup(new, "1\n", controllers="hugetlb", kind=""))
    assert find(V1_CGROUP, mounts).version == 1
    (new / "cgroup.controllers").write_text("cpu memory pids")
    assert find(V1_CGROUP.replace("memory", "x"), mounts).version == 2


def test_a_machine_without_cgroups() -> None:
    with pytest.raises(place.NotWritableError, match="shows no cgroups"):
        find("", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")


def test_a_read_only_mount_as_containers_have_it(tmp_path: Path) -> None:
    cgroup(tmp_path, "1\n")
    closed(tmp_path)
    with pytest.raises(place.NotWritableError, match="mounted read-only"):
        find("0::/\n", v2_mounts(tmp_path), root=True)
