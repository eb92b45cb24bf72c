"""All files of an Envoy that is configured by files: which there are, what is in them, in what order they change. Pure.

Called by the gateway's shell, which writes each file under a temporary name and renames it into place: that rename is
what Envoy watches for. Bytes depend on values alone, so an unchanged thing is an unchanged file. There are three files
whatever there is of Ingresses; endpoints and certificates come over the stream (see wire.stream_source).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from skerry.gateway.model import Desired
from skerry.gateway.routes.model import NOTHING, Wanted
from skerry.gateway.xds import stream, tables
from skerry.gateway.xds.clusters import cluster_resource, endpoints_name
from skerry.gateway.xds.listeners import DEFAULT, listeners_response
from skerry.gateway.xds.routes import routes_response
from skerry.gateway.xds.stream import Resource
from skerry.gateway.xds.wire import encode, file_source, response, typed

BOOTSTRAP = "bootstrap.json"
"""What Envoy is started with (`envoy -c`); it is read once, so it depends on the settings alone."""

CLUSTERS, ROUTES, LISTENERS = "cds.json", "rds.json", "lds.json"


class Settings(NamedTuple):
    """What the shell decides. Addresses are IPs with ports.

    `directory`: where Envoy sees the files, absolute. `admin`: path of the unix socket of Envoy's admin interface,
    `stream`: of ours, from which endpoints and certificates come.
    `default_certificate`: PEM (chain, key) for names that no Ingress has a certificate for; None opens no HTTPS port.
    """

    directory: str
    http: tuple[tuple[str, int], ...]
    https: tuple[tuple[str, int], ...]
    admin: str
    stream: str
    node: str = "skerry"
    default_certificate: tuple[str, str] | None = None


class Rendered(NamedTuple):
    """The content of all files by name (relative to the directory), bootstrap included.

    `clusters`: each cluster's resource by name, from which `changes` makes the file that holds old and new ones.
    `endpoints`: under which name Envoy asks for each cluster's endpoints.
    """

    files: dict[str, bytes]
    clusters: dict[str, bytes]
    endpoints: dict[str, str]


Write = tuple[str, bytes | None]
"""A file to write; None: to remove."""


class Changes(NamedTuple):
    """Files to write, in order. `then` is due when Envoy has the endpoints that are named in `awaits`, or a request
    would come to a cluster that is not ready; `later` once Envoy has read it all (a second is plenty).
    """

    now: list[Write]
    awaits: frozenset[str]
    then: list[Write]
    later: list[Write]


def render(desired: Desired, settings: Settings, wanted: Wanted = NOTHING) -> Rendered:
    """The files for all that Ingresses (`desired`) and Gateways (`wanted`) ask for."""
    directory = settings.directory
    https = settings.https if settings.default_certificate is not None else ()
    both = {**desired.clusters, **wanted.clusters}
    clusters = {name: cluster_resource(one) for name, one in both.items()}
    files = {
        BOOTSTRAP: _bootstrap(settings),
        CLUSTERS: response(clusters.values()),
        ROUTES: routes_response(desired),
        **{tables.file_name(one): tables.table_response(one) for one in wanted.entrances},
        LISTENERS: listeners_response(desired, directory, settings.http, https, wanted.entrances),
    }
    return Rendered(files, clusters, {name: endpoints_name(one) for name, one in both.items()})


def certificates(desired: Desired, settings: Settings, wanted: Wanted = NOTHING) -> dict[str, Resource]:
    """The certificates that listeners show, by the names that they have for them."""
    if settings.default_certificate is None:
        return {}
    own = desired.certificates.get(desired.default_certificate)
    chain, key = (own.chain, own.key) if own is not None else settings.default_certificate
    found = {DEFAULT: stream.certificate(DEFAULT, chain, key)}
    every = {**desired.certificates, **wanted.certificates}
    shown = {secret for entrance in wanted.entrances for _, secrets in entrance.shown for secret in secrets}
    for secret in sorted(shown.union(desired.sni.values())):
        one = every[secret]
        found[secret] = stream.certificate(secret, one.chain, one.key)
    return found


def changes(old: Rendered | None, new: Rendered) -> Changes:
    """What to write to go from `old` (None: nothing is there) to `new`.

    Clusters come before the routes that lead to them, and certificates before listeners; clusters go when the last
    route has left them (their file is written twice then). So no request meets a half of the change.
    """
    before: Mapping[str, bytes] = old.files if old is not None else {}
    both = {**old.clusters, **new.clusters} if old is not None else new.clusters
    writes: dict[str, bytes] = dict(new.files)
    writes[CLUSTERS] = response(both.values()) if len(both) > len(new.clusters) else new.files[CLUSTERS]
    todo = [(name, content) for name, content in writes.items() if before.get(name) != content]
    later: list[Write] = [(name, None) for name in before if name not in new.files]
    if writes[CLUSTERS] != new.files[CLUSTERS]:
        later.insert(0, (CLUSTERS, new.files[CLUSTERS]))
    added = new.clusters.keys() - (old.clusters if old is not None else {})
    return Changes(
        now=[one for one in todo if one[0] in (BOOTSTRAP, CLUSTERS)],
        awaits=frozenset(new.endpoints[name] for name in added),
        then=[one for one in todo if one[0] not in (BOOTSTRAP, CLUSTERS)],
        later=later,
    )


STREAM = "skerry"
"""The cluster of Envoy's that is ourselves."""


def _bootstrap(settings: Settings) -> bytes:
    http2 = typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    us = {
        "name": STREAM,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": STREAM,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": settings.stream}}}}]}],
        },
    }
    return encode(
        {
            "node": {"id": settings.node, "cluster": "skerry"},
            "admin": {"address": {"pipe": {"path": settings.admin}}},
            "static_resources": {"clusters": [us]},
            "dynamic_resources": {
                "lds_config": file_source(f"{settings.directory}/{LISTENERS}"),
                "cds_config": file_source(f"{settings.directory}/{CLUSTERS}"),
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": STREAM}}],
                },
            },
            # Thousands of clusters have statistics only once they have traffic.
            "deferred_stat_options": {"enable_deferred_creation_stats": True},
        }
    )
