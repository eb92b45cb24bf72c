"""Helpers: run a function in a child process with namespaces of its own, and look at what is on this machine."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry import linux


def in_child(work: Callable[[], Any], flags: int = 0) -> Any:
    """Runs `work` in a forked child after unshare(flags), with CLONE_NEWUSER as root of it; its result or exception."""
    reader, writer = os.pipe()
    uid, gid = os.getuid(), os.getgid()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            linux.unshare(flags)
            if flags & linux.CLONE_NEWUSER:
                Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
                Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
            answer = (True, work())
        except BaseException:  # noqa: BLE001  the parent shows it
            answer = (False, traceback.format_exc())
        with open(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    done, value = pickle.loads(data)
    if not done:
        raise AssertionError(value)
    return value
