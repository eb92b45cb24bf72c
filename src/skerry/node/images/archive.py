"""Reads what `skerry load` is given: the tar files of `docker save`, `podman save`, `skopeo copy ... oci-archive:`.

Two layouts: Docker's (manifest.json names configs, tags and layers) and OCI's (index.json leads to blobs by digest);
newer `docker save` writes both into one file. Used by the image manager, in its threads. Every layer is checked later,
against the digest in the image's config.
"""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
import zlib
from dataclasses import dataclass
from typing import IO, Any

from skerry.node.images import manifest
from skerry.node.images.errors import pull_failed
from skerry.node.images.headers import Header, device, shown
from skerry.node.images.manifest import Descriptor
from skerry.node.images.streams import UnpackError

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_LINKS = 8
_MOST_ENTRIES = 100_000
_MOST_BYTES = 256 << 30
_RATIO, _RATIO_FROM = 200, 1 << 30


@dataclass(frozen=True, slots=True)
class Found:
    """An image of an archive. `layers`: the members that hold them, lowest first; `size`: of all that, in bytes."""

    names: list[str]
    config: bytes
    layers: list[str]
    size: int


class Archive:
    """An archive, itself perhaps compressed by gzip. One reader at a time. `close` leaves the given file open."""

    def __init__(self, file: IO[bytes]) -> None:
        self._size = os.fstat(file.fileno()).st_size
        try:
            self._tar = tarfile.open(fileobj=file, mode="r:*", tarinfo=Header)  # noqa: SIM115 - closed by close
        except (tarfile.TarError, OSError, EOFError, UnpackError, zlib.error) as error:
            raise pull_failed(f"this is no archive of an image: {error}") from None

    def close(self) -> None:
        """No more reading."""
        self._tar.close()

    def images(self) -> list[Found]:
        """The images inside. ImageError when there are none, or without a name."""
        try:
            self._members = members = self._read_headers()
            if "manifest.json" in members:
                found = self._docker()
            elif "index.json" in members:
                found = self._oci()
            else:
                raise pull_failed("this is no archive of an image: neither manifest.json nor index.json in it")
        except KeyError as error:
            raise pull_failed(f"the archive is broken: it has no {shown(str(error.args[0]))}") from None
        except (tarfile.TarError, OSError, EOFError, ValueError, TypeError, AttributeError) as error:
            raise pull_failed(f"the archive is broken: {type(error).__name__}: {error}") from None
        except (RecursionError, zlib.error) as error:
            raise pull_failed(f"the archive is broken: {error}") from None
        if not found:
            raise pull_failed("the archive has no image with a name (docker save NAME:TAG gives one)")
        return found

    def _read_headers(self) -> dict[str, tarfile.TarInfo]:
        """Every entry by its name. ImageError for what has no place in an image's archive."""
        members: dict[str, tarfile.TarInfo] = {}
        last, size = "", 0
        while True:
            try:
                member = self._tar.next()
            except UnpackError as error:
                raise pull_failed(
                    f"the archive is refused: {f'after {shown(last)}: ' if last else ''}{error}"
                ) from None
            if member is None:
                return members
            last, size = member.name, size + member.size
            problem = _problem(member, len(members), size, self._size)
            if problem:
                raise pull_failed(f"the archive is refused: {shown(member.name)}: {problem}")
            members[_clean(member.name)] = member

    def open(self, name: str) -> IO[bytes]:
        """A member's content."""
        member = self._members[name]
        for _ in range(_LINKS):  # older `docker save` links layers that are the same
            if not (member.issym() or member.islnk()):
                break
            target = member.linkname
            name = _clean(posixpath.join(posixpath.dirname(name), target) if member.issym() else target)
            member = self._members[name]
        content = self._tar.extractfile(member)
        if content is None:
            raise pull_failed(f"the archive is broken: {name} is no file")
        return content

    def _docker(self) -> list[Found]:
        entries = json.loads(self._document("manifest.json"))
        found = []
        for entry in entries:
            if not entry.get("RepoTags"):
                continue
            layers = [_clean(name) for name in entry["Layers"]]
            config = self._document(_clean(entry["Config"]))
            size = len(config) + sum(self._members[name].size for name in layers)
            found.append(Found(list(entry["RepoTags"]), config, layers, size))
        return found

    def _oci(self) -> list[Found]:
        index = manifest.read_json(self._document("index.json"), "index.json")
        found = []
        for entry in index["manifests"]:
            notes = entry.get("annotations") or {}
            names = [notes[key] for key in _NAMES if isinstance(notes.get(key), str)]
            if not names:  # other platforms, signatures
                continue
            kind, digest = str(entry.get("mediaType") or ""), str(entry["digest"])
            chosen: Any = Descriptor(digest, 0, kind)
            while isinstance(chosen, Descriptor):
                chosen = manifest.read_manifest(self._blob(chosen.digest), chosen.media_type)
            layers = [_blob_path(layer.digest) for layer in chosen.layers]
            size = chosen.config.size + sum(layer.size for layer in chosen.layers)
            found.append(Found(names[:1], self._blob(chosen.config.digest), layers, size))
        return found

    def _blob(self, digest: str) -> bytes:
        data = self._document(_blob_path(digest))
        if manifest.digest_of(data) != digest:
            raise pull_failed(f"the archive is broken: {digest} is not what its name says")
        return data

    def _document(self, name: str) -> bytes:
        with self.open(name) as file:
            data = file.read(manifest.MAX_DOCUMENT + 1)
        if len(data) > manifest.MAX_DOCUMENT:
            raise pull_failed(f"the archive is broken: {name} is too large")
        return data


def _problem(member: tarfile.TarInfo, entries: int, size: int, packed: int) -> str:
    """Why an entry is refused, "" if it is not. `size`: of the contents so far, `packed`: of the whole file."""
    if ".." in member.name.split("/"):
        return "a path that leads out of the archive"
    if member.issym() or member.islnk():
        kind = "a symbolic link" if member.issym() else "a hard link"
        target = posixpath.join(posixpath.dirname(member.name), member.linkname) if member.issym() else member.linkname
        if posixpath.isabs(member.linkname):
            return f"{kind} to {shown(member.linkname)}, an absolute path"
        if posixpath.normpath(target).split("/")[0] == "..":
            return f"{kind} to {shown(member.linkname)}, which leads out of the archive"
    elif member.ischr() or member.isblk():
        return f"a device node ({device(member)})"
    elif member.isfifo():
        return "a named pipe"
    if entries >= _MOST_ENTRIES:
        return f"the archive has more than {_MOST_ENTRIES} entries"
    if size > _MOST_BYTES:
        return f"the archive has more than {_MOST_BYTES} bytes unpacked"
    if size > _RATIO_FROM and size > _RATIO * packed:
        return f"the archive unpacks to more than {_RATIO} times its size"
    return ""


def _clean(name: str) -> str:
    return posixpath.normpath(name).removeprefix("./").lstrip("/")


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/", 1)
