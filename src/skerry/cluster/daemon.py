"""Starting and stopping the control-plane process: fork, a log for its output, a pipe for its progress, signals.

Called by the command line. The parent side imports nothing heavy, and the child starts its own imports at once: between
`skerry up` and the control plane's first line of work there is one fork.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from skerry.cluster import state
from skerry.cluster.config import ClusterConfig, Progress
from skerry.cluster.errors import ClusterError
from skerry.cluster.paths import ClusterPaths

LOG_BYTES = 10 << 20
"""A log that is longer when the cluster starts is put aside as `.1`."""


FILES = 65536
"""How many files the cluster's processes may have open, where the machine allows it."""


def control_plane(config: ClusterConfig, progress: Progress) -> None:
    """What the child runs. Imported there, so that the parent never waits for it."""
    from skerry.cluster import controlplane

    controlplane.run(config, progress)


class Daemon(NamedTuple):
    """A control plane that was just forked."""

    pid: int
    progress: int
    """Read end of its progress pipe."""

    def messages(self, silence: float) -> Iterator[dict[str, Any]]:
        """What it says, until it is ready, has failed, is gone, or has said nothing for `silence` seconds."""
        text = b""
        while select.select([self.progress], [], [], silence)[0]:
            read = os.read(self.progress, 65536)
            if not read:
                return
            text += read
            *lines, text = text.split(b"\n")
            for line in lines:
                message = json.loads(line)
                yield message
                if "ready" in message or "error" in message:
                    return

    def wait(self) -> int:
        """Wait for its end: its exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self, seconds: float = 5.0) -> None:
        """End it and everything that it started: SIGTERM, and SIGKILL after `seconds`."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return  # it has ended and was waited for
        try:
            _signal(handle, signal.SIGTERM)
            if not select.select([handle], [], [], seconds)[0]:
                _signal(handle, signal.SIGKILL)
            self.wait()
        finally:
            os.close(handle)


def start(config: ClusterConfig, lock: state.Lock, *, foreground: bool = False) -> Daemon:
    """Fork the control plane. The child owns `lock` and the descriptors in `config`; the caller closes its own copies.

    With `foreground` its output stays where ours goes, it stays in our session, and it ends when we do, however we end.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # Python's own hooks after a fork would swallow what our handlers raise, and say so on stderr.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(config, lock, writing, before, foreground=foreground)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(writing)
    return Daemon(pid, reading)


def _child(
    config: ClusterConfig, lock: state.Lock, pipe: int, signals: Iterable[signal.Signals | int], *, foreground: bool
) -> NoReturn:
    """`signals`: those that are to be blocked, as before the fork."""
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        os.umask(0o022)  # containers inherit it; what is private lies in private directories
        if foreground:
            from skerry import linux

            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a terminal that closes asks our parent, who asks us
        else:
            os.setsid()
            _redirect(config.paths)
        _allow_many_files()
        _close_others({pipe, lock.fd, config.api_listener, config.certificates})
        lock.announce(state.STARTING)
        progress = Progress(_sender(pipe, lock))
        try:
            control_plane(config, progress)
            code = 0
        except ClusterError as error:
            progress.error(str(error))
        except KeyboardInterrupt:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits must be told
            progress.error(f"The control plane failed: {type(error).__name__}: {error}".replace("\n", " "))
            import traceback

            traceback.print_exc()
    finally:
        try:
            lock.clear()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _redirect(paths: ClusterPaths) -> None:
    path = paths.control_plane_log
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)
    # The parent's stream objects may lead elsewhere (a test runner's do).
    sys.stdout = os.fdopen(1, "w", 1, "utf-8", "backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, "utf-8", "backslashreplace", closefd=False)


def _allow_many_files() -> None:
    """The soft limit, often 1024, is for programs that use select(); it is soon reached with pods and watchers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _close_others(keep: set[int]) -> None:
    """Descriptors that whoever called us left open are not the daemon's: a pipe held open would hang its reader."""
    low = 3
    for fd in sorted(fd for fd in keep if fd >= low):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def _sender(pipe: int, lock: state.Lock) -> Callable[[dict[str, Any]], None]:
    open_pipe: list[int] = [pipe]

    def send(message: dict[str, Any]) -> None:
        if "ready" in message:
            lock.announce(state.READY)
        if "stopping" in message:
            lock.announce(state.STOPPING)
        if open_pipe:
            try:
                os.write(pipe, json.dumps(message).encode() + b"\n")
            except OSError:
                pass  # nobody waits any more; the cluster goes on
            if "ready" in message or "error" in message:
                os.close(open_pipe.pop())

    return send


def stop(paths: ClusterPaths, seconds: float, kill_seconds: float = 10.0) -> bool:
    """Stop the cluster: False if it did not run. SIGTERM, `seconds` to end well, then SIGKILL.

    Returns when nothing of it lives any more; ClusterError if something still does `kill_seconds` later.
    """
    until = time.monotonic() + kill_seconds
    while (found := _open(paths)) is None:
        # No daemon; but one may be about to be started, or the last children of one are still on their way out.
        if not paths.lock.exists() or state.wait_until_gone(paths, 0.1):
            return False
        if time.monotonic() > until:
            _wait_until_gone(paths, 0, 0)
    handle, pid = found
    try:
        state.announce_stop(paths)
        _signal(handle, signal.SIGTERM)
        _signal(handle, signal.SIGCONT)  # one that was stopped has not seen it yet
        if not _gone(paths, seconds, pid):
            _signal(handle, signal.SIGKILL)
            _wait_until_gone(paths, kill_seconds, pid)
    finally:
        os.close(handle)
    return True


def _open(paths: ClusterPaths) -> tuple[int, int] | None:
    """A pidfd of the running daemon, which then cannot turn into another process, and its id; None if there is none."""
    found = state.holder(paths)
    if found is None:
        return None
    try:
        handle = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return None
    again = state.holder(paths)
    if again is None or again.pid != found.pid:
        os.close(handle)
        return None
    return handle, found.pid


def _signal(handle: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass  # it has ended by itself
    except PermissionError:
        raise ClusterError("The cluster belongs to another user: stop it as that user.") from None


def _gone(paths: ClusterPaths, seconds: float, pid: int) -> bool:
    """Wait until nothing of the cluster that process `pid` was is left, even if it is being started again by then."""
    until = time.monotonic() + seconds
    while not state.wait_until_gone(paths, 0.05):
        other = state.holder(paths)
        if other is not None and other.pid != pid:
            return True
        if time.monotonic() > until:
            return False
    return True


def _wait_until_gone(paths: ClusterPaths, seconds: float, pid: int) -> None:
    if not _gone(paths, seconds, pid):
        raise ClusterError(f"The cluster did not end: a process of it still holds {paths.lock}.")
