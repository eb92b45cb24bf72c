"""Containers of this machine's own files, run by a real spawner in real namespaces."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.integration.runtime.clusters import host, on_node, output, pod, run

from skerry.cluster.plan import NodeContext
from skerry.node.runtime.client import Runtime
from skerry.node.runtime.spec import ContainerSpec, Exit, HostImage, Mount, RuntimeFailure, StartError, Tmpfs


def test_a_command_runs_with_its_output_and_exit_code(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        script = "hostname; echo $GREETING; pwd; echo $$; echo wrong >&2; exit 3"
        code, out, err = await run(runtime, host("c", script, env={"GREETING": "good morning"}, cwd="/usr"))
        assert (code, out, err) == (3, "pod-1\ngood morning\n/usr\n1\n", "wrong\n")

    on_node(tmp_path, work)


def test_what_cannot_start_is_no_exit(tmp_path: Path) -> None:
    cases = {
        "nosuch": 'exec: "nosuch": executable file not found in $PATH',
        "/nosuch": 'exec: "/nosuch": stat /nosuch: no such file or directory',
        "/etc/passwd": 'exec: "/etc/passwd": permission denied',
        "/etc": 'exec: "/etc": is a directory',
    }

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        for command, message in cases.items():
            spec = ContainerSpec(id="c", pod_uid="pod-1", rootfs=HostImage(), argv=[command])
            with pytest.raises(StartError) as refused:
                await runtime.start(spec)
            assert str(refused.value) == message
            with pytest.raises(KeyError):
                await runtime.wait("c")
        with pytest.raises(StartError, match=r'chdir to cwd \("/nosuch"\) set in config.json failed: no such file'):
            await runtime.start(host("d", "true", cwd="/nosuch"))
        with pytest.raises(StartError, match='error mounting "/nosuch" to rootfs at "/x": no such file or directory'):
            await runtime.start(host("e", "true", mounts=[Mount(source="/nosuch", target="/x")]))
        with pytest.raises(StartError, match="pod elsewhere has no sandbox"):
            await runtime.start(host("f", "true", pod_uid="elsewhere"))
        assert (await run(runtime, host("c", "exit 0")))[0] == 0  # the name is free again

    on_node(tmp_path, work)


def test_signals_and_waiting(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
        started = await runtime.start(host("polite", script))
        reading = asyncio.create_task(output(started))
        await _until_written(runtime, "polite")
        waiting = [asyncio.create_task(runtime.wait("polite")) for _ in range(2)]
        await runtime.signal("polite", signal.SIGTERM)
        first, second = await asyncio.gather(*waiting)
        assert first == second == await runtime.wait("polite")
        assert first.code == 5 and first.signal == 0
        assert first.started_at == started.started_at <= first.finished_at
        assert (await reading)[0] == "ready\nbye\n"
        await runtime.signal("polite", signal.SIGTERM)  # of one that has ended: nothing

        # A shell that is PID 1 has no handler for SIGTERM: it stays, SIGKILL ends it and its children.
        await runtime.start(host("rude", "sleep 1000 & sleep 1000"))
        await runtime.signal("rude", signal.SIGTERM)
        assert (await runtime.exec("rude", ["true"])).code == 0
        await runtime.signal("rude", signal.SIGKILL)
        ended: Exit = await runtime.wait("rude")
        assert (ended.code, ended.signal) == (137, signal.SIGKILL)
        assert "sleep" not in " ".join(_commands())

    on_node(tmp_path, work)


async def _until_written(runtime: Runtime, name: str) -> None:
    """Until a trap is set: the shell then waits for a child."""
    while b"sleep" not in (await runtime.exec(name, ["ps", "ax"])).output:
        pass


def _commands() -> list[str]:
    return [Path(f"/proc/{name}/comm").read_text().strip() for name in os.listdir("/proc") if name.isdigit()]


def test_exec(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        await runtime.start(host("c", "exec sleep 1000", env={"A": "1", "B": "2"}, cwd="/usr", uid=0))
        result = await runtime.exec(
            "c", ["sh", "-c", "echo $A$B$C; pwd; hostname; echo oops >&2; exit 7"], env={"B": "3", "C": "4"}
        )
        assert (result.code, result.output) == (7, b"134\n/usr\npod-1\noops\n")
        assert (await runtime.exec("c", ["cat", "/proc/1/cmdline"])).output == b"sleep\x001000\0"
        assert len((await runtime.exec("c", ["sh", "-c", "yes | head -c 100000"], limit=500)).output) == 500
        with pytest.raises(StartError, match='exec: "nosuch": executable file not found'):
            await runtime.exec("c", ["nosuch"])
        with pytest.raises(TimeoutError):
            await runtime.exec("c", ["sh", "-c", "sleep 1000 & sleep 1000"], seconds=0.05)
        listing = (await runtime.exec("c", ["ps", "ax"])).output.decode()
        assert listing.count("sleep 1000") == 1  # the group of the late one is gone

        streams = await runtime.exec_stream("c", ["cat"], stdin=True)
        assert streams.stdin is not None
        os.write(streams.stdin, b"echo")
        os.close(streams.stdin)
        assert (await output(streams))[0] == "echo"
        assert (await runtime.wait(streams.key)).code == 0
        await runtime.remove_container(streams.key)

        in_flight = await runtime.exec_stream("c", ["sleep", "1000"])
        await runtime.signal("c", signal.SIGKILL)
        assert (await runtime.wait(in_flight.key)).signal == signal.SIGKILL  # ends with its container
        with pytest.raises(StartError, match="is not running"):
            await runtime.exec("c", ["true"])

    on_node(tmp_path, work)


def test_this_machines_files_are_read_only_and_homes_are_hidden(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the data directory")
    home = Path.home()

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        script = f"""
            for place in / /usr /etc /var/lib; do touch $place/new 2>/dev/null && echo $place is writable; done
            for place in /tmp /var/tmp /run /dev/shm; do touch $place/new || echo $place is not writable; done
            ls -A /home; ls -A {home}; ls -A {tmp_path}
            test -e /var/run/docker.sock && echo docker
            grep ^hosts: /etc/nsswitch.conf
            ls -A /sys/class/net
            echo x > /dev/null && chmod 600 /dev/null || echo refused
            echo x > /proc/sys/kernel/hostname
        """
        code, out, err = await run(runtime, host("c", script))
        assert out.split() == ["hosts:", "files", "dns", "eth0", "lo", "refused"], err
        assert "/dev/null': Read-only file system" in err
        assert code != 0

    on_node(tmp_path, work)
    assert not Path("/tmp/new").exists() and not Path("/run/new").exists()


def test_mounts_where_the_machine_has_no_such_path(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "key").write_text("value")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 10.96.0.10\n")

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        mounts = [
            Mount(source=str(config), target="/data/deep/config", read_only=True),
            Mount(source=str(config), target="/usr/share/skerry-test/config"),
            Mount(source=str(resolv), target="/etc/resolv.conf", read_only=True),
            Mount(source=str(resolv), target="/etc/skerry-test.conf"),
            Mount(source=str(config), target="/var/run/secrets/token"),
        ]
        script = """
            cat /data/deep/config/key /usr/share/skerry-test/config/key /var/run/secrets/token/key; echo
            cat /etc/resolv.conf /etc/skerry-test.conf
            grep -c hosts: /etc/nsswitch.conf
            ls /usr/share | head -c 1 | wc -c
            touch /data/deep/config/x || echo refused; touch /etc/new || echo refused
            touch /var/run/secrets/token/written; df /cache | tail -1 | grep -c tmpfs
        """
        spec = host("c", script, mounts=mounts, tmpfs=[Tmpfs(target="/cache", size=1 << 20)])
        _, out, err = await run(runtime, spec)
        nameserver = ["nameserver", "10.96.0.10"]
        assert out.split() == ["valuevaluevalue", *nameserver, *nameserver, "1", "1", "refused", "refused", "1"], err

    on_node(tmp_path, work)
    assert (config / "written").exists()
    assert not Path("/data").exists() and not Path("/usr/share/skerry-test").exists()


def test_capabilities_and_privileges(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        script = "grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status | cut -f2"
        _, out, _ = await run(runtime, host("default", script))
        assert out.split() == ["00000000a80425fb"] * 3 + ["0000000000000000", "0"]
        _, out, _ = await run(runtime, host("few", script, capabilities=["KILL"], no_new_privileges=True))
        assert out.split() == ["0000000000000020"] * 3 + ["0000000000000000", "1"]
        with pytest.raises(StartError, match='unknown capability "CAP_SYS_ADMIN"'):
            await runtime.start(host("typo", script, capabilities=["CAP_SYS_ADMIN"]))

    on_node(tmp_path, work)


def test_a_long_environment_and_a_cancelled_start(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        env = {f"VARIABLE_{number}": "x" * 1000 for number in range(300)}
        _, out, _ = await run(runtime, host("long", "env | grep -c ^VARIABLE_", env=env))
        assert out == "300\n"
        starting = asyncio.create_task(runtime.start(host("given-up", "sleep 1000")))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert (await runtime.wait("given-up")).signal == signal.SIGKILL

    on_node(tmp_path, work)


def test_pods_come_and_go(tmp_path: Path) -> None:
    async def work(context: NodeContext, runtime: Runtime) -> None:
        first = await pod(runtime)
        assert first == "10.244.1.2"
        await runtime.start(host("c", "sleep 1000"))
        with pytest.raises(RuntimeFailure, match="has a sandbox already"):
            await pod(runtime)
        await runtime.remove_pod("pod-1")
        assert (await runtime.wait("c")).signal == signal.SIGKILL
        assert [name for name in os.listdir("/proc") if name.isdigit()] == ["1", "2"]
        await runtime.remove_pod("pod-1")
        assert await pod(runtime) == "10.244.1.3"  # not the address that has just gone
        with pytest.raises(RuntimeFailure, match="not/a/sysctl"):
            await pod(runtime, "pod-2", sysctls={"not/a/sysctl": "1"})
        assert await pod(runtime, "pod-2", sysctls={"net.core.somaxconn": "77"}) == "10.244.1.5"
        _, out, _ = await run(runtime, host("d", "cat /proc/sys/net/core/somaxconn", pod_uid="pod-2"))
        assert out == "77\n"
        assert await pod(runtime, "own", netns="host") == context.node.node_ip
        _, out, _ = await run(runtime, host("e", "hostname; ls /sys/class/net", pod_uid="own"))
        assert out.split()[0] == "node-1"
        assert out.count("veth") == 2

    on_node(tmp_path, work)


def test_a_container_that_sees_the_processes_of_another(tmp_path: Path) -> None:
    """What `kubectl debug --target` starts; it ends with its target."""

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        await runtime.start(host("target", "exec sleep 1000"))
        script = "cat /proc/1/cmdline | tr '\\0' ' '; echo $(($$ > 1))"
        code, out, _ = await run(runtime, host("look", script, processes_of="target"))
        assert (code, out) == (0, "sleep 1000 1\n")
        await runtime.start(host("stay", "exec sleep 1000", processes_of="target"))
        await runtime.signal("target", signal.SIGKILL)
        assert (await runtime.wait("stay")).code == 137
        with pytest.raises(StartError, match="container target is not running"):
            await runtime.start(host("late", "true", processes_of="target"))
        assert (await run(runtime, host("own", "echo $$")))[1] == "1\n"

    on_node(tmp_path, work)
