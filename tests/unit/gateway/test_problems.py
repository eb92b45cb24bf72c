"""What is ours, what is wrong with an Ingress, and that the others do not suffer from it (I5, I7, I9)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.gateway.build import Table, backend, ingress, path, rule, service, want

from skerry.api import codec
from skerry.api.types import networking
from skerry.gateway.model import Cluster, Protocol


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ({"ingressClassName": "skerry"}, True),
        ({"ingressClassName": "nginx"}, False),
        ({"ingressClassName": "unknown"}, False),
        ({"ingressClassName": None}, False),
        ({"ingressClassName": None, "annotations": {"kubernetes.io/ingress.class": "skerry"}}, True),
        # Upstream: the annotation goes before the field.
        ({"ingressClassName": "skerry", "annotations": {"kubernetes.io/ingress.class": "nginx"}}, False),
    ],
)
def test_which_ingresses_are_ours(spec: dict[str, Any], ours: bool) -> None:
    wanted = want(ingress("web", rule("a", path(service="missing")), **spec))
    assert wanted.ours == (("shop/web",) if ours else ())
    # Nobody else's Ingress is judged.
    assert bool(wanted.problems) == ours


@pytest.mark.parametrize(
    ("wrong", "problem", "body"),
    [
        (backend("missing"), ("MissingService", "Service shop/missing does not exist."),
         "The Service of this path does not exist."),
        (backend("web", 81), ("MissingPort", "Service shop/web has no TCP port 81."),
         "The Service of this path has no such port."),
        (backend("web", "http"), ("MissingPort", 'Service shop/web has no TCP port named "http".'),
         "The Service of this path has no such port."),
        (backend("udp", 53), ("MissingPort", "Service shop/udp has no TCP port 53."),
         "The Service of this path has no such port."),
        (backend("outside"),
         ("UnsupportedBackend",
          "Service shop/outside is of type ExternalName, which has no endpoints: it cannot be a backend."),
         "The backend of this path is of a kind that is not supported."),
        ({"resource": {"kind": "Bucket", "name": "b"}},
         ("UnsupportedBackend", "The backend is Bucket b: only Services are supported."),
         "The backend of this path is of a kind that is not supported."),
    ],
)  # fmt: skip
def test_a_bad_backend_answers_503_and_says_why(wrong: dict[str, Any], problem: tuple[str, str], body: str) -> None:
    services = [
        service("web"),
        service("udp", {"port": 53, "protocol": "UDP"}),
        service("outside", type="ExternalName"),
    ]
    bad = ingress("bad", rule("bad.example", {**path("/bad"), "backend": wrong}, path("/good")))
    wanted = want(bad, ingress("good", rule("good.example", path())), services=services)
    assert wanted.problems == {"shop/bad": (problem,)}
    (route,) = (one for one in wanted.hosts["bad.example"] if one.path == "/bad")
    assert route.action == (503, body)
    table = Table(wanted)
    assert [table("bad.example", "/bad"), table("bad.example", "/good"), table("good.example", "/bad")] == [
        "503",
        "shop/web:80",
        "shop/web:80",
    ]


def test_a_path_that_no_request_can_have_is_told() -> None:
    wanted = want(ingress("web", rule("a.example", path("/x?y", kind="ImplementationSpecific"), path("/z"))))
    (problem,) = wanted.problems["shop/web"]
    assert problem.reason == "PathNeverMatches"
    assert [one.path for one in wanted.hosts["a.example"]] == ["/z"]


def test_the_same_problem_is_told_once() -> None:
    wanted = want(ingress("web", rule("a", path("/x", "gone"), path("/y", "gone")), rule("b", path("/", "gone"))))
    assert len(wanted.problems["shop/web"]) == 1


def test_i5_ports_by_name_and_number_are_the_same_cluster() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "grpc", "port": 90, "appProtocol": "kubernetes.io/h2c"}]
    paths = [path("/a", port="http"), path("/b", port=80), path("/c", port="grpc")]
    wanted = want(ingress("web", rule("", *paths)), services=[service("web", *ports, ipFamilies=["IPv6", "IPv4"])])
    assert dict(wanted.clusters) == {
        "shop/web:80": Cluster("shop/web:80", "shop/web", 80, "http", Protocol.HTTP, "IPv6"),
        "shop/web:90": Cluster("shop/web:90", "shop/web", 90, "grpc", Protocol.H2C, "IPv6"),
    }


def test_i5_of_a_udp_and_a_tcp_port_of_one_number_it_is_the_tcp_one() -> None:
    ports = [{"name": "u", "port": 80, "protocol": "UDP"}, {"name": "t", "port": 80, "protocol": "TCP"}]
    wanted = want(ingress("web", default="web"), services=[service("web", *ports)])
    assert wanted.clusters["shop/web:80"].port == "t"


@pytest.mark.parametrize(
    ("said", "protocol"),
    [
        (None, Protocol.HTTP),
        ("http", Protocol.HTTP),
        ("kubernetes.io/ws", Protocol.HTTP),
        ("redis", Protocol.HTTP),
        ("kubernetes.io/h2c", Protocol.H2C),
        ("grpc", Protocol.H2C),
        ("HTTPS", Protocol.HTTPS),
        ("kubernetes.io/wss", Protocol.HTTPS),
        ("grpcs", Protocol.H2),
    ],
)
def test_app_protocol(said: str | None, protocol: Protocol) -> None:
    wanted = want(ingress("web", default="web"), services=[service("web", {"port": 80, "appProtocol": said})])
    assert wanted.clusters["shop/web:80"].protocol is protocol


def test_what_was_looked_up_is_told_found_or_not() -> None:
    tls = [{"hosts": ["a"], "secretName": "nope"}]
    wanted = want(ingress("web", rule("a", path(), path("/x", "gone")), tls=tls))
    assert (wanted.services, wanted.secrets) == ({"shop/web", "shop/gone"}, {"shop/nope"})


def test_the_same_name_in_another_namespace_is_another_service() -> None:
    wanted = want(ingress("web", default="web", namespace="other"))
    assert wanted.problems["other/web"][0].message == "Service other/web does not exist."


def test_nothing_raises_for_an_empty_ingress() -> None:
    bare = {"metadata": {"name": "x", "namespace": "shop"}, "spec": {"ingressClassName": "skerry"}}
    hollow = codec.convert(networking.Ingress, {**bare, "spec": {**bare["spec"], "defaultBackend": {}, "tls": [{}]}})
    wanted = want(codec.convert(networking.Ingress, bare), hollow)
    assert wanted.problems["shop/x"][0].reason == "UnsupportedBackend"
