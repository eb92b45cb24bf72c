"""Listeners (LDS) for HTTP and HTTPS, whose certificates come over the stream. Pure.

Called by files.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from skerry.gateway.model import Desired
from skerry.gateway.routes.model import Entrance
from skerry.gateway.xds import routes, tables
from skerry.gateway.xds.wire import LISTENER, address, encode, extension, file_source, response, stream_source, typed

DEFAULT = "default"
"""The name of the certificate for hosts that have none of their own."""

CLIENT_IDLE_TIMEOUT = "75s"
"""How long a client's connection may be idle between requests."""

HEADERS_TIMEOUT = "60s"
"""How long a client may take to send a request's headers."""


def listeners_response(
    desired: Desired,
    directory: str,
    http: Sequence[tuple[str, int]],
    https: Sequence[tuple[str, int]],
    entrances: Sequence[Entrance] = (),
) -> bytes:
    """The content of the file of listeners. Addresses are IPs with ports; entrances are open on all of these IPs."""
    manager = _manager(routes.NAME, f"{directory}/rds.json", "ingress")
    plain = [_listener("http", one, filter_chains=[{"filters": [manager]}]) for one in http]
    chains = list(_chains(desired, manager)) if https else []
    inspector = extension("envoy.filters.listener.tls_inspector", typed(_INSPECTOR))
    default = {"name": DEFAULT, "filters": [manager], "transport_socket": _tls(DEFAULT)}
    tls = [
        _listener("https", one, listener_filters=[inspector], filter_chains=chains, default_filter_chain=default)
        for one in https
    ]
    ips = dict.fromkeys(ip for ip, _ in (*http, *https))
    gateways = [_entrance(one, ip, directory) for one in entrances for ip in ips]
    return response(map(encode, plain + tls + gateways))


def _entrance(one: Entrance, ip: str, directory: str) -> dict[str, Any]:
    """Of a Gateway's port. Who asks by HTTPS for a name that no listener is for gets no connection."""
    manager = _manager(one.name, f"{directory}/{tables.file_name(one)}", "gateway")
    if not one.tls:
        return _listener("gateway", (ip, one.inside), filter_chains=[{"filters": [manager]}])
    chains = [
        {
            "name": host or "every host",
            "filter_chain_match": {"server_names": [host]} if host else {},
            "filters": [manager],
            "transport_socket": _tls(*secrets),
        }
        for host, secrets in one.shown
    ]
    inspector = extension("envoy.filters.listener.tls_inspector", typed(_INSPECTOR))
    return _listener("gateway", (ip, one.inside), listener_filters=[inspector], filter_chains=chains)


_INSPECTOR = "extensions.filters.listener.tls_inspector.v3.TlsInspector"


def _listener(kind: str, at: tuple[str, int], **fields: Any) -> dict[str, Any]:
    return {"@type": LISTENER, "name": f"{kind} {at[0]}:{at[1]}", "address": address(*at), **fields}


def _chains(desired: Desired, manager: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One filter chain a certificate. Envoy's wildcards hold deeper names too: these get a certificate that is not
    theirs, as they would without.
    """
    names: dict[str, list[str]] = {}
    for host, secret in sorted(desired.sni.items()):
        names.setdefault(secret, []).append(host)
    for secret, hosts in sorted(names.items()):
        yield {
            "name": secret,
            "filter_chain_match": {"server_names": hosts},
            "filters": [manager],
            "transport_socket": _tls(secret),
        }


def _tls(*secrets: str) -> dict[str, Any]:
    shown = [{"name": secret, "sds_config": stream_source()} for secret in secrets]
    common = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificate_sds_secret_configs": shown}
    context = typed("extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)
    return extension("envoy.transport_sockets.tls", context)


def _manager(table: str, file: str, statistics: str) -> dict[str, Any]:
    """The HTTP connection manager, the same everywhere but for the route table and its file."""
    return extension(
        "envoy.filters.network.http_connection_manager",
        typed(
            "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=statistics,
            rds={"route_config_name": table, "config_source": file_source(file)},
            http_filters=[extension("envoy.filters.http.router", _ROUTER)],
            upgrade_configs=[{"upgrade_type": "websocket"}],
            http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "localhost"},
            # WebSocket over HTTP/2 is an extended CONNECT.
            http2_protocol_options={"allow_connect": True},
            common_http_protocol_options={"idle_timeout": CLIENT_IDLE_TIMEOUT},
            request_headers_timeout=HEADERS_TIMEOUT,
            stream_idle_timeout=routes.IDLE_TIMEOUT,
            # "/public/../private" is matched, and sent on, as "/private"; escaped slashes stay what they are.
            normalize_path=True,
            path_with_escaped_slashes_action="KEEP_UNCHANGED",
            strip_trailing_host_dot=True,
            # X-Forwarded-For gets the client's address, -Proto and -Port are overwritten.
            use_remote_address=True,
            append_x_forwarded_port=True,
            # Nobody is "internal": what clients say in x-envoy-* is dropped.
            internal_address_config={"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
            server_header_transformation="PASS_THROUGH",
        ),
    )


_ROUTER = typed("extensions.filters.http.router.v3.Router", suppress_envoy_headers=True)
