"""Runs a test in a forked child with a network namespace of its own: as root, or as root of a new user namespace."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import pickle
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skerry import linux


def in_network_namespace(test: Callable[..., Any]) -> Callable[..., None]:
    """The test, sync or async, runs where loopback is up and nothing else is; skipped where that is not allowed."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        def work() -> None:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            result = test(*args, **kwargs)
            if inspect.iscoroutine(result):
                asyncio.run(asyncio.wait_for(result, 60))

        _in_child(work)

    return run


def _enter() -> None:
    if os.geteuid() == 0:
        linux.unshare(linux.CLONE_NEWNET)
        return
    uid, gid = os.getuid(), os.getgid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _in_child(work: Callable[[], None]) -> None:
    """Forks, enters, works; an exception of the child becomes the parent's assertion with its traceback."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = ("passed", "")
        try:
            os.close(reader)
            try:
                _enter()
            except OSError as error:
                answer = ("skipped", f"no network namespace of our own: {error}")
            else:
                work()
        except BaseException:  # noqa: BLE001  the parent shows it
            answer = ("failed", traceback.format_exc())
        with open(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise AssertionError("the test's child died without a word")
    outcome, text = pickle.loads(data)
    if outcome == "skipped":
        pytest.skip(text)
    if outcome == "failed":
        raise AssertionError(text)
