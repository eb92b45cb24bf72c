"""Small real images for tests: the public builder, and a set of them in a registry."""

from __future__ import annotations

from skerry.testing.images import (
    BuiltImage,
    Layer,
    MissingToolError,
    Packed,
    busybox,
    compress,
    digest,
    manifest_list,
    nginx,
)

__all__ = [
    "BuiltImage", "Layer", "MissingToolError", "Packed", "busybox", "compress", "digest", "manifest_list", "nginx",
    "push_tutorial_images",
]  # fmt: skip

NGINX_VERSIONS = ("1.14.2", "1.16.1", "1.25.0")


def push_tutorial_images(registry: str) -> dict[str, str]:
    """What the tutorial's manifests ask docker.io for, in the registry at this address; name -> manifest digest."""
    pushed = {}
    for version in NGINX_VERSIONS:
        tags = [version, "latest"] if version == NGINX_VERSIONS[-1] else [version]
        done = nginx(version).packed().push(registry, "library/nginx", *tags)
        pushed |= {f"nginx:{tag}": done for tag in tags}
    done = busybox().packed("oci").push(registry, "library/busybox", "latest", "1.36")
    return pushed | {"busybox:latest": done, "busybox:1.36": done}
