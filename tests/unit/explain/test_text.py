"""What a person reads: the layout, lengths of time, what is left out of a long list."""

from __future__ import annotations

import pytest
from tests.unit.controllers.endpoints.build import pod, pods, port, service
from tests.unit.explain.worlds import NOW, readiness_failing, world

from skerry.explain.seen import Place, span
from skerry.explain.text import lines
from skerry.explain.why import explain


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_finding_under_its_endpoints() -> None:
    assert list(lines(explain(readiness_failing()), NOW)) == [
        "default/web has no ready endpoint.",
        "",
        "Endpoints",
        "  10.244.0.1:8080  web-1  node-1  not ready for 9 min",
        "",
        "Found",
        "  The readiness probe of container c of pod web-1 (GET :8080/healthz) fails: HTTP probe failed with",
        "  statuscode: 503. Failed 14 times, the last 3 s ago. It is asked every 5 s.",
    ]


def test_what_goes_for_many_is_said_once_and_long_lists_end() -> None:
    of = service(ports=[port(target="http"), port("admin", 81, "admin")])
    some = pods(30)
    text = list(lines(explain(world(of, some)), NOW))
    assert text[0] == "default/web has 30 ready endpoints, but at none of its ports."
    assert text[22:26] == [
        "  10.244.0.26  web-26  node-1  ready for 9 min",
        "  and 10 more (-o json has all)",
        "",
        "Found",
    ]
    assert text[26].startswith(
        "  1. No container of pod web-0 has a TCP port named http, the targetPort of 80; it declares"
    )
    assert "The same goes for web-1, web-10, web-11," in " ".join(text) and "and 24 more." in " ".join(text)
    assert max(map(len, text)) <= 100


@pytest.mark.parametrize(("declared", "advice"), [({"http": 8000}, True), ({"http": 8080}, False), ({}, False)])
def test_what_to_do_where_it_is_clear(declared: dict[str, int], advice: bool) -> None:
    seen = world(service(), [pod("web-1", "10.244.0.1", ports=declared)], listening={("web-1", 8080): "refused"})
    text = " ".join(lines(explain(seen), NOW))
    assert "Nothing listens at port 8080" in text
    assert ("With targetPort 8000 the Service would lead there." in text) is advice


def test_connections_are_counted_by_node_and_over_the_ports_of_an_endpoint() -> None:
    of = service(ports=[port("a", 80, 8080), port("b", 81, 8081)])
    a, b = Place("10.244.0.0", 8080, "a", "TCP"), Place("10.244.0.0", 8081, "b", "TCP")

    def shown(connections: dict[str, dict[Place, int]]) -> list[str]:
        text = list(lines(explain(world(of, pods(2), connections=connections)), NOW))
        return [line.partition("ready for 9 min")[2] for line in text[3:5]]

    assert shown({}) == ["", ""]  # nobody could be asked
    assert shown({"node-1": {a: 1}}) == [", 1 connection", ", 0 connections"]
    assert shown({"node-1": {a: 3, b: 4}, "node-2": {b: 5}, "node-3": {}}) == [
        ", 12 connections (7 by node-1, 5 by node-2)",
        ", 0 connections",
    ]
    report = explain(world(of, pods(1), connections={"node-1": {a: 3}})).plain()
    assert [one["connections"] for one in report["endpoints"]] == [{"node-1": 3}, {"node-1": 0}]
    assert [one["connections"] for one in explain(world(of, pods(1))).plain()["endpoints"]] == [None, None]


def test_ports_of_one_address_are_one_line() -> None:
    of = service(ports=[port("a", 80, 8080), port("b", 81, 8081)])
    text = list(lines(explain(world(of, pods(1))), NOW))
    assert text[3] == "  10.244.0.0:8080,8081  web-0  node-1  ready for 9 min"
    of = service(ports=[port("dns", 53, 53, "UDP"), port("dns-tcp", 53, 53)])
    text = list(lines(explain(world(of, pods(1))), NOW))
    assert text[3] == "  10.244.0.0:53/UDP,53  web-0  node-1  ready for 9 min"
