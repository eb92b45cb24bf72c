"""The node's first process: forks containers for the node agent, tells it how they end, and reaps.

Called by cluster/init.py. It is PID 1 of the node's PID namespace, has one thread and few imports, so that a fork is
cheap; the agent, with its event loop and its memory, asks over a socketpair (client.py has the other end):

    {"ask", "pod": uid, "hostname", "private", "ipc", "pids", "sysctls"} -> {} + [network namespace]
    {"unpod": uid}
    {"ask", "start": key, "spec"} + [stdin, stdout, stderr] -> {"pid"} or {"error"}
    {"ask", "exec": key, "in": key of a container, "spec"} + [stdin, stdout, stderr] -> the same
    {"signal": number, "key", "group"}                         and unasked: {"ended": key, "status": wait status}
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from skerry import linux, packets
from skerry.netlink.route import Routes
from skerry.node.runtime import container, spec
from skerry.node.runtime.container import Spaces
from skerry.node.runtime.rootfs import Settings

_SWEEPS = 100
"""How often those left behind are looked for: they may fork faster than they are found, or not be able to die."""

_POD = {"net": linux.CLONE_NEWNET, "uts": linux.CLONE_NEWUTS, "ipc": linux.CLONE_NEWIPC}


def serve(agent_socket: socket.socket, agent: int, settings: Settings, ready: Callable[[], None]) -> int:
    """Works until the agent (its process id) has ended; its exit code.

    SIGTERM is passed on to the agent from when `ready` is called.
    """
    return _Spawner(agent_socket, agent, settings).run(ready)


@dataclass(slots=True)
class _Process:
    """A container or an exec. While `errors` is open (not -1) it has not executed its command.

    `mounts`: of a container whose processes do not end with its first one, the number of the mount namespace by which
    they can be told from others.
    """

    key: str
    pid: int
    question: int
    errors: int
    pod: str = ""
    """Of a container only."""
    mounts: int = 0


class _Spawner:
    def __init__(self, agent_socket: socket.socket, agent: int, settings: Settings) -> None:
        self._socket = agent_socket
        self._agent = agent
        self._settings = settings
        self._pods: dict[str, Spaces] = {}
        self._modes: dict[str, str] = {}
        self._pauses: dict[str, int] = {}
        self._by_pid: dict[int, _Process] = {}
        self._by_key: dict[str, _Process] = {}
        self._starting: dict[int, _Process] = {}
        self._home = {name: os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in (*_POD, "pid")}
        self._poll = select.poll()

    def run(self, ready: Callable[[], None]) -> int:
        events = linux.children_signal()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(events, select.POLLIN)
        gc.freeze()  # the children's memory stays shared with ours
        ready()
        code = self._reap()  # what ended before there was a handler
        while code is None:
            for fd, _ in self._poll.poll():
                if fd == events:
                    if signal.SIGTERM in os.read(events, 512):
                        os.kill(self._agent, signal.SIGTERM)
                    code = self._reap()
                else:
                    self._heed(fd)
        return code

    def _heed(self, fd: int) -> None:
        """Does what poll named `fd` for; it may be closed since, and its number given anew, in the very same turn."""
        if fd in self._starting:
            try:
                self._started(self._starting[fd])
            except BlockingIOError:
                pass  # one that was forked after the poll, and has said nothing yet
        elif fd == self._socket.fileno():
            self._receive()

    def _reap(self) -> int | None:
        """Tells of what has ended; the exit code if that was the agent."""
        for pid, status in linux.reap():
            if pid == self._agent:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            process = self._by_pid.pop(pid, None)
            if process is None:
                continue
            del self._by_key[process.key]
            _sweep(process.mounts)
            if process.errors < 0 or self._started(process):
                self._tell({"ended": process.key, "status": status})
        return None

    def _receive(self) -> None:
        received = packets.receive(self._socket)
        if received is None:
            self._poll.unregister(self._socket)  # the agent is ending; SIGCHLD will tell
            return
        message, fds = received
        try:
            self._do(message, fds)
        except OSError as error:
            if "ask" in message:
                self._tell({"answer": message["ask"], "error": str(error)})
        finally:
            for fd in fds:
                os.close(fd)

    def _do(self, message: dict[str, Any], fds: list[int]) -> None:
        if "pod" in message:
            spaces = self._make_pod(message)
            self._pods[message["pod"]] = spaces
            self._tell({"answer": message["ask"]}, [spaces.net] if spaces.net >= 0 else [])
        elif "unpod" in message:
            self._unpod(message["unpod"])
        elif "signal" in message:
            process = self._by_key.get(message["key"])
            if process is not None:
                _kill(process.pid, message["signal"], message["group"])
        elif "start" in message:
            self._start(message, fds)
        elif "exec" in message:
            self._exec(message, fds)

    def _make_pod(self, message: dict[str, Any]) -> Spaces:
        """New namespaces, held open by file descriptors alone."""
        names = [name for name in _POD if message["ipc" if name == "ipc" else "private"]]
        made: dict[str, int] = {}
        try:
            for name in names:
                linux.unshare(_POD[name])
            if message["private"]:
                linux.sethostname(message["hostname"])
                with Routes() as routes:
                    routes.set_link(routes.index("lo"), up=True)
                _quietly("net.ipv4.ip_unprivileged_port_start", "0")
                _quietly("net.ipv4.ping_group_range", "0 2147483647")
                _quietly("net.ipv6.conf.default.disable_ipv6", "1")
            for name, value in message["sysctls"].items():
                linux.sysctl(name, value)
            for name in names:
                made[name] = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
            if message["pids"] == "pod":
                made["pid"] = self._pause(message["pod"])
        except OSError:
            for fd in made.values():
                os.close(fd)
            raise
        finally:
            for name in names:
                linux.setns(self._home[name], _POD[name])
        self._modes[message["pod"]] = message["pids"]
        return Spaces(**made)

    def _pause(self, uid: str) -> int:
        """Starts the first process of a PID namespace that a pod's containers share; that namespace."""
        linux.unshare(linux.CLONE_NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                container.pause()
        finally:
            linux.setns(self._home["pid"], linux.CLONE_NEWPID)
        self._pauses[uid] = pid
        return os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)

    def _unpod(self, uid: str) -> None:
        for fd in self._pods.pop(uid, ()):
            if fd >= 0:
                os.close(fd)
        self._modes.pop(uid, None)
        if uid in self._pauses:
            os.kill(self._pauses.pop(uid), signal.SIGKILL)

    def _start(self, message: dict[str, Any], fds: list[int]) -> None:
        wanted = spec.decode(message["spec"])
        spaces = self._pods[wanted.pod_uid]
        with contextlib.ExitStack() as entered:
            if wanted.processes_of:
                entered.enter_context(self._entered(wanted.processes_of))
            elif spaces.pid >= 0:
                linux.setns(spaces.pid, linux.CLONE_NEWPID)
            elif self._modes[wanted.pod_uid] == "container":
                linux.unshare(linux.CLONE_NEWPID)
            self._fork(message["start"], message["ask"], wanted, spaces, fds, self._settings)

    def _exec(self, message: dict[str, Any], fds: list[int]) -> None:
        wanted = spec.decode(message["spec"])
        with self._entered(message["in"]) as mnt:
            spaces = self._pods[wanted.pod_uid]._replace(mnt=mnt)
            self._fork(message["exec"], message["ask"], wanted, spaces, fds, None)

    @contextlib.contextmanager
    def _entered(self, key: str) -> Iterator[int]:
        """What is forked meanwhile sees the processes of a container, and ends with it. Gives its mount namespace."""
        inside = self._by_key.get(key)
        not_running = f"container {key} is not running"
        if inside is None or inside.errors >= 0:
            raise ProcessLookupError(not_running)
        pid_namespace = mnt = -1
        try:
            pid_namespace = os.open(f"/proc/{inside.pid}/ns/pid", os.O_RDONLY)
            mnt = os.open(f"/proc/{inside.pid}/ns/mnt", os.O_RDONLY)
            linux.setns(pid_namespace, linux.CLONE_NEWPID)
            yield mnt
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH, errno.ENOMEM):  # it has ended, or is ending now
                raise ProcessLookupError(not_running) from error
            raise
        finally:
            for fd in (pid_namespace, mnt):
                if fd >= 0:
                    os.close(fd)

    def _fork(
        self,
        key: str,
        question: int,
        wanted: spec.ContainerSpec,
        spaces: Spaces,
        stdio: list[int],
        settings: Settings | None,
    ) -> None:
        """Forks into the PID namespace that is set for children, and goes back to our own."""
        if self._settings.real_devices and "SYS_ADMIN" not in wanted.capabilities:
            wanted = replace(wanted, capabilities=[one for one in wanted.capabilities if one != "MKNOD"])
        reader, writer = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                container.become(wanted, spaces, stdio, writer, settings)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
            linux.setns(self._home["pid"], linux.CLONE_NEWPID)
        os.set_blocking(reader, False)
        process = _Process(key, pid, question, reader, wanted.pod_uid if settings is not None else "")
        self._by_pid[pid] = self._by_key[key] = self._starting[reader] = process
        self._poll.register(reader, select.POLLIN)

    def _started(self, process: _Process) -> bool:
        """Answers the agent once a new process has executed its command, or has said why it cannot."""
        error = os.read(process.errors, 4096).decode(errors="replace")
        self._poll.unregister(process.errors)
        del self._starting[process.errors]
        os.close(process.errors)
        process.errors = -1
        if error:
            self._by_pid.pop(process.pid, None)
            self._by_key.pop(process.key, None)
            self._tell({"answer": process.question, "error": error})
        else:
            process.mounts = self._mounts(process)
            self._tell({"answer": process.question, "pid": process.pid})
        return not error

    def _mounts(self, process: _Process) -> int:
        if not process.pod or self._modes.get(process.pod) == "container":
            return 0
        return _mount_namespace(str(process.pid))

    def _tell(self, message: packets.Message, fds: list[int] | None = None) -> None:
        try:
            packets.send(self._socket, message, fds or [])
        except OSError:
            pass  # the agent is ending


def _kill(pid: int, number: int, group: bool) -> None:
    if group:
        try:
            return os.killpg(pid, number)
        except ProcessLookupError:
            pass  # so new that it has no session of its own yet
    return os.kill(pid, number)


def _mount_namespace(pid: str) -> int:
    """The number of a process's mount namespace; 0 if it has ended."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


def _sweep(mounts: int) -> None:
    """Kills what is left of a container that had no PID namespace of its own, by the mounts that it sees."""
    for _ in range(_SWEEPS if mounts else 0):
        found = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _mount_namespace(pid) == mounts]
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not found:
            return


def _quietly(name: str, value: str) -> None:
    try:
        linux.sysctl(name, value)
    except OSError:
        pass  # not there in every kernel, or not for a map of one user; nothing depends on it
