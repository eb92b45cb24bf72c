"""What the rules of an HTTPRoute mean: matches, filters, backends with weights. Pure. Called by desired.py.

Everything that Envoy would refuse is refused here, with a sentence: one bad route must not hold up a table of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from skerry.gateway.backends import Backends
from skerry.gateway.paths import normal, unmatchable
from skerry.gateway.routes import objects
from skerry.gateway.routes.model import (
    NOWHERE,
    Changes,
    Condition,
    Copied,
    Match,
    PathChange,
    RedirectTo,
    Rule,
    Send,
    Weighted,
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DURATION = re.compile(r"([0-9]{1,5}(h|ms|m|s)){1,4}")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_STATUSES = (301, 302, 303, 307, 308)
_PATHS = ("Exact", "PathPrefix")
_DENOMINATORS = (100, 10_000, 1_000_000)
MAX_WEIGHT = 1_000_000

Permitted = Callable[[str, str, str], bool]
"""(namespace, kind, name) of a Service in another namespace: may this route lead there?"""


class Unsupported(ValueError):
    """Why a route is not accepted."""


def translated(
    namespace: str, rules: Iterable[objects.Rule], backends: Backends, permitted: Permitted
) -> tuple[list[Rule], list[Condition]]:
    """Every match of every rule, in the route's order; and which references could not be resolved. Unsupported."""
    made: list[Rule] = []
    unresolved: list[Condition] = []
    for one in rules:
        matches = [_match(each) for each in one.matches or (objects.Match(),)]
        made += _Rule(namespace, one, backends, permitted, unresolved).made(matches)
    return made, list(dict.fromkeys(unresolved))


def _match(one: objects.Match) -> Match:
    kind = one.path.type or "PathPrefix"
    if kind not in _PATHS:
        raise Unsupported(f"Paths of type {kind} are not supported.")
    text = one.path.value or "/"
    if not text.startswith("/") or unmatchable(text):
        raise Unsupported(f'No request has the path "{text}".')
    if one.method and one.method not in _METHODS:
        raise Unsupported(f"There is no method {one.method}.")
    path = normal(text, "Exact" if kind == "Exact" else "Prefix")
    headers = _named(one.headers, "Headers", fold=True)
    return Match(kind == "Exact", path, one.method, headers, _named(one.query_params, "Query parameters", fold=False))


def _named(found: tuple[objects.Matched, ...], what: str, *, fold: bool) -> tuple[tuple[str, str], ...]:
    """Of several with one name only the first counts."""
    out: dict[str, str] = {}
    for one in found:
        if one.type not in ("", "Exact"):
            raise Unsupported(f"{what} of type {one.type} are not supported.")
        name = one.name.lower() if fold else one.name
        if not _TOKEN.fullmatch(name) or _UNPRINTABLE.search(one.value):
            raise Unsupported(f'{what} cannot be "{one.name}: {one.value}".')
        out.setdefault(":authority" if fold and name == "host" else name, one.value)
    return tuple(out.items())


def seconds(text: str) -> float:
    """A duration of the Gateway API; 0 for none. Unsupported."""
    if not text:
        return 0
    if not _DURATION.fullmatch(text):
        raise Unsupported(f'"{text}" is no duration.')
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall("([0-9]+)(ms|h|m|s)", text))


def _changes(one: objects.HeaderFilter | None) -> Changes:
    if one is None:
        return Changes()
    names = [*(each.name for each in (*one.set, *one.add)), *one.remove]
    for name in names:
        if not _TOKEN.fullmatch(name) or name.lower() == "host":
            raise Unsupported(f'The header "{name}" cannot be changed.')
    if any(_UNPRINTABLE.search(each.value) for each in (*one.set, *one.add)):
        raise Unsupported("Values of headers are of one line.")
    return Changes(_pairs(one.set), _pairs(one.add), one.remove)


def _pairs(found: tuple[objects.Header, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((one.name, one.value) for one in found)


def _host(name: str) -> str:
    if name and not _HOST.fullmatch(name):
        raise Unsupported(f'"{name}" is no host name.')
    return name


class _Rule:
    """One rule: its filters and its backends."""

    def __init__(
        self,
        namespace: str,
        rule: objects.Rule,
        backends: Backends,
        permitted: Permitted,
        unresolved: list[Condition],
    ) -> None:
        self._namespace, self._rule, self._backends = namespace, rule, backends
        self._permitted, self._unresolved = permitted, unresolved

    def made(self, matches: list[Match]) -> list[Rule]:
        request = response = Changes()
        redirect: RedirectTo | None = None
        rewrite, copies = objects.Rewrite(), []
        for one in self._rule.filters:
            match one.type:
                case "RequestHeaderModifier":
                    request = _changes(one.request_header_modifier)
                case "ResponseHeaderModifier":
                    response = _changes(one.response_header_modifier)
                case "RequestRedirect" if one.request_redirect is not None:
                    redirect = self._redirect(one.request_redirect, matches)
                case "URLRewrite" if one.url_rewrite is not None:
                    rewrite = one.url_rewrite
                case "RequestMirror" if one.request_mirror is not None:
                    copies += self._copies(one.request_mirror)
                case _:
                    raise Unsupported(f"The filter {one.type} is not supported.")
        if redirect is not None:
            if rewrite != objects.Rewrite() or self._rule.backend_refs:
                raise Unsupported("RequestRedirect goes with neither URLRewrite nor backendRefs.")
            return [Rule(one, redirect, request, response) for one in matches]
        send = Send(
            tuple(self._weighted(one) for one in self._rule.backend_refs if one.weight > 0),
            _host(rewrite.hostname),
            self._path(rewrite.path, matches),
            tuple(copies),
            seconds(self._rule.timeouts.request),
            seconds(self._rule.timeouts.backend_request),
        )
        return [Rule(one, send, request, response) for one in matches]

    def _redirect(self, one: objects.Redirect, matches: list[Match]) -> RedirectTo:
        if one.scheme not in ("", "http", "https"):
            raise Unsupported(f"There is no redirect to the scheme {one.scheme}.")
        if one.status_code not in _STATUSES:
            raise Unsupported(f"A redirect cannot have the status {one.status_code}.")
        if one.port is not None and not 0 < one.port < 65536:
            raise Unsupported(f"{one.port} is no port.")
        return RedirectTo(one.scheme, _host(one.hostname), one.port, self._path(one.path, matches), one.status_code)

    def _path(self, one: objects.PathModifier | None, matches: list[Match]) -> PathChange | None:
        if one is None:
            return None
        text = one.replace_full_path or one.replace_prefix_match
        if _UNPRINTABLE.search(text) or "#" in text or "?" in text or (text and not text.startswith("/")):
            raise Unsupported(f'"{text}" is no path.')
        if one.type == "ReplaceFullPath":
            return PathChange(True, text or "/")
        if one.type != "ReplacePrefixMatch":
            raise Unsupported(f"{one.type} of a path is not supported.")
        if any(each.exact for each in matches):
            raise Unsupported("ReplacePrefixMatch needs matches of PathPrefix.")
        return PathChange(False, text.rstrip("/"))

    def _copies(self, one: objects.Mirror) -> list[Copied]:
        numerator, denominator = (one.percent if one.percent is not None else 100), 100
        if one.fraction is not None:
            numerator, denominator = one.fraction.numerator, one.fraction.denominator
            if not 0 <= numerator <= denominator:
                raise Unsupported(f"{numerator}/{denominator} is no fraction of the requests.")
            if denominator not in _DENOMINATORS:
                numerator, denominator = round(numerator * 1_000_000 / denominator), 1_000_000
        if not 0 <= numerator <= denominator:
            raise Unsupported(f"{numerator} is no percentage.")
        cluster = self._cluster(one.backend_ref)
        return [Copied(cluster, numerator, denominator)] if cluster != NOWHERE else []

    def _weighted(self, one: objects.BackendRef) -> Weighted:
        if one.weight > MAX_WEIGHT:
            raise Unsupported(f"A weight is at most {MAX_WEIGHT}.")
        request = response = Changes()
        for each in one.filters:
            match each.type:
                case "RequestHeaderModifier":
                    request = _changes(each.request_header_modifier)
                case "ResponseHeaderModifier":
                    response = _changes(each.response_header_modifier)
                case _:
                    raise Unsupported(f"The filter {each.type} of a backend is not supported.")
        return Weighted(self._cluster(one), one.weight, request, response)

    def _cluster(self, one: objects.Reference) -> str:
        def problem(reason: str, message: str) -> str:
            self._unresolved.append(Condition("ResolvedRefs", False, reason, message))
            return NOWHERE

        kind = one.kind or "Service"
        if one.group not in ("", "core") or kind != "Service":
            return problem("InvalidKind", f"{kind} {one.name} is no Service: no other kind is supported.")
        namespace = one.namespace or self._namespace
        key = f"{namespace}/{one.name}"
        if namespace != self._namespace and not self._permitted(namespace, "Service", one.name):
            return problem("RefNotPermitted", f"No ReferenceGrant permits to refer to Service {key}.")
        found = self._backends.find(key, one.port or 0)
        if not found.cluster:
            return problem(found.reason, found.message)
        return found.cluster
