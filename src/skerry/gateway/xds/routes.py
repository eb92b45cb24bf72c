"""The route table (RDS): one virtual host for each host of the rules. Pure. Called by files.py.

Envoy takes the host that fits best (whole names before wildcards, "*" last) and in it the first route that fits. Its
wildcards match any number of labels and those of Ingress exactly one (I2): the virtual host of a wildcard first sends
deeper names where they belong, to the rules without a host.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from skerry.gateway.model import ANY_HOST, Action, Desired, Forward, Route
from skerry.gateway.xds.wire import REMEMBERED, ROUTES, encode, response

NAME = "ingress"
IDLE_TIMEOUT = "60s"
"""How long a request, a stream or a WebSocket may be silent in both directions."""

RETRIES = 3
RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""Nothing of a request was sent when these happen, so it may be any."""

RETRY_ON_TOO = "reset"
"""That the connection ended before an answer: a reason only for requests that may be sent twice."""

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
_ANY_OF_THESE = {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(IDEMPOTENT)}}}

RETRY_POLICY = {
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

HEADERS: tuple[dict[str, Any], ...] = (
    {
        "header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    },
)


def by_method(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A route that sends requests somewhere as Envoy gets it: once for idempotent requests, then for all others.

    A filter that adds the second reason to a request would do too, and cost a twentieth of Envoy's time.
    """
    sends = route["route"]
    policy = sends.get("retry_policy", RETRY_POLICY)
    policy = {**policy, "retry_on": f"{policy['retry_on']},{RETRY_ON_TOO}"}
    headers = route["match"].get("headers", [])
    said = [one["string_match"]["exact"] for one in headers if one["name"] == ":method"]
    if not said:
        match = {**route["match"], "headers": [*headers, _ANY_OF_THESE]}
        yield {**route, "match": match, "route": {**sends, "retry_policy": policy}}
    elif said[0] in IDEMPOTENT:
        sends = {**sends, "retry_policy": policy}
    yield {**route, "route": sends}


def routes_response(desired: Desired) -> bytes:
    """The content of the file of routes."""
    fallback = Route(False, "", desired.fallback)
    elsewhere = desired.hosts.get(ANY_HOST, ())
    hosts = [
        _virtual_host(host, routes, (*elsewhere, fallback) if host.startswith("*.") else (), fallback)
        for host, routes in desired.hosts.items()
        if host != ANY_HOST
    ]
    hosts.append(_virtual_host("*", elsewhere, (), fallback))
    table = {
        "@type": ROUTES,
        "name": NAME,
        "virtual_hosts": list(map(msgspec.Raw, hosts)),
        "ignore_port_in_host_matching": True,
        "request_headers_to_add": HEADERS,
        # Envoy's own word for what X-Forwarded-For says.
        "request_headers_to_remove": ["x-envoy-external-address"],
        # Clusters come in a file of their own, before this one.
        "validate_clusters": False,
    }
    return response([encode(table)])


@functools.lru_cache(REMEMBERED)
def _virtual_host(domain: str, own: tuple[Route, ...], deeper: tuple[Route, ...], fallback: Route) -> bytes:
    """A virtual host, encoded. `deeper`: the routes of names that its wildcard does not mean."""
    condition = _deeper(domain) if deeper else []
    routes = [each for one in deeper for each in _rendered(one, condition)]
    routes += [each for one in (*own, fallback) for each in _rendered(one, [])]
    return encode({"name": domain, "domains": [domain], "routes": routes, "retry_policy": RETRY_POLICY})


def _deeper(wildcard: str) -> list[dict[str, Any]]:
    """Matches a request whose host has more than one label in the place of the star."""
    regex = rf"(?i)[^.]+{re.escape(wildcard[1:])}(:[0-9]+)?"
    return [{"name": ":authority", "string_match": {"safe_regex": {"regex": regex}}, "invert_match": True}]


def _rendered(one: Route, headers: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    made = {"match": {**_match(one), "headers": headers} if headers else _match(one), **_action(one.action)}
    return by_method(made) if "route" in made else [made]


def _match(one: Route) -> dict[str, Any]:
    if one.exact:
        return {"path": one.path}
    return {"path_separated_prefix": one.path} if one.path else {"prefix": "/"}


def _action(action: Action) -> dict[str, Any]:
    if isinstance(action, Forward):
        return {"route": {"cluster": action.cluster, "timeout": "0s", "idle_timeout": IDLE_TIMEOUT}}
    return {"direct_response": {"status": action.status, "body": {"inline_string": f"{action.body}\n"}}}
