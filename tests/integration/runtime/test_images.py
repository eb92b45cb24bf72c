"""Containers of an unpacked image: overlays, users, links that point elsewhere, and pods that speak to each other."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from tests.integration.runtime.clusters import Image, busybox, on_node, output, pod, run

from skerry.cluster.plan import NodeContext
from skerry.node.runtime.client import Runtime
from skerry.node.runtime.spec import ContainerSpec, Mount, StartError


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(busybox(tmp_path / "lower"), tmp_path / "containers")


def script(image: Image, name: str, text: str, **options: object) -> ContainerSpec:
    options = {"pod_uid": "pod-1", **options}
    return ContainerSpec(id=name, rootfs=image.overlay(name), argv=["sh", "-c", text], **options)  # type: ignore[arg-type]


def test_writes_stay_in_the_containers_own_layer(tmp_path: Path, image: Image) -> None:
    upper = Path(image.overlay("c").upper)

    def written() -> bool:
        return (upper / "etc/passwd").read_text() == "changed\n" and (upper / "new").is_dir()

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        text = "echo changed > /etc/passwd; rm -r /www; mkdir /new; pwd; stat -c %a /; exit 4"
        started = await runtime.start(script(image, "c", text, cwd="/made/for/me"))
        assert (await output(started))[0] == "/made/for/me\n755\n"
        assert (await runtime.wait("c")).code == 4
        assert written()
        await runtime.remove_container("c")
        with pytest.raises(FileNotFoundError):
            written()
        await runtime.remove_container("c")

    on_node(tmp_path, work)
    assert (image.lower / "www/index.html").exists()


def test_layers_lie_on_top_of_each_other(tmp_path: Path, image: Image) -> None:
    top = tmp_path / "top: with, odd \\ name"
    (top / "www").mkdir(parents=True)
    (top / "www/index.html").write_text("upper\n")

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        overlay = image.overlay("c")
        overlay.lowerdirs.insert(0, str(top))
        code, out, _ = await run(
            runtime, ContainerSpec(id="c", pod_uid="pod-1", rootfs=overlay, argv=["cat", "/www/index.html"])
        )
        assert (code, out) == (0, "upper\n")

    on_node(tmp_path, work)


def test_a_read_only_root(tmp_path: Path, image: Image) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        mounts = [Mount(source=str(image.lower / "www"), target="/made/volume")]
        text = "touch /x || echo refused; touch /made/volume/x /dev/shm/x && echo done"
        _, out, _ = await run(runtime, script(image, "c", text, read_only_rootfs=True, mounts=mounts))
        assert out == "refused\ndone\n"

    on_node(tmp_path, work)


def test_a_user_of_the_image(tmp_path: Path, image: Image) -> None:
    if _single():
        pytest.skip("this user has no newuidmap or no ranges")

    def null() -> tuple[int, int]:
        return os.stat("/dev/null").st_uid, os.stat("/dev/null").st_gid

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        before = null()
        text = "id -u; id -g; id -G; echo $HOME; touch /x || echo refused; "
        text += "grep CapEff /proc/self/status; echo to > /dev/stdout"
        code, out, _ = await run(runtime, script(image, "c", text, uid=101, gid=102, groups=[7, 8]))
        assert code == 0
        assert out.split() == ["101", "102", "102", "7", "8", "/home/web", "refused", "CapEff:", "0" * 16, "to"]
        # stdin was this machine's own /dev/null, and stays this machine's.
        assert null() == before
        code, out, _ = await run(runtime, script(image, "d", "id -u; id -G; echo $HOME"))
        assert out == "0\n0\n/root\n"

    on_node(tmp_path, work)


def test_a_user_that_does_not_exist_here(tmp_path: Path, image: Image) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        with pytest.raises(StartError, match="user 4294967294:1 does not exist in this cluster"):
            await runtime.start(script(image, "c", "true", uid=4294967294, gid=1))

    if os.geteuid():
        on_node(tmp_path, work)
    else:
        pytest.skip("root's map has every user")


def test_no_link_of_an_image_leads_out_of_it(tmp_path: Path, image: Image) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    (image.lower / "escape").symlink_to(outside)
    (image.lower / "up").symlink_to("../../../../../../.." + str(outside))
    (image.lower / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    (image.lower / "proc").symlink_to(outside / "proc")
    source = tmp_path / "source"
    source.write_text("mounted")

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        mounts = [
            Mount(source=str(source), target=target) for target in ("/escape/file", "/up/other", "/etc/resolv.conf")
        ]
        paths = ("/run/resolve/stub.conf", "/etc/resolv.conf", f"{outside}/file", f"{outside}/other")
        text = f"cat {' '.join(paths)}; cat {outside}/proc/self/comm"
        _, out, err = await run(runtime, script(image, "c", text, mounts=mounts))
        assert out == "mounted" * 4 + "cat\n", err

    on_node(tmp_path, work)
    assert [one.name for one in outside.iterdir()] == ["file"] and (outside / "file").read_text() == "untouched"


def test_what_fails_in_execve_is_the_containers_own_failure(tmp_path: Path, image: Image) -> None:
    (image.lower / "broken").write_bytes(b"\x7fELF no program")
    (image.lower / "lost").write_text("#!/no/such/interpreter\n")
    for name in ("broken", "lost"):
        (image.lower / name).chmod(0o755)

    async def work(_: NodeContext, runtime: Runtime) -> None:
        await pod(runtime)
        for name, why in (("/broken", "exec format error"), ("/lost", "no such file or directory")):
            spec = ContainerSpec(id=name, pod_uid="pod-1", rootfs=image.overlay(name[1:]), argv=[name])
            code, _, err = await run(runtime, spec)
            assert (code, err) == (255, f"exec {name}: {why}\n")

    on_node(tmp_path, work)


def test_two_pods_speak_to_each_other_by_address(tmp_path: Path, image: Image) -> None:
    async def work(_: NodeContext, runtime: Runtime) -> None:
        address = await pod(runtime)
        await pod(runtime, "pod-2")
        server = ContainerSpec(
            id="server", pod_uid="pod-1", rootfs=image.overlay("server"), argv=["httpd", "-f", "-h", "/www"]
        )
        await runtime.start(server)
        text = f"until wget -qO- http://{address}/index.html; do :; done; grep -c eth0 /proc/net/route"
        code, out, err = await run(runtime, script(image, "client", text, pod_uid="pod-2"))
        assert (code, out) == (0, "hello\n1\n"), err
        loopback = runtime.socket_in_pod("pod-1", 2, 1)
        loopback.setblocking(True)
        loopback.connect(("127.0.0.1", 80))
        loopback.close()
        nobody = runtime.socket_in_pod("pod-2", 2, 1)
        with pytest.raises(OSError) as refused:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(nobody, ("10.244.1.200", 80)), 5)
        assert refused.value.errno == errno.EHOSTUNREACH

    on_node(tmp_path, work)


def _single() -> bool:
    from skerry.cluster import idmap

    return idmap.plan(idmap.Facts.look(), allow_single=True).single
