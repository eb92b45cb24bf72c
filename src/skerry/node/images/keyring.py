"""Users and passwords for registries, out of imagePullSecrets. Pure; called by the node agent before it pulls.

A Secret of type kubernetes.io/dockerconfigjson (or the older dockercfg) is a table from places to accounts. A place is
a registry, perhaps with a path ("registry.example.com/team") and with `*` in parts of its name; the most specific ones
come first, and a pull tries them in that order.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from skerry.node.images.reference import DEFAULT_REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from skerry.api.types import core
    from skerry.node.images.reference import Reference

Credentials = tuple[str, str]
"""User, password."""

_FORMS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}
_DEFAULT_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")


class Entry(NamedTuple):
    """An account for a place."""

    host: str
    path: str
    credentials: Credentials


def entries(secrets: Iterable[core.Secret]) -> list[Entry]:
    """What pull secrets hold, the most specific places first. What cannot be read is left out, as upstream does."""
    found: list[Entry] = []
    for secret in secrets:
        key = _FORMS.get(secret.type or "")
        if key is not None and key in secret.data:
            found += _table(secret.data[key], whole=key == ".dockerconfigjson")
    return sorted(found, key=lambda one: one.host + one.path, reverse=True)


def lookup(found: Iterable[Entry], reference: Reference) -> list[Credentials]:
    """The accounts for an image, each once, in the order in which they are to be tried."""
    hosts = _DEFAULT_HOSTS if reference.registry == DEFAULT_REGISTRY else (reference.registry,)
    path = f"/{reference.repository}"
    return list(
        dict.fromkeys(
            one.credentials
            for one in found
            if path.startswith(one.path) and any(_matches(one.host, host) for host in hosts)
        )
    )


def mark(credentials: Credentials) -> str:
    """What an account is remembered by, beside the images that it gave access to."""
    return hashlib.sha256("\0".join(credentials).encode()).hexdigest()


def _table(encoded: str, *, whole: bool) -> list[Entry]:
    try:
        table: Any = json.loads(base64.b64decode(encoded))
        rows = (table["auths"] if whole else table).items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    made = (_entry(str(place), row) for place, row in rows)
    return [one for one in made if one is not None]


def _entry(place: str, row: Any) -> Entry | None:
    if not isinstance(row, dict):
        return None
    user, password = row.get("username"), row.get("password")
    if row.get("auth"):
        try:
            text = base64.b64decode(str(row["auth"])).decode()
        except ValueError:
            return None
        user, colon, password = text.partition(":")
        if not colon:
            return None
    if not isinstance(user, str) or not isinstance(password, str):
        return None
    try:
        parts = urlsplit(place if place.startswith(("http://", "https://")) else f"https://{place}")
    except ValueError:
        return None
    path = parts.path
    for version in ("/v1/", "/v2/"):  # as `docker login` writes the address of an API
        path = path.removeprefix(version[:-1]) if path.startswith(version) or path == version[:-1] else path
    return Entry(parts.netloc, "" if path == "/" else path, (user, password.rstrip("\0")))


def _matches(pattern: str, host: str) -> bool:
    """`*.example.com` is any name of three parts; the port must be the same."""
    wanted, _, wanted_port = pattern.partition(":")
    name, _, port = host.partition(":")
    left, right = wanted.split("."), name.split(".")
    return (
        wanted_port == port
        and len(left) == len(right)
        and all(fnmatch.fnmatchcase(b, a) for a, b in zip(left, right, strict=True))
    )
