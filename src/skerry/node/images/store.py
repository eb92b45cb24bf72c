"""Images on disk: unpacked layers by the digest of their content, and which names mean which image.

Used by the image manager of every node of the machine at the same time: all that several processes may touch is made
aside and renamed into place, and a lock file keeps two of them from unpacking one layer. A process that was killed
leaves only its own scratch directory, which the next one to start removes.

    blobs/<sha256>        configurations, as they came
    layers/<sha256, 32>/  fs (what overlayfs mounts; short, since mount options are), meta.json
    refs/<hash>.json      a name and the image it means
    locks/, tmp/
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from skerry.node.images import manifest, mend, unpack
from skerry.node.images.errors import ImageError, pull_failed
from skerry.node.images.manifest import ImageConfig
from skerry.node.images.streams import Readable, UnpackError

if TYPE_CHECKING:
    from skerry.node.images.reference import Reference

_LOCK_POLL = 0.02  # seconds; only where another node's process unpacks the same layer right now


@dataclass(frozen=True, slots=True)
class Record:
    """What a name means. `digest`: of the manifest (or list) it named in its registry, "" for one that was loaded."""

    key: str
    name: str  # registry and repository
    digest: str
    config: str  # the image's id
    layers: list[str]  # diff ids (and layers that mend others), lowest first
    size: int  # bytes, as transferred
    digests: list[str] = field(default_factory=list)  # every digest by which the registry knows it
    loaded: bool = False  # put here by hand (`skerry load`)
    access: list[str] = field(default_factory=list)  # who may use it (see keyring.mark); empty: everybody


class Named(NamedTuple):
    """A name in the store: its record, the file that holds it, and when it was last put there or used."""

    record: Record
    path: str
    used: float


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is ready to run. `layers`: directories, the lowest first."""

    id: str  # "sha256:...", of the configuration
    reference: str  # "docker.io/library/nginx:1.14.2"
    digest: str  # "docker.io/library/nginx@sha256:..."; the id for a loaded one: what a pod's imageID shows
    layers: list[str]
    config: ImageConfig
    size: int


class Store:
    """The directory `root`; made if missing."""

    def __init__(self, root: str) -> None:
        """Also removes what killed processes left."""
        self.root = os.path.abspath(root)
        for name in ("blobs", "layers", "refs", "locks", "tmp"):
            os.makedirs(os.path.join(self.root, name), mode=0o755, exist_ok=True)
        self._scratch, self._held = self._claim_scratch()
        self._clean_up()

    def close(self) -> None:
        """Removes this process's scratch directory."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        os.close(self._held)

    @property
    def nothing(self) -> str:
        """The layer of images that have none."""
        return os.path.join(self.root, "layers", "empty", "fs")

    # Images

    def find(self, reference: Reference) -> tuple[Record, Image] | None:
        """What the name means here, if its layers are all there."""
        record = self._read_record(reference.key)
        if record is None:
            return None
        try:
            raw = self._read(self._blob(record.config))
            config, _ = manifest.read_config(raw)
        except (OSError, ImageError):
            return None
        if not all(map(self.has_layer, record.layers)):
            return None
        return record, self._image(str(reference), record, config)

    def find_digest(self, reference: Reference, digest: str) -> tuple[Record, Image] | None:
        """The same if it is still the image of this digest."""
        found = self.find(reference)
        return found if found is not None and digest in found[0].digests else None

    def put(self, reference: Reference, record: Record, raw_config: bytes) -> Image:
        """Makes the name, and its name by digest, mean this image, whose layers must be there."""
        config, _ = manifest.read_config(raw_config)
        record = replace(record, layers=self._mended(record.layers))
        self._write(self._blob(record.config), raw_config)
        keys = [reference.key, *(f"{reference.name}@{digest}" for digest in record.digests)]
        for key in dict.fromkeys(keys):
            self._write(self._ref(key), json.dumps(asdict(record) | {"key": key}).encode())
        return self._image(str(reference), record, config)

    def config(self, record: Record) -> bytes:
        """The configuration of an image that is here, as it came. OSError."""
        return self._read(self._blob(record.config))

    def names(self) -> list[Named]:
        """Every name there is, sorted."""
        found = []
        for entry in os.scandir(os.path.join(self.root, "refs")):
            with contextlib.suppress(FileNotFoundError):  # another node removes it right now
                record = _parse_record(self._read(entry.path)) if entry.name.endswith(".json") else None
                if record is not None:
                    found.append(Named(record, entry.path, entry.stat().st_mtime))
        return sorted(found, key=lambda one: one.record.key)

    def used(self, key: str) -> None:
        """Remembers that somebody asks for or uses the image of this name just now. Of an unknown name: nothing."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._ref(key))

    # Layers

    def has_layer(self, diff_id: str) -> bool:
        """Whether a layer is there, whole: only whole ones are ever renamed into place."""
        return os.path.isdir(self.layer(diff_id))

    def layer(self, diff_id: str) -> str:
        """The directory that holds (or will hold) a layer's files."""
        return os.path.join(self.root, "layers", _short(diff_id), "fs")

    def add_layer(self, diff_id: str, source: Readable, limits: unpack.Limits | None = None) -> None:
        """Unpacks a layer into place. Blocking, for a thread; the caller holds its lock. ImageError if it is wrong."""
        if self.has_layer(diff_id):
            return
        place = os.path.join(self._scratch, "layer-" + secrets.token_hex(8))
        os.makedirs(os.path.join(place, "fs"))
        try:
            result = unpack.unpack(source, os.path.join(place, "fs"), limits=limits)
            if result.diff_id != diff_id:
                raise UnpackError(
                    f"its unpacked content has digest {result.diff_id}, not the one in the image's config"
                )
            meta = {"diffId": diff_id, "size": result.size, "entries": result.entries, "implicit": result.implicit}
            with open(os.path.join(place, "meta.json"), "w", encoding="utf-8") as file:
                json.dump(meta, file)
            home = os.path.dirname(self.layer(diff_id))
            shutil.rmtree(home, ignore_errors=True)  # what somebody removed only half of
            os.rename(place, home)
        except UnpackError as error:
            raise pull_failed(f"failed to extract layer {diff_id}: {error}") from None
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def meta(self, diff_id: str) -> str:
        """The file that says what is known of a layer."""
        return os.path.join(self.root, "layers", _short(diff_id), "meta.json")

    def remove_layer(self, short: str) -> None:
        """Removes a layer by the name of its directory, unless somebody is just getting it. Blocking."""
        fd = os.open(os.path.join(self.root, "locks", short), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        aside = os.path.join(self._scratch, "gone-" + secrets.token_hex(8))
        try:
            if _try_lock(fd):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(os.path.join(self.root, "layers", short), aside)
        finally:
            os.close(fd)
            shutil.rmtree(aside, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def locked(self, diff_id: str) -> AsyncIterator[None]:
        """Only one process at a time gets and unpacks a layer; whoever comes second will find it there."""
        fd = os.open(os.path.join(self.root, "locks", _short(diff_id)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not _try_lock(fd):  # noqa: ASYNC110 - another process's lock gives no event
                await asyncio.sleep(_LOCK_POLL)
            yield
        finally:
            os.close(fd)

    def scratch_file(self) -> str:
        """A path for a download; whoever asks removes it."""
        return os.path.join(self._scratch, "blob-" + secrets.token_hex(8))

    # Pieces

    def _mended(self, layers: list[str]) -> list[str]:
        """The layers, with one of mere directories above each that describes its directories badly (see mend)."""
        stack: list[str] = []
        for diff_id in layers:
            below = [self.layer(one) for one in stack]
            stack.append(diff_id)
            implicit = json.loads(self._read(self.meta(diff_id)))["implicit"]
            folders = mend.needed(self.layer(diff_id), implicit, below) if implicit else []
            if folders:
                text = json.dumps([asdict(folder) for folder in folders])
                name = manifest.digest_of(text.encode())
                self._add_folders(name, folders)
                stack.append(name)
        return stack

    def _add_folders(self, name: str, folders: list[mend.Folder]) -> None:
        if self.has_layer(name):
            return
        place = os.path.join(self._scratch, "folders-" + secrets.token_hex(8))
        os.makedirs(os.path.join(place, "fs"))
        try:
            mend.make(folders, os.path.join(place, "fs"), keep_owners=unpack.keeps_owners())
            self._write(os.path.join(place, "meta.json"), json.dumps({"diffId": name, "implicit": []}).encode())
            os.rename(place, os.path.dirname(self.layer(name)))
        except OSError as error:
            if not self.has_layer(name):  # else another node was quicker
                raise pull_failed(f"the image store: {error.strerror or error}") from None
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _image(self, reference: str, record: Record, config: ImageConfig) -> Image:
        # Overlayfs refuses a directory twice; of a layer that an image repeats, the upper one hides the lower wholly.
        layers = list(dict.fromkeys(reversed(record.layers)))[::-1]
        paths = [self.layer(diff_id) for diff_id in layers]
        if not paths:
            paths = [self.nothing]
            os.makedirs(paths[0], exist_ok=True)
        digest = f"{record.name}@{record.digest}" if record.digest else record.config
        return Image(record.config, reference, digest, paths, config, record.size)

    def _blob(self, digest: str) -> str:
        return os.path.join(self.root, "blobs", digest.removeprefix("sha256:"))

    def _ref(self, key: str) -> str:
        return os.path.join(self.root, "refs", hashlib.sha256(key.encode()).hexdigest()[:32] + ".json")

    def _read_record(self, key: str) -> Record | None:
        try:
            record = _parse_record(self._read(self._ref(key)))
        except OSError:
            return None
        return record if record is not None and record.key == key else None

    @staticmethod
    def _read(path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def _write(self, path: str, data: bytes) -> None:
        aside = os.path.join(self._scratch, "file-" + secrets.token_hex(8))
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)

    def _claim_scratch(self) -> tuple[str, int]:
        """A new directory under tmp/ with a lock on it that lives as long as this process."""
        while True:
            path = os.path.join(self.root, "tmp", secrets.token_hex(8))
            os.mkdir(path, 0o700)
            # Before it is locked, another node's cleaning-up may come between, and take it away.
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            if _try_lock(fd) and os.path.isdir(path):
                return path, fd
            os.close(fd)

    def _clean_up(self) -> None:
        for entry in os.scandir(os.path.join(self.root, "tmp")):
            with contextlib.suppress(OSError):
                fd = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    if _try_lock(fd):  # nobody lives who holds it
                        shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(fd)


def _short(diff_id: str) -> str:
    """128 bits of the digest: enough against anybody, short enough for a hundred of them in one mount's options."""
    return diff_id.removeprefix("sha256:")[:32]


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse_record(data: bytes) -> Record | None:
    """None for a file that a crash of the machine left half written."""
    try:
        return Record(**json.loads(data))
    except (ValueError, TypeError):
        return None
