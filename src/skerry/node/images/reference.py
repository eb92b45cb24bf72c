"""Image names: `nginx` is docker.io/library/nginx:latest. Pure; used by the image manager and `skerry load`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from skerry.node.images.errors import ImageError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A whole image name. `tag` is "" only where a digest is given without one."""

    registry: str  # "docker.io", "127.0.0.1:5000"
    repository: str  # "library/nginx"
    tag: str
    digest: str = ""  # "sha256:..."

    @property
    def name(self) -> str:
        """Registry and repository: `docker.io/library/nginx`."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag."""
        return self.digest or self.tag

    @property
    def key(self) -> str:
        """The name under which the store knows the image; a digest makes the tag meaningless."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that `text` means. ImageError(InvalidImageName) if it is none."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad(text, "invalid digest format" if ":" in digest else "invalid reference format")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # no tag: the colon, if any, belongs to the registry's port
        name, tag = rest, "" if at else DEFAULT_TAG
    elif not _TAG.fullmatch(tag):
        raise _bad(text, "invalid reference format")
    first, slash, path = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry = first
    else:
        registry, path = DEFAULT_REGISTRY, name
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and path and "/" not in path:
        path = "library/" + path
    if not _PATH.fullmatch(path):
        lower = _PATH.fullmatch(path.lower())
        raise _bad(text, "invalid reference format" + (": repository name must be lowercase" if lower else ""))
    if not _DOMAIN.fullmatch(registry) or len(registry) + 1 + len(path) > 255:
        raise _bad(text, "invalid reference format")
    return Reference(registry, path, tag, digest)


def _bad(text: str, why: str) -> ImageError:
    return ImageError(
        "InvalidImageName", f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {why}'
    )
