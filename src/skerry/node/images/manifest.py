"""The documents that describe an image: manifests, lists of manifests, configurations. Pure; Docker's and OCI's forms.

Used by the registry client and by `skerry load`. Documents come from strangers: whatever is wrong with one ends as
an ImageError that says so.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skerry.node.images.errors import pull_failed

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST))

MAX_DOCUMENT = 8 << 20  # bytes of one document; honest ones have some kilobytes
MAX_LAYERS = 500  # overlayfs takes no more

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CONFIGS = ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json")
_ARCHITECTURES = {"x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "i686": ("386", "")}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob: where it is (by content) and how many bytes it has."""

    digest: str
    size: int
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform: its configuration and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about how to run it."""

    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""  # "", "name", "uid", "name:group", ...
    stop_signal: str = ""  # "SIGQUIT", "3" or "" for the default
    exposed_ports: list[str] = field(default_factory=list)  # "80/tcp"
    volumes: list[str] = field(default_factory=list)


def digest_of(data: bytes) -> str:
    """`sha256:...` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def machine() -> tuple[str, str]:
    """Architecture and variant of this machine as images call them: ("amd64", "")."""
    name = platform.machine()
    return _ARCHITECTURES.get(name, (name, ""))


def read_json(data: bytes, what: str) -> dict[str, Any]:
    """An object out of bytes; ImageError when it is something else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise pull_failed(f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise pull_failed(f"{what} is not an object")
    return found


def read_manifest(data: bytes, media_type: str, arch: tuple[str, str] | None = None) -> Manifest | Descriptor:
    """The manifest in `data`; or, of a list, the descriptor of the one for `arch` (default: this machine's)."""
    document = read_json(data, "the manifest")
    kind = str(document.get("mediaType") or media_type.partition(";")[0].strip())
    if kind in (DOCKER_LIST, OCI_INDEX) or (isinstance(document.get("manifests"), list) and "config" not in document):
        return _choose(document, arch or machine())
    if document.get("schemaVersion") == 1:
        raise pull_failed("the image has a manifest of schema 1, a format that was given up in 2016: build it anew")
    layers = document.get("layers")
    if not isinstance(layers, list) or "config" not in document:
        raise pull_failed(f"the manifest ({kind or 'of no type'}) has no layers and no config")
    config = _descriptor(document["config"])
    if config.media_type and config.media_type not in _CONFIGS:
        raise pull_failed(f"this is not a container image: its config is of type {config.media_type}")
    if len(layers) > MAX_LAYERS:
        raise pull_failed(f"the image has {len(layers)} layers; {MAX_LAYERS} is the most the kernel can stack")
    return Manifest(config, tuple(_descriptor(layer) for layer in layers))


def read_config(data: bytes) -> tuple[ImageConfig, list[str]]:
    """The configuration, and the digests of the unpacked layers (lowest first)."""
    document = read_json(data, "the image's config")
    rootfs = document.get("rootfs")
    diffs = rootfs.get("diff_ids") if isinstance(rootfs, Mapping) else None
    if not isinstance(diffs, list) or not all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in diffs):
        raise pull_failed("the image's config lists no layer digests")
    made_for = document.get("os") or "linux"
    if made_for != "linux":
        raise pull_failed(f"the image is for {made_for}, this is linux")
    inner = document.get("config") or {}
    if not isinstance(inner, Mapping):
        raise pull_failed("the image's config is not an object")
    env: dict[str, str] = {}
    for line in _strings(inner.get("Env")):
        name, equals, value = line.partition("=")
        if name and equals:
            env[name] = value
    return (
        ImageConfig(
            entrypoint=_strings(inner.get("Entrypoint")),
            cmd=_strings(inner.get("Cmd")),
            env=env,
            working_dir=_string(inner.get("WorkingDir")),
            user=_string(inner.get("User")),
            stop_signal=_string(inner.get("StopSignal")),
            exposed_ports=sorted(_strings(inner.get("ExposedPorts"))),
            volumes=sorted(_strings(inner.get("Volumes"))),
        ),
        list(diffs),
    )


def _choose(document: Mapping[str, Any], arch: tuple[str, str]) -> Descriptor:
    entries = document.get("manifests")
    offered: list[str] = []
    best: tuple[int, Descriptor] | None = None
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, Mapping):
            continue
        made_for = entry.get("platform")
        if not isinstance(made_for, Mapping):
            made_for = {"os": "linux", "architecture": arch[0]}  # OCI layouts of one platform often leave it out
        system, name, variant = (_string(made_for.get(key)) for key in ("os", "architecture", "variant"))
        offered.append("/".join(part for part in (system, name, variant) if part))
        if (system, name) != ("linux", arch[0]):
            continue
        score = 2 if variant == arch[1] else 1 if not variant else 0
        if best is None or score > best[0]:
            best = score, _descriptor(entry)
    if best is None:
        listed = ", ".join(sorted(set(offered))) or "nothing"
        raise pull_failed(f"no match for platform in manifest: linux/{arch[0]} is not offered, only {listed}")
    return best[1]


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, Mapping):
        raise pull_failed("the manifest has a descriptor that is not an object")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise pull_failed(f"the manifest names a blob by {digest!r}, which is no sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise pull_failed(f"the manifest gives no size for {digest}")
    return Descriptor(digest, size, _string(value.get("mediaType")))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _strings(value: object) -> list[str]:
    """A list's strings, or an object's keys (ports and volumes are written as {"80/tcp": {}})."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, Mapping)) else []
