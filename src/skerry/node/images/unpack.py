"""Turns a layer's tar into a directory that overlayfs can stack.

Called by the store, in a thread of the node agent, as (mapped) root in the cluster's user namespace. Layers come from
strangers: every path is resolved by the kernel inside the target directory (openat2, RESOLVE_IN_ROOT), nothing is
written through a link's last part, device nodes are refused, sizes are bounded.

Whiteouts become what overlayfs mounted with `userxattr` understands: a character device 0/0 (which Linux lets anybody
make) for a removed file, the attribute user.overlay.opaque for a directory that hides all below it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from skerry import linux
from skerry.node.images.headers import Header, device, is_everywhere, shown
from skerry.node.images.streams import CHUNK, LayerStream, Readable, UnpackError

_PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_OPEN_DIRECTORIES = 64
_CHECK_SPACE_EVERY = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one layer may take: bytes unpacked, entries, how often larger than it came (once it has `ratio_from` bytes),
    and what must stay free on the disk.
    """

    size: int = 64 << 30
    entries: int = 2_000_000
    ratio: int = 200
    ratio_from: int = 1 << 30
    reserve: int = 128 << 20


@dataclass(slots=True)
class Unpacked:
    """What came of it.

    `skipped`: device nodes that every container has anyway. `implicit`: directories that the archive uses but does not
    describe (their mode and owner are made up).
    """

    diff_id: str = ""
    size: int = 0
    entries: int = 0
    skipped: list[str] = field(default_factory=list)
    implicit: list[str] = field(default_factory=list)


def keeps_owners() -> bool:
    """Whether files can be given to other users here: not as an ordinary user, nor with a map of a single uid."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", "rb") as file:
        return sum(int(line.split()[2]) for line in file) > 1


def unpack(source: Readable, target: str, *, limits: Limits | None = None, keep_owners: bool | None = None) -> Unpacked:
    """Unpacks a layer (tar, tar.gz, tar.zst) into the empty directory `target`.

    `keep_owners` False: everything belongs to the caller. UnpackError, with the entry's name, when the archive is
    broken or hostile, or the disk full; the directory is then to be thrown away.
    """
    limits = limits or Limits()
    stream = LayerStream(source, limits.size, limits.ratio, limits.ratio_from)
    keep = keeps_owners() if keep_owners is None else keep_owners
    result = Unpacked()
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchmod(root, 0o755)
        layer = _Layer(root, stream, limits, keep, result)
        try:
            layer.run()
        finally:
            layer.close()
    finally:
        os.close(root)
    result.implicit = [path for path in result.implicit if path not in layer.directories]
    result.diff_id = stream.finish()
    return result


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Whatever goes wrong becomes an UnpackError that begins with the entry's name."""
    where = f"{shown(name)}: " if name else ""
    try:
        yield
    except UnpackError as error:
        raise UnpackError(f"{where}{error}") from None
    except (tarfile.TarError, RecursionError) as error:
        raise UnpackError(f"{where}the tar archive is broken: {error}") from None
    except (ValueError, OverflowError) as error:  # a NUL in a name, a time beyond time
        raise UnpackError(f"{where}an impossible value: {error}") from None
    except OSError as error:
        raise UnpackError(f"{where}{_explain(error)}") from None


class _Layer:
    def __init__(self, root: int, stream: LayerStream, limits: Limits, keep: bool, result: Unpacked) -> None:
        self._root, self._stream, self._limits, self._keep, self._result = root, stream, limits, keep, result
        self._parents: OrderedDict[str, int] = OrderedDict()  # path -> open directory
        self.directories: dict[str, tarfile.TarInfo] = {}
        self._whiteouts: set[str] = set()
        self._unchecked = 0

    def run(self) -> None:
        """All entries, then what directories can only get at the end: their times and modes."""
        with _named(""):
            try:
                tar = tarfile.TarFile(
                    fileobj=self._stream,  # type: ignore[arg-type]
                    tarinfo=Header,
                    encoding="utf-8",
                    errors="surrogateescape",
                )
            except tarfile.ReadError:
                if self._stream.tell() == 0:  # a layer of nothing at all
                    return
                raise
            member = tar.next()
        while member is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile would remember them all
            with _named(member.name):
                self._result.entries += 1
                if self._result.entries > self._limits.entries:
                    raise UnpackError(f"the layer has more than {self._limits.entries} entries")
                self._entry(tar, member)
            with _named(f"after {member.name}"):
                member = tar.next()
        for path in sorted(self.directories, reverse=True):
            with _named(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._finish_directory(path, self.directories[path])

    def close(self) -> None:
        for fd in self._parents.values():
            os.close(fd)
        self._parents.clear()

    def _entry(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _clean(member.name)
        if not path:  # the root itself
            if member.isdir():
                self.directories[""] = member
            return
        folder, _, name = path.rpartition("/")
        parent = self._parent(folder)
        if name.startswith(_PREFIX):
            self._whiteout(folder, parent, name)
        elif member.isdir():
            self._directory(path, parent, name, member)
        elif member.isfile():
            self._fresh(path, parent, name, lambda: self._file(tar, member, parent, name))
        elif member.issym():
            self._fresh(path, parent, name, lambda: os.symlink(member.linkname, name, dir_fd=parent))
            self._own(parent, name, member)
            os.utime(name, ns=_times(member), dir_fd=parent, follow_symlinks=False)
        elif member.islnk():
            self._hard_link(path, parent, name, member)
        elif member.isfifo():
            self._fresh(path, parent, name, lambda: os.mkfifo(name, 0o600, dir_fd=parent))
            self._own(parent, name, member)
            os.chmod(name, member.mode & 0o7777, dir_fd=parent)
        elif is_everywhere(path, member):
            self._result.skipped.append(path)
        elif member.isdev():
            raise UnpackError(f"a device node ({device(member)}), which no image may bring")
        else:
            raise UnpackError(f"an entry of unknown kind {member.type!r}")

    # Kinds of entries

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            if member.issparse():
                self._sparse(tar, member, fd)
            else:
                self._copy(member.size, fd)
            if self._keep:
                os.fchown(fd, member.uid, member.gid)
            os.fchmod(fd, member.mode & 0o7777)
            self._attributes(member, fd)
            os.utime(fd, ns=_times(member))
        finally:
            os.close(fd)

    def _copy(self, left: int, fd: int) -> None:
        while left:
            part = self._stream.take(min(left, CHUNK))
            if not part:
                raise UnpackError("the tar archive is cut off")
            left -= len(part)
            self._write(fd, part)

    def _sparse(self, tar: tarfile.TarFile, member: tarfile.TarInfo, fd: int) -> None:
        if member.size > self._limits.size - self._result.size:
            raise UnpackError(f"the layer has more than {self._limits.size} bytes unpacked")
        source = tar.extractfile(member)
        assert source is not None
        while part := source.read(CHUNK):
            self._write(fd, part)

    def _write(self, fd: int, part: bytes) -> None:
        self._result.size += len(part)
        self._stream.check_ratio(self._result.size)
        self._unchecked += len(part)
        if self._unchecked > _CHECK_SPACE_EVERY:
            self._unchecked = 0
            disk = os.fstatvfs(fd)
            if disk.f_bavail * disk.f_frsize < self._limits.reserve:
                raise UnpackError("no space left on the disk that holds the images")
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]

    def _directory(self, path: str, parent: int, name: str, member: tarfile.TarInfo) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._remove(path, parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        if path in self._whiteouts:  # what a lower layer has here is gone, not merged
            self._make_opaque(parent, name)
        self.directories[path] = member

    def _hard_link(self, path: str, parent: int, name: str, member: tarfile.TarInfo) -> None:
        try:
            old = _clean(member.linkname)
        except UnpackError:
            raise UnpackError(f"a hard link to {shown(member.linkname)}, which leads out of the layer") from None
        if old == path:
            return
        folder, _, old_name = old.rpartition("/")
        try:
            # Its own descriptor: asking for the folder by _parent could close `parent`, or make folders.
            source = linux.open_in_root(self._root, folder or ".", os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            raise UnpackError(f"a hard link to {shown(old)}, which is not in the layer") from None
        try:
            mode = os.stat(old_name, dir_fd=source, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode) or stat.S_ISCHR(mode):
                raise UnpackError(f"a hard link to {shown(old)}, which is no file")
            link = lambda: os.link(old_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)  # noqa: E731
            self._fresh(path, parent, name, link)
        except FileNotFoundError:
            raise UnpackError(f"a hard link to {shown(old)}, which is not in the layer") from None
        finally:
            os.close(source)

    def _whiteout(self, folder: str, parent: int, name: str) -> None:
        if name == _OPAQUE:
            self._make_opaque(parent, ".")
            return
        if name.startswith(_PREFIX * 2):
            return  # other bookkeeping of aufs
        hidden = name.removeprefix(_PREFIX)
        if hidden in ("", ".", ".."):
            raise UnpackError("it hides nothing that there could be")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
            self._whiteouts.add(f"{folder}/{hidden}" if folder else hidden)
        except FileExistsError:  # this layer has put something there already; it only hides what is below
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                self._make_opaque(parent, hidden)

    # Pieces

    def _fresh(self, path: str, parent: int, name: str, make: object) -> None:
        """Runs `make`, which must create `name`; what the layer put there before gives way."""
        assert callable(make)
        try:
            make()
        except FileExistsError:
            self._remove(path, parent, name)
            make()

    def _remove(self, path: str, parent: int, name: str) -> None:
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=parent)
            below = path + "/"
            for known in [known for known in self.directories if known == path or known.startswith(below)]:
                del self.directories[known]
        else:
            os.unlink(name, dir_fd=parent)
        # Remembered folders may have been below it, or reached through it. `parent` itself is still in use.
        for known, fd in list(self._parents.items()):
            if fd != parent:
                os.close(fd)
                del self._parents[known]

    def _parent(self, folder: str) -> int:
        """The open directory `folder`, made where missing. Valid until the next call."""
        fd = self._parents.get(folder)
        if fd is not None:
            self._parents.move_to_end(folder)
            return fd
        try:
            fd = linux.open_in_root(self._root, folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            fd = self._make_folders(folder)
        self._parents[folder] = fd
        if len(self._parents) > _OPEN_DIRECTORIES:
            os.close(self._parents.popitem(last=False)[1])
        return fd

    def _make_folders(self, folder: str) -> int:
        above, _, name = folder.rpartition("/")
        parent = self._parent(above)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISCHR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):  # a file, a dangling link
                raise UnpackError(f"{shown(folder)} is used as a directory and is none") from None
            os.unlink(name, dir_fd=parent)  # it was whited out before
            os.mkdir(name, 0o755, dir_fd=parent)
        self._result.implicit.append(folder)
        if folder in self._whiteouts:
            self._make_opaque(parent, name)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

    def _own(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if self._keep:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)

    def _finish_directory(self, path: str, member: tarfile.TarInfo) -> None:
        folder, _, name = path.rpartition("/")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name or ".", flags, dir_fd=self._parent(folder))
        try:
            if self._keep:
                os.fchown(fd, member.uid, member.gid)
            self._attributes(member, fd)
            os.fchmod(fd, member.mode & 0o7777)
            os.utime(fd, ns=_times(member))
        finally:
            os.close(fd)

    @staticmethod
    def _make_opaque(parent: int, name: str) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.setxattr(fd, "user.overlay.opaque", b"y")
        finally:
            os.close(fd)

    @staticmethod
    def _attributes(member: tarfile.TarInfo, fd: int) -> None:
        """File capabilities and users' attributes; never those that overlayfs would take for its own."""
        for key, value in member.pax_headers.items():
            name = key.removeprefix(_XATTR)
            if name == key or name.startswith("user.overlay."):
                continue
            if name == "security.capability" or name.startswith("user."):
                with contextlib.suppress(PermissionError, OSError):  # not every file system or namespace can
                    os.setxattr(fd, name, value.encode("utf-8", "surrogateescape"))


def _clean(name: str) -> str:
    """A path of the archive without leading, double or trailing slashes and dots; UnpackError for one with `..`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnpackError("a path that leads out of the layer")
    return "/".join(parts)


def _times(member: tarfile.TarInfo) -> tuple[int, int]:
    moment = int(member.mtime * 1_000_000_000)
    moment = min(max(moment, 0), 0x7FFFFFFF * 1_000_000_000)
    return moment, moment


def _explain(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "it belongs to a user that this user namespace has no place for: /etc/subuid gives too few ids"
    if error.errno == errno.ENOSPC:
        return "no space left on the disk that holds the images"
    return error.strerror or str(error)
