"""System calls that Python has no name for, through ctypes: namespaces, mounts, capabilities, process control.

Called by cluster/namespaces.py and node/runtime in processes that must start fast, so it imports almost nothing. Each
function raises OSError with the kernel's errno. Numbers are those of the kernel's uapi headers.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWCGROUP = 0x02000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_NAME, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 15, 36, 38

_SYS_MOUNT_SETATTR, _SYS_CLOSE_RANGE, _SYS_OPENAT2 = 442, 436, 437
_MOUNT_ATTR_RDONLY, _AT_RECURSIVE, _AT_FDCWD = 1, 0x8000, -100
_CLOSE_RANGE_CLOEXEC = 4
_RESOLVE_IN_ROOT = 0x10
_CAPABILITY_VERSION_3 = 0x20080522

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
"""Names without CAP_, in the kernel's order: a capability's number is its place."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def reason(error: OSError) -> str:
    """What the system says, in its words: asyncio puts its own and a tuple in their place."""
    verdict = getattr(error, "verify_message", "")  # of ssl.SSLError, whose errno is not the system's
    if verdict:
        return f"its certificate cannot be verified: {verdict.rstrip('.')}"
    if getattr(error, "library", None):
        return str(error)
    if error.errno is not None and error.errno > 0:  # resolvers' errors are below 0
        return os.strerror(error.errno)
    return error.strerror or str(error)


def unshare(flags: int) -> None:
    """Puts this process (for CLONE_NEWPID: its later children) into new namespaces."""
    _check(_libc.unshare(flags))


def setns(fd: int, kind: int = 0) -> None:
    """Enters the namespace of an open /proc/PID/ns/* file; `kind` is its CLONE_NEW* flag (0: whatever it is)."""
    _check(_libc.setns(fd, kind))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """The system call mount. `kind` is the file system, `data` its options."""
    arguments = (
        source.encode(),
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(_libc.mount(*arguments), target)


def bind(source: str, target: str, *, recursive: bool = True, read_only: bool = False) -> None:
    """Shows `source` at `target` as well, with everything mounted below it."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        make_read_only(target, recursive=recursive)


def make_read_only(target: str, *, recursive: bool = False) -> None:
    """Makes the mount at `target` read-only, and with `recursive` every one below it; other flags stay."""
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    path = os.fsencode(target)
    _check(_call(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, flags, attributes, ctypes.c_size_t(len(attributes))), target)


def unmount(target: str) -> None:
    """Takes a mount away, as soon as nobody uses it."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), target)


def pivot_root(root: str) -> None:
    """Makes the mount point `root` the mount namespace's root, takes the old one away and goes to "/"."""
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), root)
    # Both are now mounted at "/", the old one above; "." is still the old one for umount2.
    _check(_libc.umount2(b".", MNT_DETACH), root)
    os.chdir("/")


def open_in_root(root: int, path: str, flags: int) -> int:
    """Opens `path` as if the directory `root` were "/": neither "..", nor a symbolic link leads out of it."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT)
    return _check(_call(_SYS_OPENAT2, root, os.fsencode(path), how, ctypes.c_size_t(len(how))), path)


def sethostname(name: str) -> None:
    """Sets the host name of the UTS namespace."""
    _check(_libc.sethostname(name.encode(), len(name.encode())))


def prctl(option: int, value: int = 0) -> None:
    """The system call prctl with one number."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def set_name(name: str) -> None:
    """Names this process for ps and top (15 bytes)."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc.prctl(PR_SET_NAME, buffer, 0, 0, 0))


def set_command_line(text: str) -> None:
    """Shows `text` where others look for this process's command line, and nothing where they look for its environment.

    In a fork that executes nothing of its own, both would be those of the program that it was forked from.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end, env_start, env_end = map(int, fields[45:49])
    if 0 < env_start < env_end:
        ctypes.memset(env_start, 0, env_end - env_start)
    if 0 < start < end:
        # The kernel shows no more than the first string where the last byte of all is not a zero.
        data = text.encode()[: end - start - 2]
        ctypes.memmove(start, data.ljust(end - start - 1, b"\0") + b"\1", end - start)


def sysctl(name: str, value: str) -> None:
    """Sets a sysctl ("net.ipv4.ip_forward") of the namespaces in which this process is."""
    path = "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))
    with open(path, "w") as file:
        file.write(value)


def reset_signals() -> None:
    """Undoes what this process inherited: every signal unblocked and with its default action."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def log_to(path: str) -> None:
    """Makes a file, appended to, this process's stdout and stderr."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # Whatever Python's own were, they may have been something else than 1 and 2.
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115  for this process's life
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  for this process's life


def children_signal() -> int:
    """A file descriptor that has one byte, the signal's number, for every SIGCHLD and SIGTERM from now on."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def reap() -> list[tuple[int, int]]:
    """The children that have ended, as (pid, wait status)."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, status))


def close_on_exec_from(fd: int) -> None:
    """Marks every file descriptor from `fd` on to be closed by execve."""
    _check(_call(_SYS_CLOSE_RANGE, ctypes.c_uint(fd), ctypes.c_uint(0xFFFFFFFF), _CLOSE_RANGE_CLOEXEC))


def bound_capabilities(names: list[str]) -> None:
    """Takes every capability out of the bounding set that is not named. ValueError for a name the kernel never had."""
    keep = {_number(name) for name in names}
    for number in range(len(CAPABILITIES)):
        if number not in keep:
            try:
                prctl(PR_CAPBSET_DROP, number)
            except OSError:
                return  # an older kernel: it knows none of the later ones either


def _number(capability: str) -> int:
    if capability not in CAPABILITIES:
        raise ValueError(f'unknown capability "{capability}"')
    return CAPABILITIES.index(capability)


def set_capabilities(names: list[str]) -> None:
    """Makes exactly these the permitted and effective set; nothing is inheritable or ambient."""
    mask = sum(1 << _number(name) for name in names)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("=IIIIII", low, low, 0, high, high, 0)))
