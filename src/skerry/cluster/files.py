"""Writing a file so that it is either the old one or the new one, never half of one, and never seen by others."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data` atomically and durably. OSError as the system gives it (full disk, no permission)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask is
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)  # else a machine that loses power may have the new file under no name
    finally:
        os.close(directory)


def make_private_directory(path: Path) -> None:
    """`path` as a directory of ours that nobody else can enter. PermissionError if it is somebody else's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.stat(follow_symlinks=False)
    if status.st_uid != os.geteuid():
        raise PermissionError(13, "belongs to another user", str(path))
    if status.st_mode & 0o077:
        path.chmod(0o700)
