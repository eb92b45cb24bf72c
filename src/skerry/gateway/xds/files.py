"""All files of an Envoy that is configured by files: which there are, what is in them, in what order they change. Pure.

Called by the gateway's shell, which writes each file under a temporary name and renames it into place: that rename is
what Envoy watches for. Bytes depend on values alone, so an unchanged thing is an unchanged file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from skerry.gateway.model import Desired, Endpoint

BOOTSTRAP = "bootstrap.json"
"""What Envoy is started with (`envoy -c`); it is read once, so it depends on the settings alone."""


class Settings(NamedTuple):
    """What the shell decides. Addresses are IPs with ports.

    `directory`: where Envoy sees the files, absolute. `admin`: path of the unix socket of Envoy's admin interface.
    `default_certificate`: PEM (chain, key) for names that no Ingress has a certificate for; None opens no HTTPS port.
    """

    directory: str
    http: tuple[tuple[str, int], ...]
    https: tuple[tuple[str, int], ...]
    admin: str
    node: str = "skerry"
    default_certificate: tuple[str, str] | None = None


class Rendered(NamedTuple):
    """The content of all files by name (relative to the directory; some are in subdirectories), bootstrap included.

    `clusters`: each cluster's resource by name, from which `changes` makes the file that holds old and new ones.
    """

    files: Mapping[str, bytes]
    clusters: Mapping[str, bytes]


def render(desired: Desired, endpoints: Mapping[str, tuple[Endpoint, ...]], settings: Settings) -> Rendered:
    """The files for all that is desired. `endpoints` by the cluster's name; a cluster that is not in it has none."""
    raise NotImplementedError


def endpoints_file(cluster: str, endpoints: tuple[Endpoint, ...]) -> tuple[str, bytes]:
    """The name and content of the one file that a change of a cluster's endpoints changes."""
    raise NotImplementedError


def changes(old: Rendered | None, new: Rendered) -> Iterator[tuple[str, bytes | None]]:
    """What to write (None: remove), in this order, to go from `old` (None: nothing is there) to `new`.

    Clusters come before the routes that lead to them and go after the last route has left them (one file is written
    twice then), certificates before listeners; so no request meets a half of the change.
    """
    raise NotImplementedError
