"""The route table of a Gateway's port (RDS): one virtual host for each host of its listeners and routes. Pure.

Called by files.py. Envoy's wildcards are those of the Gateway API: they stand for any number of labels, the longest one
wins, and names win over them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from skerry.gateway.routes.model import Changes, Entrance, Match, PathChange, RedirectTo, Rule, Send
from skerry.gateway.xds.routes import HEADERS, IDLE_TIMEOUT, RETRY_POLICY, by_method
from skerry.gateway.xds.wire import REMEMBERED, ROUTES, encode, response

_NOBODYS = {
    "match": {"prefix": "/"},
    "direct_response": {"status": 404, "body": {"inline_string": "No HTTPRoute is for this host and path.\n"}},
}
_SET, _ADD = "OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD"
_DENOMINATORS = {100: "HUNDRED", 10_000: "TEN_THOUSAND", 1_000_000: "MILLION"}
_REDIRECTS = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_USUAL = {"http": 80, "https": 443}


def file_name(one: Entrance) -> str:
    """The file of an entrance's table."""
    return f"rds-{hashlib.sha256(one.name.encode()).hexdigest()[:16]}.json"


def table_response(one: Entrance) -> bytes:
    """The content of that file; the table's name is the entrance's."""
    hosts = [_virtual_host(host or "*", rules, one.port, one.tls) for host, rules in one.hosts.items()]
    if "" not in one.hosts:
        hosts.append(_virtual_host("*", (), one.port, one.tls))
    table = {
        "@type": ROUTES,
        "name": one.name,
        "virtual_hosts": list(map(msgspec.Raw, hosts)),
        "ignore_port_in_host_matching": True,
        "request_headers_to_add": HEADERS,
        "request_headers_to_remove": ["x-envoy-external-address"],
        "validate_clusters": False,
    }
    return response([encode(table)])


@functools.lru_cache(REMEMBERED)
def _virtual_host(domain: str, rules: tuple[Rule, ...], port: int, tls: bool) -> bytes:
    host = "" if "*" in domain else domain
    routes = [each for one in rules for each in _routes(one, port, tls, host)]
    return encode({"name": domain, "domains": [domain], "routes": [*routes, _NOBODYS], "retry_policy": RETRY_POLICY})


def _routes(one: Rule, port: int, tls: bool, host: str) -> Iterable[dict[str, Any]]:
    """`host`: the one that requests have, "" if they have different ones."""
    headers = {**_changed("request", one.request), **_changed("response", one.response)}
    made = {"match": _match(one.match), **_action(one, port, tls, host), **headers}
    return by_method(made) if "route" in made else [made]


def _match(one: Match) -> dict[str, Any]:
    if one.exact:
        made: dict[str, Any] = {"path": one.path}
    else:
        made = {"path_separated_prefix": one.path} if one.path else {"prefix": "/"}
    headers = [(":method", one.method)] if one.method else []
    headers += one.headers
    if headers:
        made["headers"] = [{"name": name, "string_match": {"exact": value}} for name, value in headers]
    if one.query:
        made["query_parameters"] = [{"name": name, "string_match": {"exact": value}} for name, value in one.query]
    return made


def _changed(which: str, one: Changes) -> dict[str, Any]:
    """Of requests or responses. A percent sign would begin one of Envoy's own words."""
    made: dict[str, Any] = {}
    pairs = [(_SET, each) for each in one.set] + [(_ADD, each) for each in one.add]
    if pairs:
        made[f"{which}_headers_to_add"] = [
            {
                "header": {"key": name, "value": value.replace("%", "%%")},
                "append_action": action,
                "keep_empty_value": True,
            }
            for action, (name, value) in pairs
        ]
    if one.remove:
        made[f"{which}_headers_to_remove"] = one.remove
    return made


def _action(one: Rule, port: int, tls: bool, host: str) -> dict[str, Any]:
    if isinstance(one.action, RedirectTo):
        return {"redirect": _redirect(one.action, one.match, port, tls, host)}
    if not one.action.backends:
        return {"direct_response": {"status": 500, "body": {"inline_string": "This rule leads to no backend.\n"}}}
    return {"route": _send(one.action, one.match)}


def _send(one: Send, match: Match) -> dict[str, Any]:
    made: dict[str, Any] = {
        "timeout": f"{one.timeout:g}s",
        "idle_timeout": IDLE_TIMEOUT,
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        **(_path(one.path, match) if one.path is not None else {}),
    }
    if one.try_timeout:
        made["retry_policy"] = {**RETRY_POLICY, "per_try_timeout": f"{one.try_timeout:g}s"}
    first = one.backends[0]
    if len(one.backends) == 1 and not (any(first.request) or any(first.response)):
        made["cluster"] = first.cluster
    else:
        made["weighted_clusters"] = {
            "clusters": [
                {
                    "name": each.cluster,
                    "weight": each.weight,
                    **_changed("request", each.request),
                    **_changed("response", each.response),
                }
                for each in one.backends
            ]
        }
    if one.host:
        made["host_rewrite_literal"] = one.host
    if one.copies:
        made["request_mirror_policies"] = [
            {
                "cluster": each.cluster,
                "runtime_fraction": {
                    "default_value": {
                        "numerator": each.numerator,
                        "denominator": _DENOMINATORS[each.denominator],
                    }
                },
            }
            for each in one.copies
        ]
    return made


def _redirect(one: RedirectTo, match: Match, port: int, tls: bool, host: str) -> dict[str, Any]:
    """Without a port: the scheme's usual one if there is a scheme, else the listener's.

    A usual port is not said. Envoy would then say the one that the client has asked for, unless it is told a host too.
    """
    made: dict[str, Any] = {"response_code": _REDIRECTS[one.status]}
    scheme = one.scheme or ("https" if tls else "http")
    wanted = one.port or (_USUAL[scheme] if one.scheme else port)
    if wanted != _USUAL[scheme]:
        made["port_redirect"] = wanted
    elif one.scheme and not one.host and port not in _USUAL.values():
        made |= {"host_redirect": host} if host else {"port_redirect": wanted}
    if one.scheme:
        made["scheme_redirect"] = one.scheme
    if one.host:
        made["host_redirect"] = one.host
    if one.path is not None:
        if one.path.whole:
            made["path_redirect"] = one.path.text
        else:
            made |= _path(one.path, match)
    return made


def _path(one: PathChange, match: Match) -> dict[str, Any]:
    """Instead of the matched prefix or of all; no slash comes twice and none is missing."""
    if one.whole:
        return _replaced("^/.*$", one.text)
    if not one.text:
        return _replaced(f"^{_quoted(match.path)}/*", "/") if match.path else {}
    return {"prefix_rewrite": one.text if match.path else f"{one.text}/"}


def _replaced(regex: str, by: str) -> dict[str, Any]:
    return {"regex_rewrite": {"pattern": {"regex": regex}, "substitution": by.replace("\\", "\\\\")}}


def _quoted(text: str) -> str:
    """A text as a regular expression of RE2."""
    return "".join(one if one.isalnum() or one in "/_" or not one.isascii() else f"\\{one}" for one in text)
