"""Runs a function as the node agent runs: root of a user namespace, mapped in one of the ways that clusters come in."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from skerry import linux

USER = 23456  # an ordinary user, where the tests themselves run as root
SUBORDINATE = 300_000


def run(mode: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in new user and mount namespaces; what it returns or raises must be picklable.

    `mode`: "root" (identity map), "user" (an ordinary user with subordinate ids), "single" (one with none). Skips what
    cannot be had here.
    """
    privileged = os.geteuid() == 0
    if mode == "root" and not privileged:
        pytest.skip("needs root")
    if mode == "user" and not privileged and shutil.which("newuidmap") is None:
        pytest.skip("newuidmap is not installed (apt-get install uidmap)")
    there, ready = os.pipe()
    go, mapped = os.pipe()
    answer, reply = os.pipe()
    child = os.fork()
    if child == 0:
        for fd in (there, mapped, answer):
            os.close(fd)
        try:
            if privileged and mode != "root":
                os.setgroups([])
                os.setresgid(USER, USER, USER)
                os.setresuid(USER, USER, USER)
                linux.prctl(linux.PR_SET_DUMPABLE, 1)
            linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
            os.write(ready, b"x")
            if os.read(go, 1) != b"x":
                os._exit(1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            result: tuple[bool, Any] = (True, function(*arguments))
        except BaseException:  # noqa: BLE001 - it is raised again on the other side
            result = (False, traceback.format_exc())
        with os.fdopen(reply, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    for fd in (ready, go, reply):
        os.close(fd)
    try:
        if os.read(there, 1) == b"x":
            _map(child, mode, privileged)
            os.write(mapped, b"x")
        with os.fdopen(answer, "rb") as file:
            data = file.read()
    finally:
        os.close(there)
        os.close(mapped)
        os.waitpid(child, 0)
    good, value = pickle.loads(data)
    assert good, value
    return value


def _map(child: int, mode: str, privileged: bool) -> None:
    own = USER if privileged else os.geteuid()
    if not privileged and mode == "user":
        ranges = [line.split(":") for line in Path("/etc/subuid").read_text().splitlines()]
        name = os.environ.get("USER", "")
        start, count = next((r[1], r[2]) for r in ranges if r[0] in (name, str(own)))
        for program in ("newuidmap", "newgidmap"):
            subprocess.run([program, str(child), "0", str(own), "1", "1", start, count], check=True)
        return
    lines = {"root": "0 0 4294967295", "user": f"0 {own} 1\n1 {SUBORDINATE} 65536", "single": f"0 {own} 1"}[mode]
    if not privileged:
        Path(f"/proc/{child}/setgroups").write_text("deny")
    Path(f"/proc/{child}/uid_map").write_text(lines)
    Path(f"/proc/{child}/gid_map").write_text(lines)


@contextmanager
def directory(mode: str) -> Iterator[str]:
    """A directory that the mapped root owns; emptied from inside, since its files may belong to mapped users."""
    path = tempfile.mkdtemp(prefix="skerry-images-")
    try:
        if os.geteuid() == 0 and mode != "root":
            os.chown(path, USER, USER)
        yield path
        run(mode, shutil.rmtree, path, True)
    finally:
        shutil.rmtree(path, ignore_errors=True)
