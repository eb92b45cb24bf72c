"""Pulls from a real registry (Debian's docker-registry) and loads from archives."""

from __future__ import annotations

import asyncio
import gzip
import io
import multiprocessing
import os
import shutil
import signal
import socket
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
from tests.helpers.images import BuiltImage, Layer, digest, manifest_list, push_tutorial_images
from tests.helpers.registry import docker_registry

from skerry.clock import SystemClock
from skerry.node.images import archive, removal
from skerry.node.images.errors import ImageError
from skerry.node.images.http import HttpClient
from skerry.node.images.manager import Images
from skerry.node.images.registry import Registry
from skerry.node.images.store import Store


@pytest.fixture(scope="module")
def registry():
    with tempfile.TemporaryDirectory() as directory, docker_registry(Path(directory)) as url:
        yield url


def small(text="hello", layers=1):
    made = []
    for number in range(layers):
        layer = Layer()
        layer.file(f"etc/{number}", text * (number + 1))
        made.append(layer.tar())
    return BuiltImage(made, {"Cmd": ["/x"], "Env": ["A=b"]})


class Node:
    """An image manager as a node has it, and what it said."""

    def __init__(self, path, mirrors=None, connect=None):
        self.http = HttpClient(connect)
        self.images = Images(Store(str(path)), Registry(self.http, mirrors or {}), SystemClock())
        self.events = []

    async def ensure(self, name, policy=""):
        return await self.images.ensure(name, policy, lambda *event: self.events.append(event))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.images.close()
        await self.http.close()

    @property
    def reasons(self):
        return [reason for _, reason, _ in self.events]


def host(registry):
    return registry.removeprefix("http://")


def content(image, path, layer=-1):
    return (Path(image.layers[layer]) / path).read_text()


def squeeze(path):
    Path(path).write_bytes(gzip.compress(Path(path).read_bytes()))


async def test_the_tutorials_images_come_from_the_mirror(registry, tmp_path):
    pushed = push_tutorial_images(registry)
    async with Node(tmp_path, {"docker.io": [registry]}) as node:
        image = await node.ensure("nginx:1.14.2")
        assert image.reference == "docker.io/library/nginx:1.14.2"
        assert image.digest == "docker.io/library/nginx@" + pushed["nginx:1.14.2"]
        assert (image.config.cmd, image.config.stop_signal) == (["nginx", "-g", "daemon off;"], "SIGQUIT")
        assert "Welcome to nginx!" in content(image, "usr/share/nginx/html/index.html")
        assert node.reasons == ["Pulling", "Pulled"]
        assert node.events[1][2].startswith('Successfully pulled image "nginx:1.14.2" in ')
        assert node.events[1][2].endswith(f"Image size: {image.size} bytes.")
        assert await node.ensure("nginx:1.14.2") == image
        assert node.events[2] == (
            "Normal",
            "Pulled",
            'Container image "nginx:1.14.2" already present on machine and can be accessed by the pod',
        )
        assert (await node.ensure("nginx:1.16.1")).id != image.id


@pytest.mark.parametrize("flavour", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_both_flavours_and_all_compressions(registry, tmp_path, flavour, compression):
    image = small(flavour + compression, layers=3)
    pushed = image.packed(flavour, compression).push(registry, "a/b", "x")
    async with Node(tmp_path) as node:
        for name in (f"{host(registry)}/a/b:x", f"{host(registry)}/a/b@{pushed}"):
            found = await node.ensure(name)
            assert found.id == image.id and found.digest.endswith("@" + pushed)
            assert [content(found, f"etc/{i}", i) for i in range(3)] == [(flavour + compression) * i for i in (1, 2, 3)]
        assert node.reasons == ["Pulling", "Pulled", "Pulled"]  # by its digest it was there already


async def test_a_list_of_manifests(registry, tmp_path):
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    mine, other = small("mine"), small("other")
    images = {machine: mine.packed(), "sparc": other.packed()}
    for image in images.values():
        image.push(registry, "multi/arch")
    top = manifest_list(images).push(registry, "multi/arch", "1")
    manifest_list({"sparc": images["sparc"]}).push(registry, "multi/arch", "foreign")
    async with Node(tmp_path) as node:
        found = await node.ensure(f"{host(registry)}/multi/arch:1")
        assert found.id == mine.id and found.digest.endswith(top)
        assert (await node.ensure(f"{host(registry)}/multi/arch@{top}")).id == mine.id
        assert (await node.ensure(f"{host(registry)}/multi/arch@{images[machine].digest}")).id == mine.id
        with pytest.raises(ImageError, match=f"linux/{machine} is not offered, only linux/sparc"):
            await node.ensure(f"{host(registry)}/multi/arch:foreign")


async def test_always_sees_a_tag_that_moved(registry, tmp_path):
    name = f"{host(registry)}/moving"
    async with Node(tmp_path) as node:
        one, two = small("1"), small("2")
        one.packed().push(registry, "moving", "latest", "t")
        assert (await node.ensure(name)).id == one.id
        assert (await node.ensure(name + ":t")).id == one.id
        two.packed().push(registry, "moving", "latest", "t")
        assert (await node.ensure(name)).id == two.id  # latest: Always by default
        assert (await node.ensure(name + ":t")).id == one.id
        assert (await node.ensure(name + ":t", "Always")).id == two.id


async def test_never(registry, tmp_path):
    small().packed().push(registry, "never", "1")
    name = f"{host(registry)}/never:1"
    async with Node(tmp_path) as node:
        with pytest.raises(ImageError) as error:
            await node.ensure(name, "Never")
        assert error.value.reason == "ErrImageNeverPull"
        text = f'Container image "{name}" is not present with pull policy of Never'
        assert node.events == [("Warning", "ErrImageNeverPull", text)]
        await node.ensure(name)
        assert (await node.ensure(name, "Never")).id == small().id


@pytest.mark.parametrize(
    ("name", "words"),
    [("library/nothing:1", "manifest unknown"), ("none@sha256:" + "0" * 64, "manifest unknown")],
)
async def test_what_is_not_there_is_said_in_the_registrys_words(registry, tmp_path, name, words):
    async with Node(tmp_path) as node:
        with pytest.raises(ImageError) as error:
            await node.ensure(f"{host(registry)}/{name}")
        assert error.value.reason == "ErrImagePull" and words in error.value.message
        assert node.events[-1][:2] == ("Warning", "Failed")
        assert node.events[-1][2] == f'Failed to pull image "{host(registry)}/{name}": {error.value.message}'


async def test_a_name_that_is_none(tmp_path):
    async with Node(tmp_path) as node:
        with pytest.raises(ImageError) as error:
            await node.ensure("upper/CASE:1")
        assert error.value.reason == "InvalidImageName" and node.reasons == ["InspectFailed"]


async def test_a_registry_that_is_gone(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = closed.getsockname()[1]
        async with Node(tmp_path, {"docker.io": [f"http://127.0.0.1:{port}"]}) as node:
            with pytest.raises(ImageError, match=f"cannot connect to 127.0.0.1:{port}: Connection refused$"):
                await node.ensure("nginx:1")


async def test_the_second_mirror_has_what_the_first_has_not(registry, tmp_path):
    small().packed().push(registry, "library/second", "1")
    async with Node(tmp_path, {"docker.io": ["http://127.0.0.1:1", registry]}) as node:
        assert (await node.ensure("second:1")).id == small().id


async def test_sockets_come_from_the_given_function(registry, tmp_path):
    asked = []

    async def connect(name, port):
        asked.append((name, port))
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (name, port))
        return sock

    small("sock").packed().push(registry, "sock", "1")
    async with Node(tmp_path, connect=connect) as node:
        await node.ensure(f"{host(registry)}/sock:1")
    assert set(asked) == {("127.0.0.1", int(registry.rpartition(":")[2]))}
    assert len(asked) == 1  # and are used again


async def test_many_who_want_the_same_share_one_pull(registry, tmp_path):
    image = small("shared" * 10_000, layers=4)
    image.packed().push(registry, "shared", "1", "2")
    async with Node(tmp_path / "a") as one:
        names = [f"{host(registry)}/shared:{1 + i % 2}" for i in range(20)]
        found = await asyncio.gather(*(one.ensure(name) for name in names))
        assert {i.id for i in found} == {image.id}
        assert len(os.listdir(tmp_path / "a/layers")) == 4
        assert os.listdir(one.images.store._scratch) == []


async def test_two_nodes_share_one_store(registry, tmp_path):
    image = small("nodes" * 50_000, layers=6)
    image.packed().push(registry, "nodes", "1")
    name = f"{host(registry)}/nodes:1"
    async with Node(tmp_path) as one, Node(tmp_path) as two:
        a, b = await asyncio.gather(one.ensure(name), two.ensure(name))
        assert a == b and len(os.listdir(tmp_path / "layers")) == 6
    assert os.listdir(tmp_path / "tmp") == []


def _pull_for_ever(path, registry, started):
    async def work():
        node = Node(path)
        add = node.images.store.add_layer

        def slow(diff_id, source, limits=None):
            class Stuck:
                def read(self, size=-1):
                    data = source.read(1000)
                    started.set()
                    if not data:
                        signal.pause()  # until killed, with a half-made layer
                    return data

            add(diff_id, Stuck(), limits)

        node.images.store.add_layer = slow
        await node.ensure(f"{host(registry)}/killed:1")

    signal.alarm(60)
    asyncio.run(work())


async def test_kill_9_in_the_middle_of_a_pull(registry, tmp_path):
    image = small("killed" * 1000, layers=3)
    image.packed().push(registry, "killed", "1")
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=_pull_for_ever, args=(tmp_path, registry, started))
    process.start()
    assert await asyncio.to_thread(started.wait, 30)
    process.kill()
    await asyncio.to_thread(process.join, 30)
    assert len(os.listdir(tmp_path / "tmp")) == 1
    async with Node(tmp_path) as node:
        assert len(os.listdir(tmp_path / "tmp")) == 1  # its own; the dead one's is gone
        assert (await node.ensure(f"{host(registry)}/killed:1")).id == image.id
    assert os.listdir(tmp_path / "tmp") == []


async def test_a_half_written_record_is_no_image(registry, tmp_path):
    small("torn").packed().push(registry, "torn", "1")
    name = f"{host(registry)}/torn:1"
    async with Node(tmp_path) as node:
        await node.ensure(name)
        for path in (tmp_path / "refs").iterdir():
            path.write_bytes(path.read_bytes()[:40])
        assert node.images.store.names() == []
        await node.ensure(name)
        assert node.reasons == ["Pulling", "Pulled", "Pulling", "Pulled"]
        shutil.rmtree((await node.ensure(name)).layers[0])
        assert content(await node.ensure(name), "etc/0") == "torn"


async def test_a_layer_that_is_not_what_the_config_says(registry, tmp_path):
    honest, forged = small("honest"), small("forged")

    class Forged(BuiltImage):
        def config(self):
            return honest.config()

    Forged(forged.layers, {}).packed().push(registry, "forged", "1")
    async with Node(tmp_path) as node:
        with pytest.raises(ImageError, match="failed to extract layer"):
            await node.ensure(f"{host(registry)}/forged:1")
        assert os.listdir(tmp_path / "layers") == [] and os.listdir(node.images.store._scratch) == []


async def test_an_image_without_layers(registry, tmp_path):
    BuiltImage([], {"Cmd": ["/x"]}).packed().push(registry, "empty", "1")
    async with Node(tmp_path) as node:
        found = await node.ensure(f"{host(registry)}/empty:1")
        assert [os.listdir(layer) for layer in found.layers] == [[]]


async def test_a_layer_that_comes_twice_is_mounted_once(registry, tmp_path):
    image = small(layers=2)
    twice = BuiltImage([image.layers[0], image.layers[1], image.layers[0]], {})
    twice.packed().push(registry, "twice", "1")
    async with Node(tmp_path) as node:
        found = await node.ensure(f"{host(registry)}/twice:1")
        assert found.layers == [node.images.store.layer(digest(layer)) for layer in (image.layers[1], image.layers[0])]


# Archives


@pytest.mark.parametrize("form", ["docker", "docker-gz", "oci", "oci-zstd"])
async def test_load(tmp_path, form):
    image, path = small(form, layers=2), str(tmp_path / "image.tar")
    if form.startswith("docker"):
        image.write_docker_archive(path, "app:1", "other.example/app:2")
    else:
        image.write_oci_archive(path, "docker.io/library/app:1", "zstd" if form == "oci-zstd" else "gzip")
    if form == "docker-gz":
        squeeze(path)
    async with Node(tmp_path / "store", {"docker.io": ["http://127.0.0.1:1"]}) as node:
        names = await node.images.load(path)
        assert names == ["docker.io/library/app:1", *(["other.example/app:2"] if form.startswith("docker") else [])]
        found = await node.ensure("app:1", "Always")  # no registry is asked for what was loaded by hand
        assert found.id == found.digest == image.id and content(found, "etc/1") == form * 2
        assert node.reasons == ["Pulled"]


async def test_load_of_an_open_file_and_again(tmp_path):
    one, two, path = small("1"), small("2"), tmp_path / "image.tar"
    async with Node(tmp_path / "store") as node:
        for image in (one, two, two):
            image.write_docker_archive(str(path), "app:1")
            with path.open("rb") as file:
                await node.images.load(file)
            assert (await node.ensure("app:1", "Never")).id == image.id


@pytest.mark.parametrize("what", ["text", "empty", "foreign tar", "nameless", "cut", "missing layer", "absent"])
async def test_load_of_what_is_no_image(tmp_path, what):
    path = tmp_path / "image.tar"
    image = small()
    image.write_docker_archive(str(path), *([] if what == "nameless" else ["app:1"]))
    data = path.read_bytes()
    replaced = {"text": b"hello " * 999, "empty": b"", "foreign tar": image.layers[0], "cut": data[: len(data) // 2]}
    if what == "missing layer":
        data = data.replace(b"/layer.tar", b"/loyer.tar", 1)
    path.write_bytes(replaced.get(what, data))
    if what == "absent":
        path.unlink()
    async with Node(tmp_path / "store") as node:
        with pytest.raises(ImageError) as error:
            await node.images.load(str(path))
        assert "archive" in error.value.message or "cannot read" in error.value.message
        assert node.images.store.names() == []


def evil(name, kind=tarfile.REGTYPE, **values):
    """A tar of one entry that no archive may have, after a good one."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as made:
        made.addfile(tarfile.TarInfo("good"))
        info = tarfile.TarInfo(name)
        info.type = kind
        for key, value in values.items():
            setattr(info, key, value)
        made.addfile(info)
    return data.getvalue()


OUTER = {
    "up": (evil("../../etc/cron.d/x"), "../../etc/cron.d/x: a path that leads out of the archive"),
    "absolute": (
        evil("l", tarfile.SYMTYPE, linkname="/etc/passwd"),
        "l: a symbolic link to /etc/passwd, an absolute path",
    ),
    "link out": (
        evil("a/l", tarfile.SYMTYPE, linkname="../../x"),
        "a/l: a symbolic link to ../../x, which leads out of the archive",
    ),
    "hard": (evil("h", tarfile.LNKTYPE, linkname="/etc/passwd"), "h: a hard link to /etc/passwd, an absolute path"),
    "device": (evil("sda", tarfile.BLKTYPE, devmajor=8), "sda: a device node (block device 8:0)"),
    "pipe": (evil("p", tarfile.FIFOTYPE), "p: a named pipe"),
    "huge": (evil("f", size=1 << 50)[:2048], "f: the archive has more than"),
    "broken": (evil("f")[:512] + b"x" * 512, "after good: the tar archive is broken: "),
}


@pytest.mark.parametrize("case", OUTER)
async def test_archives_that_are_refused(tmp_path, case):
    path = tmp_path / "image.tar"
    data, why = OUTER[case]
    path.write_bytes(data)
    async with Node(tmp_path / "store") as node:
        with pytest.raises(ImageError) as error:
            await node.images.load(str(path))
        assert error.value.message.startswith(f"the archive is refused: {why}") and "\n" not in error.value.message


async def test_a_compressed_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_RATIO_FROM", 1 << 20)
    path = tmp_path / "image.tar"
    layer = Layer()
    layer.file("zeros", bytes(4 << 20))
    BuiltImage([layer.tar()], {}).write_docker_archive(str(path), "app:1")
    squeeze(path)
    async with Node(tmp_path / "store") as node:
        with pytest.raises(ImageError, match=r"layer\.tar: the archive unpacks to more than 200 times its size$"):
            await node.images.load(str(path))


LAYERS = {
    "../x": (evil("../x"), "../x: a path that leads out of the layer"),
    "dev/sda": (evil("dev/sda", tarfile.BLKTYPE, devmajor=8), "dev/sda: a device node (block device 8:0)"),
    "h": (
        evil("h", tarfile.LNKTYPE, linkname="../../out"),
        "h: a hard link to ../../out, which leads out of the layer",
    ),
}


@pytest.mark.parametrize("case", LAYERS)
async def test_of_an_image_with_a_layer_that_is_refused_nothing_stays(registry, tmp_path, case):
    """Neither of one that was loaded nor of one that was pulled; and the message names the entry."""
    data, why = LAYERS[case]
    good = small("good")
    image = BuiltImage([*good.layers, data], {})
    path = str(tmp_path / "image.tar")
    image.write_docker_archive(path, "app:1")
    image.packed().push(registry, "refused", "1")
    async with Node(tmp_path / "store") as node:
        for attempt in (node.images.load(path), node.ensure(f"{host(registry)}/refused:1")):
            with pytest.raises(ImageError) as error:
                await attempt
            assert f"failed to extract layer {digest(data)}: {why}" in error.value.message
            await asyncio.gather(*node.images._running.values(), return_exceptions=True)  # the other layer's pull
            assert not (tmp_path / "x").exists() and os.listdir(node.images.store._scratch) == []
            assert node.images.store.names() == [] and not node.images.store.has_layer(digest(data))
        removal.sweep(node.images.store, time.time() + 3601)  # what was pulled well stays for the next attempt
        assert os.listdir(tmp_path / "store/layers") == []
        good.write_docker_archive(path, "app:1")
        await node.images.load(path)
        image.write_docker_archive(path, "app:2")
        with pytest.raises(ImageError):
            await node.images.load(path)
        assert len(os.listdir(tmp_path / "store/layers")) == 1  # another image has it
