"""The namespaces of a contained cluster, from outside: starting its first process, holding it, ending it.

Called by the control plane before it has threads, an event loop or heavy imports: `start(plan)` forks the cluster init
and returns when every node's agent runs. Nothing of the host changes, and whatever is killed with SIGKILL takes what
lies below it along: the control plane (PR_SET_PDEATHSIG), the init and the nodes (PID namespaces), an agent (its node's
first process ends). `run_inside` (inside.py) is for `skerry run`, from any process of the same user.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from skerry import linux, packets
from skerry.cluster import idmap, init
from skerry.cluster.inside import nsswitch, run_inside
from skerry.cluster.obstacles import Machine, NamespaceError, explain
from skerry.cluster.plan import NodeContext, NodePlan, Plan

__all__ = ["Handle", "NamespaceError", "NodeContext", "NodeHandle", "NodePlan", "Plan", "run_inside", "start"]

_NAMESPACES = linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC


class NodeHandle(NamedTuple):
    """One running node."""

    name: str
    pid: int
    """Its first process (N) in this process's PID namespace; for `run_inside`."""
    pidfd: int
    """Becomes readable when the node has ended."""
    broker: socket.socket
    """For `sockets.serve`; at its end when the node's agent has ended."""


class Handle:
    """A running cluster's namespaces. Becomes readable (`fileno`) when the cluster init has ended."""

    def __init__(self, pid: int, control: socket.socket, api: socket.socket, nodes: dict[str, NodeHandle]) -> None:
        self.pid = pid
        """The cluster init (I) in this process's PID namespace."""
        self.api = api
        """The listening socket at Plan.api_address inside the cluster."""
        self.nodes = nodes
        self._pidfd = os.pidfd_open(pid)
        self._control = control
        self._reaped = False

    def fileno(self) -> int:
        """The init's pidfd, for select, or for an event loop's add_reader."""
        return self._pidfd

    def start_node(self, node: NodePlan) -> NodeHandle:
        """Starts a node again whose processes have all ended; returns when its agent runs. Blocks.

        NamespaceError if it cannot; the node is down then as before.
        """
        ours, agents = packets.pair()
        try:
            with agents:
                packets.send(self._control, {"node": node.index}, [agents.fileno()])
            pidfd = _expect(self._control)[1][0]
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise NamespaceError("The cluster's first process has ended.") from error
            raise
        before = self.nodes[node.name]
        before.broker.close()
        os.close(before.pidfd)
        made = self.nodes[node.name] = NodeHandle(node.name, _pid_of(pidfd), pidfd, ours)
        return made

    def ask_to_stop(self) -> None:
        """Asks every agent to end (SIGTERM); the init ends when the last one has. Returns at once."""
        with contextlib.suppress(OSError):
            packets.send(self._control, {"stop": True})

    def kill(self) -> None:
        """Ends everything in the cluster now and waits until it is gone. May be called again, and after a stop."""
        if self._reaped:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        # The init is gone only when every process of its PID namespace is.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self._reaped = True
        self._control.close()
        self.api.close()
        os.close(self._pidfd)
        for node in self.nodes.values():
            node.broker.close()
            os.close(node.pidfd)

    def stop(self, seconds: float = 5.0) -> bool:
        """Asks the agents to end, waits at most `seconds`, ends the rest. Blocks. True if nothing had to be killed."""
        if self._reaped:
            return True
        self.ask_to_stop()
        ended = bool(select.select([self._pidfd], [], [], seconds)[0])
        self.kill()
        return ended


def start(plan: Plan, born: Callable[[int], None] | None = None) -> Handle:
    """Makes the cluster's namespaces and starts its nodes; returns when each node's agent runs.

    The caller must have one thread. NamespaceError where the machine does not allow it; nothing is left then.
    `born` is called with the first process's id before that begins its work.
    """
    ids = idmap.plan(idmap.Facts.look(), allow_single=plan.allow_single_uid)
    _prepare(plan)
    control, inner = packets.pair()
    brokers = [packets.pair() for _ in plan.nodes]
    sys.stdout.flush()
    sys.stderr.flush()
    # The first child makes the user namespace, forks the init into the other ones and ends; then the init is ours.
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _first(plan, inner, [agents for _, agents in brokers])
    inner.close()
    for _, agents in brokers:
        agents.close()
    pid = 0
    try:
        _expect(control)
        if not plan.networks.machine:
            idmap.write(child, ids)
        packets.send(control, {})
        pid = int(_expect(control)[0]["pid"])
        os.waitpid(child, 0)
        child = 0
        if born is not None:
            born(pid)
        packets.send(control, {})
        api = socket.socket(fileno=_expect(control)[1][0])
        pidfds = _expect(control)[1]
        nodes = {
            node.name: NodeHandle(node.name, _pid_of(pidfd), pidfd, ours)
            for node, pidfd, (ours, _) in zip(plan.nodes, pidfds, brokers, strict=True)
        }
        return Handle(pid, control, api, nodes)
    except BaseException as error:
        for one in (pid, child):
            if one:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
                os.waitpid(one, 0)
        control.close()
        for ours, _ in brokers:
            ours.close()
        if isinstance(error, OSError):
            raise explain("write its user map", error.errno or 0, str(error), Machine.look(os.geteuid())) from error
        raise
    finally:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


def _prepare(plan: Plan) -> None:
    """The directories and the one file that nodes need under the data directory."""
    try:
        for name in ("logs", "run/root", "run/scratch"):
            os.makedirs(os.path.join(plan.data_dir, name), mode=0o700, exist_ok=True)
        with open(os.path.join(plan.data_dir, "run", "nsswitch.conf"), "w") as file:
            file.write(nsswitch())
    except OSError as error:
        raise NamespaceError(f"The data directory cannot be written: {error}.") from error


def _expect(control: socket.socket) -> tuple[packets.Message, list[int]]:
    """The next message from inside; NamespaceError if it tells of a failure or none comes."""
    received = packets.receive(control)
    if received is None:
        raise NamespaceError("The cluster's first process ended at once: see logs/cluster.log in the data directory.")
    message = received[0]
    if "step" in message:
        raise explain(message["step"], message["code"], message["detail"], Machine.look(os.geteuid()))
    return received


def _pid_of(pidfd: int) -> int:
    """The process behind a pidfd, as this process's PID namespace numbers it."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))


def _first(plan: Plan, control: socket.socket, brokers: list[socket.socket]) -> NoReturn:
    """The forked child: makes the user namespace and, once its map is written, forks the init and ends."""
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        linux.reset_signals()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _own_files(plan, [control.fileno(), *(broker.fileno() for broker in brokers)])
        if not plan.networks.machine:
            with init.Step("user"):
                linux.unshare(linux.CLONE_NEWUSER)
        packets.send(control, {})
        if packets.receive(control) is None:
            os._exit(1)
        with init.Step("become root inside the user namespace"):
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        with init.Step("make namespaces"):
            linux.unshare(_NAMESPACES & ~linux.CLONE_NEWNET if plan.networks.machine else _NAMESPACES)
            pid = os.fork()
        if pid:
            packets.send(control, {"pid": pid})
            os._exit(0)
        # The parent has ended when the control plane says go; from then on its death is this process's death.
        if packets.receive(control) is None:
            os._exit(1)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or this user could not open /proc/PID/ns for `skerry run`
        linux.set_name(f"skerry {plan.name}")
        os.chdir("/")
        init.run(plan, control, brokers)
    except init.StepError as error:
        packets.send(control, error.report)
    except BaseException:  # noqa: BLE001  a process must not fall back into the code of its parent
        init.complain()
    finally:
        os._exit(1)


def _own_files(plan: Plan, keep: list[int]) -> None:
    """Lets go of every file of the control plane but those; stdout and stderr become the log.

    Others are replaced by /dev/null rather than closed, so that the objects that think they own them do no harm later.
    """
    null = os.open("/dev/null", os.O_RDWR)
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd not in (null, *keep):
            with contextlib.suppress(OSError):  # the directory that was listed
                os.fstat(fd)
                os.dup2(null, fd, inheritable=False)
    os.dup2(null, 0)
    os.close(null)
    linux.log_to(os.path.join(plan.data_dir, "logs", "cluster.log"))
