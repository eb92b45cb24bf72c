"""Objects of the Gateway API that tests are about, and a reading of the rendered tables by Envoy's documented rules."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.unit.gateway.build import service

from skerry.api.types import core
from skerry.api.unstructured import Unstructured
from skerry.gateway.routes import objects
from skerry.gateway.routes.desired import Sources, wanted
from skerry.gateway.routes.model import Condition, Wanted
from skerry.gateway.xds.tables import table_response


def made(kind: type[Unstructured], name: str, spec: dict[str, Any], namespace: str = "shop", age: int = 0) -> Any:
    """`age`: the larger, the older."""
    metadata = {"name": name, "creationTimestamp": f"2026-01-01T00:{59 - age:02}:00Z", "generation": 3}
    if namespace:
        metadata["namespace"] = namespace
    return kind.of({"metadata": metadata, "spec": spec})


def gateway_class(name: str = "skerry", controller: str = objects.CONTROLLER, **spec: Any) -> Any:
    return made(objects.GATEWAY_CLASS, name, {"controllerName": controller, **spec}, "")


def listener(name: str = "http", port: int = 80, hostname: str = "", **more: Any) -> dict[str, Any]:
    found = {"name": name, "port": port, "protocol": "HTTP", **more}
    return {**found, "hostname": hostname} if hostname else found


def gateway(*listeners: dict[str, Any], name: str = "front", **more: Any) -> Any:
    namespace = more.pop("namespace", "shop")
    spec = {"gatewayClassName": "skerry", "listeners": list(listeners) or [listener()], **more}
    return made(objects.GATEWAY, name, spec, namespace)


def to(name: str = "web", **more: Any) -> dict[str, Any]:
    return {"name": name, "port": 80, **more}


def rule(*backends: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    """`path`, `exact`, `headers`, `query`, `method`: of one match; the rest is the rule's own."""
    match: dict[str, Any] = {}
    if "path" in more:
        match["path"] = {"type": "PathPrefix", "value": more.pop("path")}
    if "exact" in more:
        match["path"] = {"type": "Exact", "value": more.pop("exact")}
    for field, key in (("headers", "headers"), ("query", "queryParams")):
        if field in more:
            match[key] = [{"name": name, "value": value} for name, value in more.pop(field).items()]
    if "method" in more:
        match["method"] = more.pop("method")
    refs = [one if isinstance(one, dict) else to(one) for one in backends]
    return {"backendRefs": refs, **({"matches": [match]} if match else {}), **more}


def route(*rules: dict[str, Any], name: str = "route", **more: Any) -> Any:
    """`parent`: what its parentRef has beside the name."""
    namespace, age = more.pop("namespace", "shop"), more.pop("age", 0)
    parents = more.pop("parents", None) or [{"name": "front", **more.pop("parent", {})}]
    return made(objects.HTTP_ROUTE, name, {"parentRefs": parents, "rules": list(rules), **more}, namespace, age)


def grant(source: str, target: str, kind: str = "HTTPRoute", to_kind: str = "Service") -> Any:
    spec = {
        "from": [{"group": objects.GROUP, "kind": kind, "namespace": source}],
        "to": [{"group": "", "kind": to_kind}],
    }
    return made(objects.REFERENCE_GRANT, "grant", spec, target)


def ask(*found: Any, services: list[core.Service] | None = None, secrets: Any = (), **more: Any) -> Wanted:
    """What these Gateways, HTTPRoutes and ReferenceGrants ask for, where the Services web, api and old are there."""
    by = {
        kind: [one for one in found if isinstance(one, kind)]
        for kind in (objects.GATEWAY_CLASS, objects.GATEWAY, objects.HTTP_ROUTE, objects.REFERENCE_GRANT)
    }
    classes = by[objects.GATEWAY_CLASS] or [gateway_class(), gateway_class("other", "example.com/other")]
    namespaces = {"shop": {}, "other": {"team": "blue"}, **more.pop("namespaces", {})}
    there = [service("web"), service("api"), service("old")] if services is None else services
    sources = Sources(
        classes, by[objects.GATEWAY] or [gateway()], by[objects.HTTP_ROUTE], by[objects.REFERENCE_GRANT], namespaces
    )
    named = {f"{one.metadata.namespace}/{one.metadata.name}": one for one in there}
    return wanted(sources, named, {f"shop/{one.metadata.name}": one for one in secrets}, **more)


def said(found: Wanted, key: str = "shop/route") -> dict[str, Condition]:
    """What a route is told by its only parent."""
    (parent,) = found.routes[key]
    return {one.type: one for one in parent.conditions}


class Tables:
    """The tables as Envoy reads them: the host that fits best, then the first route."""

    def __init__(self, found: Wanted) -> None:
        self._tables = {}
        for one in found.entrances:
            (table,) = json.loads(table_response(one))["resources"]
            self._tables[one.gateway, one.port] = {
                domain: host for host in table["virtual_hosts"] for domain in host["domains"]
            }

    def route(self, url: str, method: str = "GET", port: int = 80, gateway: str = "shop/front", **headers: str) -> Any:
        """The route that a request to `host/path?query` takes."""
        host, _, rest = url.partition("/")
        path, _, query = f"/{rest}".partition("?")
        found = {
            ":method": method,
            ":authority": host,
            **{name.replace("_", "-"): one for name, one in headers.items()},
        }
        asked = dict(one.split("=") for one in query.split("&")) if query else {}
        table = self._tables[gateway, port]
        return next(one for one in self._host(table, host)["routes"] if _matches(one["match"], path, found, asked))

    def __call__(self, url: str, method: str = "GET", **more: Any) -> str:
        """The Service to which a request goes, or the status that it is answered with."""
        found = self.route(url, method, **more)
        if "direct_response" in found:
            return str(found["direct_response"]["status"])
        return str(found["route"]["cluster"]).removeprefix("shop/").partition(":")[0]

    def _host(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        if name in table:
            return table[name]
        fits = [one for one in table if one.startswith("*.") and name.endswith(one[1:])]
        return table[max(fits, key=len, default="*")]


def _matches(match: dict[str, Any], path: str, headers: dict[str, str], query: dict[str, str]) -> bool:
    for one in match.get("headers", ()):
        wanted = one["string_match"]
        regex = wanted["safe_regex"]["regex"] if "safe_regex" in wanted else re.escape(wanted["exact"])
        if not re.fullmatch(regex, headers.get(one["name"], "")):
            return False
    for one in match.get("query_parameters", ()):
        if query.get(one["name"]) != one["string_match"]["exact"]:
            return False
    if "path" in match:
        return path == match["path"]
    if "path_separated_prefix" in match:
        prefix = match["path_separated_prefix"]
        assert re.fullmatch("[^?#]+[^?#/]", prefix)
        return path == prefix or path.startswith(prefix + "/")
    return path.startswith(match["prefix"])
