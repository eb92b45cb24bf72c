"""Namespaces that a pod's containers share with each other or with the node, terminals, and images of many layers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from tests.integration.runtime.clusters import LONG, Image, busybox, host, on_node, output, pod, run

from skerry import linux
from skerry.cluster.plan import NodeContext
from skerry.node.runtime.client import Runtime
from skerry.node.runtime.spec import ContainerSpec


def commands() -> str:
    """The command lines of all processes of this node."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return "\n".join(found)


async def gone(text: str) -> None:
    """Returns when no process of this node has this text in its command line."""
    async with asyncio.timeout(LONG):
        while text in commands():  # noqa: ASYNC110 - nobody tells of processes
            await asyncio.sleep(0.01)


def test_containers_of_a_pod_see_each_others_processes(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime, pids="pod")
        await runtime.start(host("web", "sleep 1001 & exec sleep 1002"))
        code, out, err = await run(runtime, host("tool", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; echo $$"))
        assert code == 0 and "sleep 1001" in out and "sleep 1002" in out, (out, err)
        assert out.split()[-1] != "1"
        shown = "tr '\\0' '|' < /proc/1/cmdline; echo; cat /proc/1/comm"
        assert (await run(runtime, host("first", shown)))[1] == "/pause|\npause\n"
        # Not the first process of the namespace: a signal without a handler ends it.
        await runtime.signal("web", signal.SIGTERM)
        assert (await runtime.wait("web")).signal == signal.SIGTERM
        await gone("sleep 100")  # and what it has left behind goes with it
        assert (await run(runtime, host("later", "exit 3")))[0] == 3
        await runtime.start(host("last", "exec sleep 1003"))
        await runtime.remove_pod("pod-1")
        await gone("sleep 1003")

    on_node(tmp_path, work)


def test_a_container_among_the_nodes_processes(tmp_path: Path) -> None:
    """hostPID: it sees and may signal what the node runs; what it leaves behind ends with it."""

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime, pids="host")
        await pod(runtime, "pod-2")
        await runtime.start(host("other", "exec sleep 1001", pod_uid="pod-2"))
        script = (
            "grep -lz 1001 /proc/[0-9]*/cmdline >/dev/null && echo seen; setsid sleep 1002 & setsid sleep 1003 & exit 4"
        )
        code, out, err = await run(runtime, host("web", script))
        assert (code, out) == (4, "seen\n"), err
        await gone("sleep 1002")
        await gone("sleep 1003")
        assert "sleep 1001" in commands()

    on_node(tmp_path, work)


def test_whose_ipc(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        show = "readlink /proc/self/ns/ipc"
        found = {}
        for name, options in (("own", {}), ("node", {"ipc": "host"}), ("network", {"netns": "host"})):
            await pod(runtime, name, **options)
            found[name] = (await run(runtime, host(name, show, pod_uid=name)))[1].strip()
        assert found["node"] == os.readlink("/proc/self/ns/ipc")
        assert len(set(found.values())) == 3

    on_node(tmp_path, work)


def test_a_terminal_is_the_console(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        script = "test -c /dev/console && echo straight > /dev/console; stat -c %t /dev/console; tty"
        started = await runtime.start(host("c", script, tty=True))
        assert (await runtime.wait("c")).code == 0
        text = b""
        async with asyncio.timeout(LONG):
            while text.count(b"\n") < 3:
                with contextlib.suppress(BlockingIOError):
                    text += os.read(started.stdout, 1000)
                await asyncio.sleep(0)
        assert text.replace(b"\r", b"") == b"straight\n88\n/dev/pts/0\n"
        os.close(started.stdout)
        assert started.stdin is not None
        os.close(started.stdin)

    on_node(tmp_path, work)


def test_what_proc_hides(tmp_path: Path) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        script = (
            "echo 65 > /proc/sys/net/ipv4/ip_default_ttl && cat /proc/sys/net/ipv4/ip_default_ttl; "
            "echo 60 > /proc/sys/vm/swappiness; stat -c %F /proc/keys"
        )
        code, out, err = await run(runtime, host("masked", script))
        assert out == "character special file\n" and err.count("Read-only") == 2
        code, out, err = await run(runtime, host("open", script, unmasked=True, capabilities=list(linux.CAPABILITIES)))
        assert (code, out) == (0, "65\nregular empty file\n") and err.count("Read-only") == 1

    on_node(tmp_path, work)


def test_an_image_of_more_layers_than_a_page_of_options_holds(tmp_path: Path) -> None:
    image = Image(busybox(tmp_path / "lower"), tmp_path / "containers")
    layers = []
    for number in range(100):
        layer = tmp_path / f"{number:064}"
        (layer / "etc").mkdir(parents=True)
        (layer / f"file-{number}").touch()
        (layer / "etc/number").write_text(f"{number}\n")
        layers.insert(0, str(layer))

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        overlay = image.overlay("c")
        overlay.lowerdirs[:0] = layers
        assert len(":".join(overlay.lowerdirs)) > os.sysconf("SC_PAGESIZE")
        script = "cat /etc/number; ls / | grep -c file-; echo mine > /etc/number; cat /etc/number; pwd"
        spec = ContainerSpec(id="c", pod_uid="pod-1", rootfs=overlay, argv=["sh", "-c", script])
        started = await runtime.start(spec)
        assert (await output(started)) == ("99\n100\nmine\n/\n", "")
        await runtime.remove_container("c")

    on_node(tmp_path, work)
