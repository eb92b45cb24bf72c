"""Mounting inside a root that is not trusted and that may be read-only.

Called by rootfs.py. Whatever symbolic links an image contains, no path leads out of its root: targets are opened with
RESOLVE_IN_ROOT and mounted on by file descriptor. Where a mount point must be made on a read-only file system, an
overlay in memory takes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from skerry import linux

_MOST_LINKS = 40


class Root:
    """A root being built at `mountpoint`, where its own file system is mounted already. Paths are absolute, as the
    container will see them. Each method raises OSError with the path in question.
    """

    def __init__(self, mountpoint: str, scratch: str) -> None:
        self._fd = os.open(mountpoint, os.O_PATH | os.O_DIRECTORY)
        self._scratch = scratch
        self._thawed: list[str] = []

    def has(self, path: str) -> bool:
        """Whether the path exists now."""
        try:
            os.close(linux.open_in_root(self._fd, path, os.O_PATH))
        except OSError:
            return False
        return True

    def make(self, path: str, *, directory: bool) -> None:
        """Makes a directory or an empty file, with the directories above it, unless it is there."""
        with self._at(path, directory):
            pass

    def mount(self, source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
        """Mounts a new file system."""
        with self._at(target, True) as path:
            linux.mount(source, path, kind, flags, options)

    def tmpfs(self, target: str, flags: int, *, mode: int, size: int = 0) -> None:
        """Mounts an empty file system in memory; `size` in bytes, 0: no limit of its own."""
        self.mount("tmpfs", target, "tmpfs", flags, f"mode={mode:o}" + (f",size={size}" if size else ""))

    def bind(self, source: str, target: str, *, read_only: bool = False) -> None:
        """Shows a path of this machine at `target`."""
        with self._at(target, os.path.isdir(source), source) as path:
            linux.bind(source, path)
        if read_only:
            self.read_only(target, recursive=True)

    def bind_itself(self, path: str) -> None:
        """Makes a mount point of what is at the path, with the same content."""
        with self._at(path, True) as here:
            linux.bind(here, here)

    def read_only(self, target: str, *, recursive: bool = False) -> None:
        """Makes the mount at `target` read-only."""
        with self._at(target, True) as path:
            linux.make_read_only(path, recursive=recursive)

    def symlink(self, content: str, path: str) -> None:
        """Makes a symbolic link in a directory that exists."""
        with self._at(os.path.dirname(path), True) as parent:
            os.symlink(content, os.path.join(parent, os.path.basename(path)))

    def freeze(self) -> None:
        """Makes read-only again what was opened up for mount points."""
        for path in self._thawed:
            self.read_only(path)

    @contextlib.contextmanager
    def _at(self, target: str, directory: bool, source: str = "") -> Iterator[str]:
        """A path of this process that leads to `target`, made if missing."""
        try:
            fd = self._open(target, directory)
            try:
                yield f"/proc/self/fd/{fd}"
            finally:
                os.close(fd)
        except OSError as error:
            what = f'error mounting "{source}" to rootfs at "{target}"' if source else f'error mounting "{target}"'
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise OSError(error.errno, f"{what}: {reason}") from error

    def _open(self, target: str, directory: bool) -> int:
        for _ in range(_MOST_LINKS):
            try:
                return linux.open_in_root(self._fd, target, os.O_PATH)
            except FileNotFoundError:
                target = self._make_last(target, directory)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), target)

    def _make_last(self, target: str, directory: bool) -> str:
        """Makes the last part of a path, and those above it if need be; the path to look at next."""
        parent, name = os.path.split(target.rstrip("/"))
        fd = self._open(parent or "/", True)
        try:
            if directory:
                os.mkdir(name, 0o755, dir_fd=fd)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=fd))
        except FileExistsError:  # a symbolic link to nothing yet
            link = os.readlink(name, dir_fd=fd)
            return link if link.startswith("/") else f"{parent}/{link}"
        except OSError as error:
            if error.errno != errno.EROFS or parent in self._thawed:
                raise
            self._thaw(parent or "/", fd)
        finally:
            os.close(fd)
        return target

    def _thaw(self, directory: str, fd: int) -> None:
        """Covers a read-only directory by an overlay of it, so that mount points can be made in it."""
        if not self._thawed:
            linux.mount("tmpfs", self._scratch, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
        own = os.path.join(self._scratch, str(len(self._thawed)))
        here = f"/proc/self/fd/{fd}"
        os.makedirs(os.path.join(own, "upper"))
        os.makedirs(os.path.join(own, "work"))
        os.chmod(os.path.join(own, "upper"), stat.S_IMODE(os.stat(here).st_mode))
        options = f"lowerdir={here},upperdir={own}/upper,workdir={own}/work,userxattr"
        linux.mount("overlay", here, "overlay", data=options)
        self._thawed.append(directory)
