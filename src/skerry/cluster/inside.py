"""Running a program of this machine inside a node's network: `skerry run` and `skerry shell`.

Called by the command line, in a fresh process with one thread, of the user who started the cluster. The program keeps
its files, terminal, user and PID namespace; it gets the node's network and host name, and a mount namespace of its own
in which names are looked up in the cluster.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NoReturn

from skerry import linux
from skerry.cluster.obstacles import NamespaceError

_SCRATCH = "/tmp"  # noqa: S108  covered only in a mount namespace of our own, and only while names are set up
_SOCKETS = (
    *("/run/nscd/socket", "/var/run/nscd/socket"),
    *("/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/resolve/io.systemd.Resolve.Monitor"),
)
"""Where glibc would ask this machine's caches for names before it looks at resolv.conf."""


def nsswitch() -> str:
    """The machine's nsswitch.conf, except that host names come from /etc/hosts and DNS alone."""
    try:
        with open("/etc/nsswitch.conf") as file:
            lines = [line for line in file if not line.strip().startswith("hosts:")]
    except OSError:
        lines = []
    return "".join(lines) + "hosts: files dns\n"


def run_inside(node_pid: int, argv: list[str], resolv_conf: str) -> int:
    """Runs `argv` (its first word looked up in PATH) inside a node and waits for it.

    `node_pid`: NodeHandle.pid. `resolv_conf`: the text of its /etc/resolv.conf. Returns the program's exit code, 128 +
    the signal that ended it, 127 if there is no such program and 126 if it may not be run. NamespaceError if the node
    cannot be entered. Signals that would end this process go to the program; if this one is killed, the program is too.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            exec_inside(node_pid, argv, resolv_conf, die_with_parent=True)
        except NamespaceError as error:
            os.write(writer, str(error).encode())
        except OSError as error:
            print(f"skerry: {argv[0]}: {os.strerror(error.errno or 0)}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126)
        finally:
            os._exit(125)
    os.close(writer)
    # A terminal sends these to both processes; the program decides what they mean.
    old = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        old[number] = signal.signal(number, lambda received, _: os.kill(child, received))
    try:
        with open(reader, errors="replace") as pipe:
            problem = pipe.read()
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    if problem:
        raise NamespaceError(problem)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def exec_inside(node_pid: int, argv: list[str], resolv_conf: str, *, die_with_parent: bool = False) -> NoReturn:
    """Turns this process into `argv` inside a node. NamespaceError if that cannot be entered; OSError of the exec."""
    uid, gid = os.getuid(), os.getgid()
    try:
        enter(node_pid)
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
        _look_names_up_inside(resolv_conf)
        if uid:
            _be_oneself_again(uid, gid)
    except OSError as error:
        raise NamespaceError(f"The node's network could not be entered: {error}.") from error
    if die_with_parent:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    os.execv(_find(argv[0]), argv)


def _find(name: str) -> str:
    """The program that a shell would start. FileNotFoundError or PermissionError if there is none."""
    if "/" in name:
        return name
    found = [os.path.join(directory or ".", name) for directory in os.environ.get("PATH", os.defpath).split(":")]
    found = [path for path in found if os.path.isfile(path)]
    for path in found:
        if os.access(path, os.X_OK):
            return path
    if found:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def enter(node_pid: int) -> None:
    """Puts this process, which must have one thread, into a node's user, network and UTS namespaces. NamespaceError."""
    try:
        spaces = [os.open(f"/proc/{node_pid}/ns/{name}", os.O_RDONLY) for name in ("user", "net", "uts")]
    except FileNotFoundError as error:
        raise NamespaceError("The node is not running: start the cluster with `skerry up`.") from error
    except PermissionError as error:
        raise NamespaceError("The cluster belongs to another user: run this as the user who started it.") from error
    own = {os.stat(f"/proc/self/ns/{name}").st_ino for name in ("user", "net", "uts")}
    for fd in spaces:
        if os.fstat(fd).st_ino not in own:  # a node that is the machine itself shares ours
            linux.setns(fd)
        os.close(fd)


def _look_names_up_inside(resolv_conf: str) -> None:
    """Covers what leads to this machine's names, in this mount namespace."""
    linux.mount("tmpfs", _SCRATCH, "tmpfs", data="mode=755")
    texts = {"/etc/resolv.conf": resolv_conf, "/etc/nsswitch.conf": nsswitch()}
    os.mkdir(f"{_SCRATCH}/etc")
    for path, text in texts.items():
        with open(_SCRATCH + path, "w") as file:
            file.write(text)
    if all(os.path.exists(path) for path in texts):
        for path in texts:
            linux.bind(_SCRATCH + path, os.path.realpath(path))
    else:  # nothing to cover, or a symbolic link to what is not there
        linux.mount("overlay", "/etc", "overlay", data=f"lowerdir={_SCRATCH}/etc:/etc")
    for path in _SOCKETS:
        if os.path.exists(path):
            linux.bind("/dev/null", path)
    linux.unmount(_SCRATCH)


def _be_oneself_again(uid: int, gid: int) -> None:
    """Root of the cluster's user namespace is this user: a user namespace below shows it by its own numbers."""
    linux.unshare(linux.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} 0 1"), ("gid_map", f"{gid} 0 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
