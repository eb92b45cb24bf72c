"""The route table (RDS): one virtual host for each host of the rules. Pure. Called by files.py.

Envoy takes the host that fits best (whole names before wildcards, "*" last) and in it the first route that fits. Its
wildcards match any number of labels and those of Ingress exactly one (I2): the virtual host of a wildcard first sends
deeper names where they belong, to the rules without a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from skerry.gateway.model import ANY_HOST, Action, Desired, Forward, Route
from skerry.gateway.xds.wire import ROUTES, encode, response

NAME = "ingress"
IDLE_TIMEOUT = "60s"
"""How long a request, a stream or a WebSocket may be silent in both directions."""

RETRIES = 3
RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""Nothing of a request was sent when these happen, so it may be any. listeners.py adds "reset" for idempotent ones."""

_RETRY_POLICY = {
    "retry_on": RETRY_ON,
    "num_retries": RETRIES,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": 5,
    "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.1s"},
}

_HEADERS: tuple[dict[str, Any], ...] = (
    {
        "header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    },
)


def routes_response(desired: Desired) -> bytes:
    """The content of the file of routes."""
    fallback = _rendered(Route(False, "", desired.fallback))
    elsewhere = [_rendered(one) for one in desired.hosts.get(ANY_HOST, ())]
    hosts = [
        _virtual_host(host or "*", _complete(host, desired.hosts, elsewhere, fallback))
        for host in (*filter(None, desired.hosts), ANY_HOST)
    ]
    table = {
        "@type": ROUTES,
        "name": NAME,
        "virtual_hosts": hosts,
        "ignore_port_in_host_matching": True,
        "request_headers_to_add": _HEADERS,
        # Envoy's own word for what X-Forwarded-For says.
        "request_headers_to_remove": ["x-envoy-external-address"],
        # Clusters come in a file of their own, before this one.
        "validate_clusters": False,
    }
    return response([encode(table)])


def _complete(
    host: str, hosts: Mapping[str, tuple[Route, ...]], elsewhere: list[dict[str, Any]], fallback: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """All routes of a virtual host."""
    if host == ANY_HOST:
        yield from elsewhere
    else:
        if host.startswith("*."):
            deeper = _deeper(host)
            yield from ({**one, "match": {**one["match"], "headers": deeper}} for one in (*elsewhere, fallback))
        yield from map(_rendered, hosts[host])
    yield fallback


def _deeper(wildcard: str) -> list[dict[str, Any]]:
    """Matches a request whose host has more than one label in the place of the star."""
    regex = rf"(?i)[^.]+{re.escape(wildcard[1:])}(:[0-9]+)?"
    return [{"name": ":authority", "string_match": {"safe_regex": {"regex": regex}}, "invert_match": True}]


def _virtual_host(domain: str, routes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"name": domain, "domains": [domain], "routes": list(routes), "retry_policy": _RETRY_POLICY}


def _rendered(one: Route) -> dict[str, Any]:
    return {"match": _match(one), **_action(one.action)}


def _match(one: Route) -> dict[str, Any]:
    if one.exact:
        return {"path": one.path}
    return {"path_separated_prefix": one.path} if one.path else {"prefix": "/"}


def _action(action: Action) -> dict[str, Any]:
    if isinstance(action, Forward):
        return {"route": {"cluster": action.cluster, "timeout": "0s", "idle_timeout": IDLE_TIMEOUT}}
    return {"direct_response": {"status": action.status, "body": {"inline_string": f"{action.body}\n"}}}
