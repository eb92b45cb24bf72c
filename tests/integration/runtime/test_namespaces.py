"""A cluster's namespaces from outside: up, down, killed at any point, and nothing of the host changed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.runtime.clusters import LONG, Members, host, on_node, output, pod, start, wait_for_signal
from tests.integration.runtime.kernel import in_child

from skerry import linux
from skerry.clock import SystemClock
from skerry.cluster import namespaces, sockets
from skerry.cluster.plan import NodeContext, NodePlan
from skerry.node.runtime.client import Runtime


def host_state() -> list[str]:
    """What a contained cluster must not change on this machine."""
    commands = (["ip", "addr"], ["ip", "route"], ["ip", "neigh", "show", "nud", "permanent"])
    said = [subprocess.run(one, capture_output=True, text=True, check=True).stdout for one in commands]
    return [*said, Path("/proc/self/mountinfo").read_text(), Path("/proc/sys/net/ipv4/ip_forward").read_text()]


def with_a_container(context: NodeContext) -> int:
    """An agent with one running container, which says so in a file."""

    async def work() -> None:
        node = context.node
        runtime = Runtime(context.spawner, pod_cidrs=node.pod_cidrs, node_ips=node.node_ips, clock=SystemClock())
        await pod(runtime)
        started = await runtime.start(host("c", "sleep 1000 & echo ready; wait"))
        assert await output(started, lines=1) == ("ready\n", "")
        (Path(context.cluster.data_dir) / "up").write_bytes(b"1")
        await asyncio.Event().wait()

    asyncio.run(work())
    return 0


@pytest.fixture
def up(tmp_path: Path) -> Path:
    """A pipe with a name; `with_a_container` writes to it."""
    os.mkfifo(tmp_path / "up")
    return tmp_path / "up"


@pytest.mark.parametrize("victim", ["init", "node", "agent", "control plane"])
def test_killed_at_any_point_nothing_is_left(tmp_path: Path, up: Path, victim: str) -> None:
    before = host_state()
    reader, writer = os.pipe()
    control_plane = os.fork()
    if control_plane == 0:
        try:
            handle = start(tmp_path, with_a_container)
            os.write(writer, pickle.dumps((handle.pid, handle.nodes["node-1"].pid)))
            select.select([handle.nodes["node-1"].pidfd], [], [])
            handle.kill()
        finally:
            os._exit(0)
    init, node = pickle.loads(os.read(reader, 4096))
    try:
        _read(up, 1)
        members = Members(init)
        assert len(members.pids) == 5  # init, node, agent, the container's shell and its child
        agent = min(pid for pid in members.pids if pid not in (init, node))
        os.kill({"init": init, "node": node, "agent": agent, "control plane": control_plane}[victim], signal.SIGKILL)
        assert members.survivors() == []
        assert host_state() == before
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(control_plane, signal.SIGKILL)
        os.waitpid(control_plane, 0)
        os.close(reader)
        os.close(writer)


def test_stopping_asks_the_agents_first(tmp_path: Path, up: Path) -> None:
    def main(context: NodeContext) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        up.write_bytes(b"1")
        signal.sigwait([signal.SIGTERM])
        (tmp_path / f"ended {context.node.name}").touch()
        return 0

    handle = start(tmp_path, main, nodes=2)
    _read(up, 2)
    members = Members(handle.pid)
    assert select.select([handle], [], [], 0)[0] == []
    assert handle.stop(LONG)
    assert handle.stop()
    assert members.survivors() == []
    assert (tmp_path / "ended node-1").exists() and (tmp_path / "ended node-2").exists()


def _read(pipe: Path, count: int) -> None:
    """Waits until somebody has written `count` bytes to a pipe with a name."""
    fd = os.open(pipe, os.O_RDWR)  # also for writing: the pipe then has no end between two writers
    while count:
        count -= len(os.read(fd, count))
    os.close(fd)


def test_stopping_kills_what_does_not_listen(tmp_path: Path, up: Path) -> None:
    def deaf(_: NodeContext) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        up.write_bytes(b"1")
        while True:
            signal.pause()

    handle = start(tmp_path, deaf)
    _read(up, 1)
    members = Members(handle.pid)
    assert not handle.stop(0.05)
    assert members.survivors() == []


def test_an_agent_that_fails_ends_its_node_and_the_log_says_why(tmp_path: Path) -> None:
    def main(_: NodeContext) -> None:
        raise LookupError("on purpose")

    handle = start(tmp_path, main)
    assert select.select([handle.nodes["node-1"].pidfd], [], [], LONG)[0]
    assert handle.stop()
    assert "LookupError: on purpose" in (tmp_path / "logs/node-1.log").read_text()
    assert "node-1 ended: 1" in (tmp_path / "logs/cluster.log").read_text()


def test_a_node_that_was_killed_is_started_again_beside_the_others(tmp_path: Path, up: Path) -> None:
    """With the same addresses, at once, though the kernel may still be taking its links away."""
    handle = start(tmp_path, with_a_container, nodes=2)
    try:
        _read(up, 2)
        for _ in range(3):
            before = handle.nodes["node-2"]
            os.kill(before.pid, signal.SIGKILL)
            assert select.select([before.pidfd], [], [], LONG)[0]
            again = handle.start_node(NodePlan.of(2))
            assert again.pid != before.pid and handle.nodes["node-2"] is again
            _read(up, 1)  # its agent has a spawner, and its pod a network
            assert _reached(handle.nodes["node-1"].pid, "10.243.0.3") == "refused"
        assert handle.stop()
    finally:
        handle.kill()


def test_a_node_that_cannot_be_started_again_says_why_and_harms_nobody(tmp_path: Path, up: Path) -> None:
    handle = start(tmp_path, with_a_container, nodes=2)
    try:
        _read(up, 2)
        before = handle.nodes["node-2"]
        os.kill(before.pid, signal.SIGKILL)
        assert select.select([before.pidfd], [], [], LONG)[0]
        log = tmp_path / "logs/node-2.log"
        log.unlink()
        log.mkdir()
        with pytest.raises(namespaces.NamespaceError, match=r"node-2\.log"):
            handle.start_node(NodePlan.of(2))
        log.rmdir()
        handle.start_node(NodePlan.of(2))
        _read(up, 1)
    finally:
        handle.kill()


def _reached(node_pid: int, address: str) -> str:
    """Whether a machine answers, from inside a node: "refused" at once, which an old neighbour entry would prevent."""
    code = f"""
import socket
try:
    socket.create_connection(("{address}", 9), 0.9)
except ConnectionRefusedError:
    print("refused", end="")
"""
    command = ["nsenter", "-U", "-n", "--preserve-credentials", "-t", str(node_pid), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


def test_the_api_socket_answers_nodes_and_pods(tmp_path: Path) -> None:
    async def work(context: NodeContext, runtime: Runtime) -> None:
        for born in (socket.socket(), _pod_socket(runtime, await pod(runtime))):
            born.setblocking(False)
            await asyncio.get_running_loop().sock_connect(born, (context.cluster.api_address, context.cluster.api_port))
            assert await asyncio.get_running_loop().sock_recv(born, 100) == b"hello"
            born.close()

    def outside(handle: namespaces.Handle) -> None:
        for _ in range(2):
            assert select.select([handle.api], [], [], LONG)[0]
            connection, _ = handle.api.accept()
            connection.send(b"hello")
            connection.close()

    on_node(tmp_path, work, outside=outside)


def _pod_socket(runtime: Runtime, _: str) -> socket.socket:
    return runtime.socket_in_pod("pod-1", socket.AF_INET, socket.SOCK_STREAM)


def test_nodes_reach_each_other_and_each_others_pods(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        loop = asyncio.get_running_loop()
        for born in (socket.socket, lambda: runtime.socket_in_pod("pod-1", socket.AF_INET, socket.SOCK_STREAM)):
            # Node 2 refuses in its own name, and says that it has no such pod.
            for address, code in (("10.243.0.3", errno.ECONNREFUSED), ("10.244.2.7", errno.EHOSTUNREACH)):
                made = born()
                made.setblocking(False)
                with pytest.raises(OSError) as refused:
                    await asyncio.wait_for(loop.sock_connect(made, (address, 80)), LONG)
                assert refused.value.errno == code
                made.close()

    on_node(tmp_path, work, nodes=2)


def test_the_broker_gives_out_sockets_of_the_host(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]

    async def work(context: NodeContext, _: Runtime) -> None:
        loop = asyncio.get_running_loop()
        broker = sockets.Broker(context.broker)
        with pytest.raises(OSError) as refused:
            await broker.listen("host", "127.0.0.1", port)
        assert refused.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError) as nowhere:
            await broker.listen("moon", "127.0.0.1", 0)
        assert nowhere.value.errno == errno.EINVAL
        # One socket of the host speaks to another, though this process is in the node.
        way_out = await broker.socket("host", socket.AF_INET, socket.SOCK_STREAM)
        await loop.sock_connect(way_out, ("127.0.0.1", port))
        listening = await broker.listen("host", "127.0.0.1", 0)
        other = await broker.socket("host", socket.AF_INET, socket.SOCK_STREAM)
        await loop.sock_connect(other, listening.getsockname())
        accepted, _ = await loop.sock_accept(listening)
        accepted.close()
        datagrams = await broker.listen("host", "127.0.0.1", 0, kind="udp")
        assert datagrams.type == socket.SOCK_DGRAM and datagrams.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await loop.sock_connect(socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK), ("127.0.0.1", port))

    def outside(handle: namespaces.Handle) -> None:
        asyncio.run(asyncio.wait_for(sockets.serve(handle.nodes["node-1"].broker), 30))  # returns when the agent ends

    on_node(tmp_path, work, outside=outside)
    taken.close()


def test_run_inside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    handle = start(tmp_path, wait_for_signal)
    try:
        node = handle.nodes["node-1"].pid
        script = "id -u; hostname; cat /etc/resolv.conf; grep ^hosts /etc/nsswitch.conf; "
        script += "ip -o -4 addr show eth0; pwd; exit 7"
        assert namespaces.run_inside(node, ["sh", "-c", script], "nameserver 10.96.0.10\n") == 7
        out = capfd.readouterr().out.split("\n")
        assert out[:4] == [str(os.getuid()), "node-1", "nameserver 10.96.0.10", "hosts: files dns"]
        assert " 10.243.0.2/24 " in out[4] and out[5] == os.getcwd()
        assert namespaces.run_inside(node, ["no-such-program"], "") == 127
        assert "no-such-program: No such file" in capfd.readouterr().err
        assert namespaces.run_inside(node, ["/etc/passwd"], "") == 126
        assert namespaces.run_inside(node, ["sh", "-c", "kill -TERM $$"], "") == 128 + signal.SIGTERM
        # It is an ordinary process of this machine: with its number here, and in no PID namespace of the cluster.
        assert (
            namespaces.run_inside(
                node, ["sh", "-c", f"test $(readlink /proc/self/ns/pid) = {os.readlink('/proc/self/ns/pid')}"], ""
            )
            == 0
        )
    finally:
        handle.kill()
    with pytest.raises(namespaces.NamespaceError, match="The node is not running"):
        namespaces.run_inside(node, ["true"], "")


def test_run_inside_passes_signals_on_and_dies_with_its_caller(tmp_path: Path) -> None:
    handle = start(tmp_path, wait_for_signal)
    try:
        for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, None)):
            reader, writer = os.pipe()
            caller = os.fork()
            if caller == 0:
                os.dup2(writer, 1)
                program = ["sh", "-c", "echo $$; exec sleep 1000"]
                os._exit(namespaces.run_inside(handle.nodes["node-1"].pid, program, ""))
            os.close(writer)
            pidfd = os.pidfd_open(int(os.read(reader, 100)))
            os.close(reader)
            os.kill(caller, number)
            assert select.select([pidfd], [], [], LONG)[0], "the program lives on"
            os.close(pidfd)
            _, status = os.waitpid(caller, 0)
            assert code is None or os.waitstatus_to_exitcode(status) == code
    finally:
        handle.kill()


def test_no_user_namespaces_left(tmp_path: Path) -> None:
    def work() -> str:
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        with pytest.raises(namespaces.NamespaceError) as refused:
            start(tmp_path, wait_for_signal)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return str(refused.value)

    said = in_child(work, linux.CLONE_NEWUSER)
    assert "user.max_user_namespaces is 0" in said and "sudo sysctl user.max_user_namespaces=15000" in said


def test_a_covered_proc(tmp_path: Path) -> None:
    def work() -> str:
        linux.bind("/dev/null", "/proc/kmsg")
        with pytest.raises(namespaces.NamespaceError) as refused:
            start(tmp_path, wait_for_signal)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        return str(refused.value)

    assert "A fresh /proc cannot be mounted" in in_child(work, linux.CLONE_NEWUSER | linux.CLONE_NEWNS)


def test_a_data_directory_that_cannot_be_written() -> None:
    with pytest.raises(namespaces.NamespaceError, match="The data directory cannot be written"):
        start(Path("/proc/nothing"), wait_for_signal)


def test_a_socket_of_the_control_plane_is_not_kept_by_the_cluster(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    handle = start(tmp_path, wait_for_signal)
    theirs.close()
    try:
        assert select.select([ours], [], [], LONG)[0] and ours.recv(1) == b""
    finally:
        handle.kill()
