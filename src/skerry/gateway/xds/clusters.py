"""Clusters (CDS); their endpoints come over the stream. Pure. Called by files.py."""

from __future__ import annotations

import functools
from typing import Any

from skerry.gateway.model import Cluster, Protocol
from skerry.gateway.xds.wire import CLUSTER, REMEMBERED, encode, extension, stream_source, typed

CONNECT_TIMEOUT = "5s"
IDLE_TIMEOUT = "3s"
"""An idle connection to a pod is closed before most servers would (Node.js and Apache wait 5 s): a request that meets a
closing connection would have to be sent again, and not every one may be."""

_PLENTY = 1_000_000_000
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")


def endpoints_name(one: Cluster) -> str:
    """Under which name Envoy asks for a cluster's endpoints.

    It changes with the cluster's resource: Envoy asks once for a name, and who replaces a cluster has to get an answer.
    """
    return f"{one.name} {one.protocol.value}"


@functools.lru_cache(REMEMBERED)
def cluster_resource(one: Cluster) -> bytes:
    """A cluster, encoded."""
    made: dict[str, Any] = {
        "@type": CLUSTER,
        "name": one.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": stream_source(), "service_name": endpoints_name(one)},
        "connect_timeout": CONNECT_TIMEOUT,
        # Every worker goes round on its own, so shares are as even as kube-proxy's, and weights are exact.
        "lb_policy": "ROUND_ROBIN",
        # All that are not ready are as good as none: no request goes to an endpoint that left.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [dict.fromkeys(_LIMITS, _PLENTY)]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _http(one.protocol)
        },
    }
    if one.protocol in (Protocol.HTTPS, Protocol.H2):
        # No verification, as other Ingress controllers: a pod's certificate is seldom of an authority that we know.
        made["transport_socket"] = extension(
            "envoy.transport_sockets.tls",
            typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context={}),
        )
    return encode(made)


def _http(protocol: Protocol) -> dict[str, Any]:
    match protocol:
        case Protocol.HTTP:
            version: dict[str, Any] = {"explicit_http_config": {"http_protocol_options": {}}}
        case Protocol.H2C | Protocol.H2:
            version = {"explicit_http_config": {"http2_protocol_options": {}}}
        case Protocol.HTTPS:
            version = {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
    return typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": IDLE_TIMEOUT},
        **version,
    )
