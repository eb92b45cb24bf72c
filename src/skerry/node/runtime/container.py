"""The process that becomes a container (or an exec in one): from the fork to the execve.

Called by spawner.py in the forked child. What fails before the command could run is written to a pipe, worded as runc
words it; what fails in execve itself is the container's own failure: a line on its stderr and exit code 255.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import struct
import termios
from typing import NamedTuple, NoReturn

from skerry import linux
from skerry.node.runtime import rootfs
from skerry.node.runtime.spec import DEFAULT_PATH, ContainerSpec

_TIOCSPTLCK, _TIOCGPTN = 0x40045431, 0x80045430
"""Of a terminal's master side: (un)lock the other side, and its number. Not in the module termios."""


class Spaces(NamedTuple):
    """Open namespace files to enter; -1: stay in the node's."""

    net: int = -1
    uts: int = -1
    ipc: int = -1
    mnt: int = -1
    """Only for an exec: the container's mount namespace."""
    pid: int = -1
    """The pod's, where its containers share one."""


def become(
    spec: ContainerSpec, spaces: Spaces, stdio: list[int], errors: int, settings: rootfs.Settings | None
) -> NoReturn:
    """Sets this process up and executes the command.

    `stdio`: stdin, stdout, stderr; of a terminal, a unix socket that takes its master side. `errors`: a pipe that
    closes by itself at the execve. `settings`: None for an exec.
    """
    try:
        linux.reset_signals()
        os.setsid()
        os.umask(0o022)
        _join(spec)
        for target, fd in enumerate(stdio):
            if spec.uid:
                _give(fd, spec.uid, spec.gid)
            os.dup2(fd, target)
        for fd in spaces:
            if fd >= 0:
                linux.setns(fd)
        if settings is not None:
            linux.unshare(linux.CLONE_NEWNS)
            rootfs.enter(spec, settings)
        if spec.tty:
            _terminal(spec, stdio[0], console=settings is not None)
        env = _environment(spec)
        _change_directory(spec.cwd)
        _become_user(spec)
        program = _find(spec.argv[0], env["PATH"])
        linux.close_on_exec_from(3)
    except Exception as error:  # noqa: BLE001  whatever it is, the agent is to hear of it
        os.write(errors, _sentence(error).encode())
        os._exit(1)
    try:
        os.execve(program, spec.argv, env)
    except OSError as error:
        os.write(2, f"exec {program}: {os.strerror(error.errno or 0).lower()}\n".encode())
    finally:
        os._exit(255)


def _join(spec: ContainerSpec) -> None:
    """Enters its cgroups, so that all that comes counts, and sees nothing of those above them."""
    for directory in spec.cgroups.values():
        fd = os.open(f"{directory}/cgroup.procs", os.O_WRONLY)
        os.write(fd, b"0")
        os.close(fd)
    if spec.cgroups:
        linux.unshare(linux.CLONE_NEWCGROUP)
    if spec.oom_score:
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write(str(spec.oom_score))
        except PermissionError:
            pass  # we were given a higher one, which only root may lower


def pause() -> NoReturn:
    """The life of the first process of a PID namespace that a pod's containers share: it buries orphans."""
    linux.reset_signals()
    os.setsid()
    linux.set_name("pause")
    linux.set_command_line("/pause")
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        linux.reap()
        signal.sigwait({signal.SIGCHLD})


def _terminal(spec: ContainerSpec, end: int, *, console: bool) -> None:
    """Opens a terminal among the container's own, sends its master side over the socket `end`, and lives in it.

    `console`: it is the container's /dev/console too.
    """
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    (number,) = struct.unpack("i", fcntl.ioctl(master, _TIOCGPTN, b"\0" * 4))
    slave = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if spec.uid:
        os.fchown(slave, spec.uid, -1)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    if console:
        os.close(os.open("/dev/console", os.O_CREAT | os.O_WRONLY, 0o600))
        linux.bind(f"/dev/pts/{number}", "/dev/console")
    with socket.socket(fileno=os.dup(end)) as sock:
        socket.send_fds(sock, [b"t"], [master])
    for target in range(3):
        os.dup2(slave, target)


class _Refusal(Exception):
    """Something that is said in full."""


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {(error.strerror or '').lower()}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _give(fd: int, uid: int, gid: int) -> None:
    """Makes a pipe the user's, or it could not open /dev/stdout. Never /dev/null, which is this machine's."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return
    try:
        os.fchown(fd, uid, gid)
    except OSError:
        pass  # a user that does not exist here: _become_user says so


def _environment(spec: ContainerSpec) -> dict[str, str]:
    """What every container engine adds if the image did not say: PATH, HOSTNAME, TERM and, from /etc/passwd, HOME."""
    env = {"PATH": DEFAULT_PATH, "HOSTNAME": os.uname().nodename, **({"TERM": "xterm"} if spec.tty else {}), **spec.env}
    if "HOME" not in env:
        env["HOME"] = _home(spec.uid)
    return env


def _home(uid: int) -> str:
    try:
        with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.rstrip("\n").split(":")
                if len(fields) >= 6 and fields[2] == str(uid):
                    return fields[5] or "/"
    except OSError:
        pass
    return "/"


def _change_directory(cwd: str) -> None:
    try:
        os.makedirs(cwd, exist_ok=True)
        os.chdir(cwd)
    except OSError as error:
        reason = "no such file or directory" if not os.path.lexists(cwd) else os.strerror(error.errno or 0).lower()
        raise _Refusal(f'chdir to cwd ("{cwd}") set in config.json failed: {reason}') from error


def _become_user(spec: ContainerSpec) -> None:
    linux.bound_capabilities(spec.capabilities)
    try:
        os.setgroups(spec.groups)
    except PermissionError:
        if spec.groups and _has_many_users():
            raise
        # A map of one user: the kernel refuses setgroups there for good.
    try:
        os.setresgid(spec.gid, spec.gid, spec.gid)
        os.setresuid(spec.uid, spec.uid, spec.uid)
    except OSError as error:
        raise _Refusal(
            f"user {spec.uid}:{spec.gid} does not exist in this cluster: it was started by a user without newuidmap "
            "or with too small a range in /etc/subuid and /etc/subgid"
        ) from error
    linux.set_capabilities(spec.capabilities if spec.uid == 0 else [])
    if spec.no_new_privileges:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _has_many_users() -> bool:
    with open("/proc/self/setgroups") as file:
        return file.read().strip() != "deny"


def _find(name: str, path: str) -> str:
    """The program to execute, looked for as a user of the container."""
    if "/" in name:
        try:
            mode = os.stat(name).st_mode
        except OSError as error:
            raise _Refusal(f'exec: "{name}": stat {name}: {os.strerror(error.errno or 0).lower()}') from error
        if stat.S_ISDIR(mode):
            raise _Refusal(f'exec: "{name}": is a directory')
        if not os.access(name, os.X_OK, effective_ids=True):
            raise _Refusal(f'exec: "{name}": permission denied')
        return name
    refused = False
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        try:
            mode = os.stat(candidate).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode):
            if os.access(candidate, os.X_OK, effective_ids=True):
                return candidate
            refused = True
    raise _Refusal(f'exec: "{name}": ' + ("permission denied" if refused else "executable file not found in $PATH"))
