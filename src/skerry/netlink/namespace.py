"""Work in other network namespaces, from a process that stays where it is.

Called by node/network (pods' links), proxy/userspace (the proxy's own namespace) and tests.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from skerry import linux
from skerry.netlink.route import Routes

_T = TypeVar("_T")


def inside(netns: int, work: Callable[[], _T]) -> _T:
    """Does `work` in the network namespace of an open file. Nothing else of this thread runs meanwhile."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        linux.setns(netns, linux.CLONE_NEWNET)
        try:
            return work()
        finally:
            linux.setns(home, linux.CLONE_NEWNET)
    finally:
        os.close(home)


def new() -> int:
    """A file of a new network namespace in which lo is up; the namespace ends with its last file and socket.

    Made by a thread, so that the caller stays where it is. OSError where that is not allowed.
    """
    made: list[int] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            linux.unshare(linux.CLONE_NEWNET)
            with Routes() as routes:
                routes.set_link(routes.index("lo"), up=True)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
