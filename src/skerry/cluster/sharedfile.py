"""A file that other programs change at the same time: locked as client-go locks it, and replaced in one step.

Called by kubeconfig.py.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from skerry.cluster.errors import ClusterError

LOCK_SECONDS = 5.0
"""How long to wait for another program that holds the lock."""


def write(path: Path, data: bytes) -> None:
    """Replace the file; what it links to, its mode and its owner stay. A new one is for us alone.

    The caller has the lock, so that what a kill leaves has one name and is written over or removed by the next.
    """
    real = Path(os.path.realpath(path))
    new = partial(path)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            if real.exists():
                before = real.stat()
                os.fchmod(fd, before.st_mode & 0o777)
                if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                    _try_chown(fd, before.st_uid, before.st_gid)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(new, real)
    except BaseException:
        os.unlink(new)
        raise


def partial(path: Path) -> Path:
    """Where the new content is until it is whole."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name}.skerry")


def _try_chown(fd: int, uid: int, gid: int) -> None:
    try:
        os.fchown(fd, uid, gid)
    except PermissionError:
        pass  # not root: the file becomes ours, as with any editor that renames


_OURS = b"skerry\n"


class Lock:
    """`FILE.lock`, made with O_EXCL as client-go does.

    Ours says so inside and is held with flock as well: one that was left by a kill is known by that and taken away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._of = path
        self._fd = -1

    def __enter__(self) -> None:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                self._fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                if self._remove_abandoned():
                    continue
                if time.monotonic() >= until:
                    raise ClusterError(
                        f"{self._of} is locked by another program; if none is running, one was killed while it wrote: "
                        f"remove {self.path} and try again."
                    ) from None
                time.sleep(0.01)  # client-go's lock can only be polled
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.write(self._fd, _OURS)

    def _remove_abandoned(self) -> bool:
        """Removes a lock of ours whose holder was killed; True if the lock may be tried again at once."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # client-go's has no permissions, and is its own affair
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # With the flock nobody else removes this file; that it is still the one at the path is to be looked at.
            if os.read(fd, 64) != _OURS or not os.path.samestat(os.fstat(fd), os.stat(self.path)):
                return False
            os.unlink(self.path)
            return True
        except OSError:
            return False  # somebody holds it, or has just removed it
        finally:
            os.close(fd)

    def __exit__(self, *_: object) -> None:
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass  # somebody removed it as left behind
        os.close(self._fd)
