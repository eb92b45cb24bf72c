"""Unpacked layers, mounted by the kernel inside user namespaces: what a container will see of its image."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from pathlib import Path

import pytest
from tests.integration.images import mapped

from skerry import linux
from skerry.node.images import reference
from skerry.node.images.store import Record, Store
from skerry.testing.images import BuiltImage, Layer, busybox, digest, nginx

MODES = ["root", "user", "single"]


def lower():
    layer = Layer()
    layer.folder("kept", 0o755)
    layer.file("kept/file", "old")
    layer.file("gone/file", "old")
    layer.file("merged/gone", "old")
    layer.file("merged/kept", "old")
    layer.file("opaque/old", "old")
    layer.file("dir-to-file/x", "old")
    layer.file("file-to-dir", "old")
    layer.file("again", "old")
    layer.folder("srv", 0o2775, uid=33, gid=34)
    layer.file("srv/page", "x", 0o640, uid=33, gid=34)
    layer.file("usr/bin/su", "x", 0o4755)
    return layer.tar()


def upper():
    layer = Layer()
    layer.hide("gone")
    layer.hide("merged/gone")
    layer.file("opaque/.wh..wh..opq", "")
    layer.file("opaque/new", "new")
    layer.file("dir-to-file", "new")
    layer.file("file-to-dir/x", "new")
    layer.hide("again")
    return layer.tar()


def third():
    layer = Layer()
    layer.file("again", "new")
    return layer.tar()


def mounted(store, layers, place):
    """An overlay of the layers (lowest first) as the runtime mounts it; its path."""
    upperdir, work, root = (os.path.join(place, name) for name in ("upper", "work", "root"))
    for path in (upperdir, work, root):
        os.mkdir(path)
    lowers = ":".join(store.layer(digest(layer)) for layer in reversed(layers))
    linux.mount("overlay", root, "overlay", 0, f"userxattr,lowerdir={lowers},upperdir={upperdir},workdir={work}")
    return root


def stack(place, layers):
    store = Store(os.path.join(place, "images"))
    for layer in layers:
        store.add_layer(digest(layer), io.BytesIO(layer))
    return store, mounted(store, layers, place)


def look(place):
    _, root = stack(place, [lower(), upper(), third()])
    tree = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            text = Path(path).read_text() if stat.S_ISREG(info.st_mode) else ""
            tree[os.path.relpath(path, root)] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, text)
    os.unlink(root + "/kept/file")  # and it can be written to
    os.mkdir(root + "/kept/file")
    assert os.listdir(root + "/kept") == ["file"]
    linux.unmount(root)
    return tree


@pytest.mark.parametrize("mode", MODES)
def test_whiteouts_opaque_directories_and_owners(mode):
    with mapped.directory(mode) as place:
        tree = mapped.run(mode, look, place)
    www = (0, 0) if mode == "single" else (33, 34)
    assert {path: entry[3] for path, entry in tree.items() if entry[3]} == {
        "kept/file": "old",
        "merged/kept": "old",
        "opaque/new": "new",
        "dir-to-file": "new",
        "file-to-dir/x": "new",
        "again": "new",
        "srv/page": "x",
        "usr/bin/su": "x",
    }
    assert "gone" not in tree
    assert tree["srv"] == ("drwxrwsr-x", *www, "") and tree["srv/page"] == ("-rw-r-----", *www, "x")
    assert tree["usr/bin/su"][0] == "-rwsr-xr-x"


def programs(place, images):
    outputs = []
    for number, image in enumerate(images):
        sub = os.path.join(place, str(number))
        os.mkdir(sub)
        _, root = stack(sub, image.layers)
        command = "id -un; readlink /lib; " + (
            "nginx -v 2>&1; cat /usr/share/nginx/html/index.html" if number else "true"
        )
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            preexec_fn=lambda root=root: os.chroot(root),
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
        linux.unmount(root)
    return outputs


@pytest.mark.parametrize("mode", MODES)
def test_the_built_images_run(mode):
    images = [busybox(), nginx()]
    with mapped.directory(mode) as place:
        shell, web = mapped.run(mode, programs, place, images)
    assert shell == "root\nusr/lib\n"
    assert "nginx version: nginx/" in web and "<title>Welcome to nginx!</title>" in web


def sloppy(place):
    proper, careless = Layer(), Layer()
    proper.folder("tmp", 0o1777)
    proper.folder("srv/www", 0o750, uid=33, gid=34)
    for path in ("tmp/x", "srv/www/deep/x", "own/x"):
        careless._add(path, b"0", 0o644, data=b"x")  # without entries for the directories
    layers = [proper.tar(), careless.tar()]
    store = Store(os.path.join(place, "images"))
    for layer in layers:
        store.add_layer(digest(layer), io.BytesIO(layer))
    image = BuiltImage(layers, {})
    ids = [digest(layer) for layer in layers]
    wanted = reference.parse("a")
    found = store.put(wanted, Record(wanted.key, wanted.name, "", image.id, ids, 0), image.config())
    assert store.find(wanted)[1] == found
    tops = [os.path.join(place, name) for name in ("upper", "work", "root")]
    for path in tops:
        os.mkdir(path)
    options = f"userxattr,lowerdir={':'.join(reversed(found.layers))},upperdir={tops[0]},workdir={tops[1]}"
    linux.mount("overlay", tops[2], "overlay", 0, options)
    infos = {path: os.stat(os.path.join(tops[2], path)) for path in ("tmp", "srv", "srv/www", "srv/www/deep", "own")}
    assert Path(tops[2], "srv/www/deep/x").read_text() == "x"
    linux.unmount(tops[2])
    return {path: (stat.filemode(info.st_mode), info.st_uid, info.st_gid) for path, info in infos.items()}


@pytest.mark.parametrize("mode", MODES)
def test_directories_that_a_layer_does_not_describe_stay_as_they_were(mode):
    with mapped.directory(mode) as place:
        found = mapped.run(mode, sloppy, place)
    www = (0, 0) if mode == "single" else (33, 34)
    assert found == {
        "tmp": ("drwxrwxrwt", 0, 0),
        "srv": ("drwxr-xr-x", 0, 0),
        "srv/www": ("drwxr-x---", *www),
        "srv/www/deep": ("drwxr-xr-x", 0, 0),
        "own": ("drwxr-xr-x", 0, 0),
    }


def unmapped(place):
    layer = Layer()
    layer.file("f", "x", uid=70_000, gid=0)
    try:
        stack(place, [layer.tar()])
    except Exception as error:  # noqa: BLE001 - its text is what is tested
        return str(error)
    return ""


def test_a_user_without_a_place_in_the_map_is_said():
    with mapped.directory("user") as place:
        assert "/etc/subuid gives too few ids" in mapped.run("user", unmapped, place)
    with mapped.directory("single") as place:
        assert mapped.run("single", unmapped, place) == ""


def many(place):
    layers = []
    for number in range(40):
        layer = Layer()
        layer.file(f"f{number}", str(number))
        layers.append(layer.tar())
    store, root = stack(place, layers)
    found = len(os.listdir(root))
    linux.unmount(root)
    return found, len(":".join(store.layer(digest(layer)) for layer in layers))


def test_forty_layers_fit_into_one_mount():
    """Mount options have one page, 4096 bytes: the names of layers must be short."""
    with mapped.directory("user") as place:
        found, size = mapped.run("user", many, place)
    assert found == 40 and size < 4096, size
