"""How Envoy's JSON is written: types, responses, references to other files. Pure. Called by the rest of xds/."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

_TYPES = "type.googleapis.com/envoy"

CLUSTER = f"{_TYPES}.config.cluster.v3.Cluster"
ENDPOINTS = f"{_TYPES}.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{_TYPES}.config.listener.v3.Listener"
ROUTES = f"{_TYPES}.config.route.v3.RouteConfiguration"
SECRET = f"{_TYPES}.extensions.transport_sockets.tls.v3.Secret"


REMEMBERED = 4096
"""How many encoded parts of a kind are kept by the values that they are made of: a change renders what it touches."""


def typed(name: str, **fields: Any) -> dict[str, Any]:
    """A message that says its type; `name` is what comes after "envoy."."""
    return {"@type": f"{_TYPES}.{name}", **fields}


def extension(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """An extension by Envoy's name with its typed configuration."""
    return {"name": name, "typed_config": config}


def encode(value: Any) -> bytes:
    """JSON bytes; the same value gives the same bytes."""
    return msgspec.json.encode(value)


def response(resources: Iterable[bytes]) -> bytes:
    """A DiscoveryResponse of encoded resources. Its version is made of their bytes, so it needs no memory."""
    body = b",".join(resources)
    version = hashlib.sha256(body).hexdigest()[:16].encode()
    return b'{"version_info":"%s","resources":[%s]}' % (version, body)


def file_source(path: str) -> dict[str, Any]:
    """Where Envoy finds a resource: a file, read again whenever another one is renamed to its name."""
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def address(host: str, port: int) -> dict[str, Any]:
    """An address with a TCP port."""
    return {"socket_address": {"address": host, "port_value": port}}


def stream_source() -> dict[str, Any]:
    """A resource that comes over the stream of stream.py, by its name.

    Endpoints and certificates, since there are many: each file that Envoy watches costs an inotify instance, of which a
    user has 128 in all (fs.inotify.max_user_instances), and Envoy aborts when there is none left (seen with 1.40).
    The stream also says when Envoy has applied them.
    """
    return {"ads": {}, "resource_api_version": "V3"}
