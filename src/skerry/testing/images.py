"""Builds small, real container images out of this machine's own files, without Docker and without internet.

Used by `make up` and by tests: a busybox (Debian's busybox-static) and an nginx (Debian's nginx-light with its
libraries). They can be written as archives (`skerry load`) or pushed to a registry. Standard library only (zstd
came into it with 3.14); the same files give the same digests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import IO, Any, Literal
from urllib.parse import urlsplit

Compression = Literal["gzip", "zstd", "none"]
Flavour = Literal["oci", "docker"]

_TYPES: dict[Flavour, dict[str, str]] = {
    "oci": {
        "manifest": "application/vnd.oci.image.manifest.v1+json",
        "index": "application/vnd.oci.image.index.v1+json",
        "config": "application/vnd.oci.image.config.v1+json",
        "none": "application/vnd.oci.image.layer.v1.tar",
        "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
        "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    },
    "docker": {
        "manifest": "application/vnd.docker.distribution.manifest.v2+json",
        "index": "application/vnd.docker.distribution.manifest.list.v2+json",
        "config": "application/vnd.docker.container.image.v1+json",
        "none": "application/vnd.docker.image.rootfs.diff.tar",
        "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
    },
}
_CREATED = "2026-01-01T00:00:00Z"
_MOMENT = 1_767_225_600


class MissingToolError(RuntimeError):
    """This machine lacks a program that an image is made of; the text names the package."""


@dataclass
class Layer:
    """One layer's tar archive in the making."""

    buffer: io.BytesIO = field(default_factory=io.BytesIO)

    def __post_init__(self) -> None:
        self._tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._folders: set[str] = set()

    def folder(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """A directory, with those above it."""
        if path and path not in self._folders:
            above = path.rpartition("/")[0]
            self.folder(above)
            self._folders.add(path)
            self._add(path, tarfile.DIRTYPE, mode, uid=uid, gid=gid)

    def file(self, path: str, content: bytes | str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """A file."""
        self.folder(path.rpartition("/")[0])
        data = content.encode() if isinstance(content, str) else content
        self._add(path, tarfile.REGTYPE, mode, data=data, uid=uid, gid=gid)

    def link(self, path: str, target: str, *, hard: bool = False) -> None:
        """A symbolic link to `target`, or a hard link to the file `target` of this layer."""
        self.folder(path.rpartition("/")[0])
        self._add(path, tarfile.LNKTYPE if hard else tarfile.SYMTYPE, 0o777, target=target)

    def hide(self, path: str) -> None:
        """Removes what a lower layer has there."""
        folder, _, name = path.rpartition("/")
        self.file(f"{folder}/.wh.{name}" if folder else f".wh.{name}", b"")

    def copy(self, path: str) -> None:
        """A program or library of this machine, at its place, links resolved to what they mean."""
        folder, name = os.path.split(path)
        with open(path, "rb") as file:
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            self.file(os.path.realpath(folder).lstrip("/") + "/" + name, file.read(), mode)

    def tar(self) -> bytes:
        """The finished archive."""
        self._tar.close()
        return self.buffer.getvalue()

    def _add(
        self, path: str, kind: bytes, mode: int, *, data: bytes = b"", target: str = "", uid: int = 0, gid: int = 0
    ) -> None:
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.linkname, member.size = kind, mode, target, len(data)
        member.uid, member.gid, member.mtime = uid, gid, _MOMENT
        self._tar.addfile(member, io.BytesIO(data))


@dataclass(frozen=True)
class BuiltImage:
    """An image in memory: its layers as tar archives (lowest first) and its configuration's `config` part."""

    layers: list[bytes]
    settings: dict[str, Any]
    architecture: str = ""

    def config(self) -> bytes:
        """The configuration document; its digest is the image's id."""
        machine = os.uname().machine
        names = {"x86_64": "amd64", "aarch64": "arm64"}
        document = {
            "architecture": self.architecture or names.get(machine, machine),
            "config": self.settings,
            "created": _CREATED,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]},
        }
        return json.dumps(document, sort_keys=True).encode()

    @property
    def id(self) -> str:
        """The digest of the configuration."""
        return digest(self.config())

    def packed(self, flavour: Flavour = "docker", compression: Compression = "gzip") -> Packed:
        """The image as a registry keeps it."""
        types = _TYPES[flavour]
        config = self.config()
        layers = [compress(layer, compression) for layer in self.layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": types["manifest"],
            "config": describe(config, types["config"]),
            "layers": [describe(layer, types[compression]) for layer in layers],
        }
        raw = json.dumps(manifest, sort_keys=True).encode()
        return Packed(raw, types["manifest"], {digest(blob): blob for blob in [config, *layers]})

    def write_docker_archive(self, path: str, *names: str) -> None:
        """What `docker save NAMES` writes."""
        config, layers = self.config(), [digest(layer)[7:] + "/layer.tar" for layer in self.layers]
        place = digest(config)[7:] + ".json"
        entry = {"Config": place, "RepoTags": list(names), "Layers": layers}
        files = {"manifest.json": json.dumps([entry]).encode(), place: config}
        _write_tar(path, files | dict(zip(layers, self.layers, strict=True)))

    def write_oci_archive(self, path: str, name: str, compression: Compression = "gzip") -> None:
        """An OCI layout in a tar file."""
        packed = self.packed("oci", compression)
        entry = describe(packed.manifest, packed.media_type)
        index = {"schemaVersion": 2, "manifests": [entry | {"annotations": {"io.containerd.image.name": name}}]}
        files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
        blobs = packed.blobs | {digest(packed.manifest): packed.manifest}
        _write_tar(path, files | {"blobs/" + name.replace(":", "/"): blob for name, blob in blobs.items()})


@dataclass(frozen=True)
class Packed:
    """A manifest and the blobs it names, by digest."""

    manifest: bytes
    media_type: str
    blobs: dict[str, bytes]

    @property
    def digest(self) -> str:
        """The manifest's."""
        return digest(self.manifest)

    def push(self, registry: str, repository: str, *tags: str) -> str:
        """Puts the image into a registry (`http://127.0.0.1:5000`) under these tags; the manifest's digest."""
        for name, blob in self.blobs.items():
            _push_blob(registry, repository, name, blob)
        for tag in tags or (self.digest,):
            url = f"{registry}/v2/{repository}/manifests/{tag}"
            _request("PUT", url, self.manifest, {"Content-Type": self.media_type})
        return self.digest


def manifest_list(images: dict[str, Packed], flavour: Flavour = "docker") -> Packed:
    """A list of images by architecture; push each of them first (without tags)."""
    entries = [
        describe(image.manifest, image.media_type) | {"platform": {"os": "linux", "architecture": architecture}}
        for architecture, image in images.items()
    ]
    kind = _TYPES[flavour]["index"]
    return Packed(json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode(), kind, {})


def busybox() -> BuiltImage:
    """A shell and the usual small programs. CMD sh."""
    return BuiltImage([_base_layer()], {"Cmd": ["sh"], "Env": [_PATH]})


def nginx(version: str = "1.25.0") -> BuiltImage:
    """A web server on port 80 that says "Welcome to nginx!", with a shell beside it.

    `version` only makes a difference between images; the program is this machine's. GET /hostname names the pod.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        raise MissingToolError("there is no nginx on this machine: apt-get install nginx-light")
    layer = Layer()
    for path in [program, *libraries(program)]:
        layer.copy(path)
    layer.file("etc/nginx/nginx.conf", _NGINX_CONF)
    layer.file("etc/nginx/conf.d/default.conf", _NGINX_SITE)
    if os.path.exists("/etc/nginx/mime.types"):
        layer.copy("/etc/nginx/mime.types")
    else:
        layer.file("etc/nginx/mime.types", "types { text/html html; text/css css; application/javascript js; }\n")
    for path in ("var/lib/nginx", "var/cache/nginx", "etc/nginx/conf.d"):
        layer.folder(path)
    layer.link("var/log/nginx/access.log", "/dev/stdout")
    layer.link("var/log/nginx/error.log", "/dev/stderr")
    page = Layer()
    page.file("usr/share/nginx/html/index.html", _PAGE)
    page.file("usr/share/nginx/html/50x.html", "<!DOCTYPE html>\n<title>Error</title>\n<p>An error occurred.</p>\n")
    settings = {
        "Cmd": ["nginx", "-g", "daemon off;"],
        "Env": [_PATH, f"NGINX_VERSION={version}"],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
    }
    return BuiltImage([_base_layer(), layer.tar(), page.tar()], settings)


def libraries(program: str) -> list[str]:
    """The shared libraries of a program, the loader too, as ldd finds them."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return sorted(set(re.findall(r"(/\S+) \(0x", text)))


def digest(data: bytes) -> str:
    """`sha256:...`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def describe(data: bytes, media_type: str) -> dict[str, Any]:
    """A descriptor of some bytes."""
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def compress(data: bytes, how: Compression) -> bytes:
    """The bytes, compressed."""
    if how == "gzip":
        return gzip.compress(data, compresslevel=1, mtime=0)
    if how == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd  # not needed by who never asks for it
        else:
            from backports import zstd

        return zstd.compress(data, level=3)
    return data


def _base_layer() -> bytes:
    program = next((path for path in ("/usr/bin/busybox", "/bin/busybox") if os.path.exists(path)), None)
    if program is None:
        raise MissingToolError("there is no busybox on this machine: apt-get install busybox-static")
    layer = Layer()
    for folder in (
        "etc",
        "home",
        "proc",
        "run",
        "sys",
        "dev",
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "var/log",
    ):
        layer.folder(folder)
    layer.folder("root", 0o700)
    layer.folder("tmp", 0o1777)
    layer.folder("var/tmp", 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        layer.link(name, "usr/" + name)
    layer.link("var/run", "/run")
    with open(program, "rb") as file:
        layer.file("usr/bin/busybox", file.read(), 0o755)
    for path in libraries(program):  # none for busybox-static
        layer.copy(path)
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    for name in sorted(set(listed.split()) - {"busybox"}):
        layer.link(f"usr/bin/{name}", "busybox", hard=False)
    layer.file("etc/passwd", _PASSWD)
    layer.file("etc/group", _GROUP)
    layer.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    return layer.tar()


def _write_tar(path: str, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), _MOMENT
            tar.addfile(member, io.BytesIO(data))


def _push_blob(registry: str, repository: str, name: str, blob: bytes) -> None:
    try:
        _request("HEAD", f"{registry}/v2/{repository}/blobs/{name}")
        return
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
    place = _request("POST", f"{registry}/v2/{repository}/blobs/uploads/", b"").headers["Location"]
    place = place if urlsplit(place).scheme else registry + place
    _request(
        "PUT", f"{place}{'&' if '?' in place else '?'}digest={name}", blob, {"Content-Type": "application/octet-stream"}
    )


def _request(method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, data, headers or {}, method=method)  # noqa: S310 - the caller's own registry
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    response: IO[bytes] = opener.open(request, timeout=30)
    with response:
        response.read()
    return response


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n"
_NGINX_CONF = """\
user www-data;
worker_processes auto;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log notice;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /var/log/nginx/access.log combined;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SITE = """\
server {
    listen 80;
    server_name localhost;

    location / {
        root /usr/share/nginx/html;
        index index.html;
    }

    location = /hostname {
        default_type text/plain;
        return 200 "$hostname\\n";
    }

    error_page 500 502 503 504 /50x.html;
    location = /50x.html {
        root /usr/share/nginx/html;
    }
}
"""
_PAGE = """\
<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page comes from a pod. Its image was built from the files of this machine.</p>
</body>
</html>
"""
