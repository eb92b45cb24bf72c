"""The registry's text is what a scraper reads, and the API server shows it."""

from __future__ import annotations

import pytest
from tests.helpers import server

from skerry import metrics


def test_the_text_format() -> None:
    registry = metrics.Registry()
    asked = registry.add(metrics.Counter("asked_total", "How often", ["verb"]))
    asked.add(2, "get")
    asked.add(1.5, 'sa"y\n\\')
    registry.add(metrics.Gauge("depth", "Now\nand then")).set(-3)
    took = registry.add(metrics.Histogram("took_seconds", "How long", buckets=(0.5, 1)))
    for value in (0.1, 0.5, 0.7, 9):
        took.observe(value)
    assert registry.text().splitlines() == [
        "# HELP asked_total How often",
        "# TYPE asked_total counter",
        'asked_total{verb="get"} 2',
        'asked_total{verb="sa\\"y\\n\\\\"} 1.5',
        "# HELP depth Now\\nand then",
        "# TYPE depth gauge",
        "depth -3",
        "# HELP took_seconds How long",
        "# TYPE took_seconds histogram",
        'took_seconds_bucket{le="0.5"} 2',
        'took_seconds_bucket{le="1"} 3',
        'took_seconds_bucket{le="+Inf"} 4',
        "took_seconds_sum 10.3",
        "took_seconds_count 4",
    ]


def test_a_name_is_one_metric() -> None:
    registry = metrics.Registry()
    first = registry.add(metrics.Counter("n", ""))
    assert registry.add(metrics.Counter("n", "")) is first
    with pytest.raises(TypeError):
        registry.add(metrics.Gauge("n", ""))


def test_buckets_that_double() -> None:
    assert metrics.doubling(2, 4) == (2, 4, 8, 16)


async def test_the_api_server_shows_them_to_who_may_ask() -> None:
    api = await server.start()
    metrics.PROCESS.add(metrics.Counter("test_metrics_seen", "Only here")).add(1)
    response, body = await api.ask("GET", "/metrics")
    assert (response.status, response.headers["content-type"]) == (200, metrics.CONTENT_TYPE)
    assert "test_metrics_seen 1" in body.decode().splitlines()
    response, _ = await api.ask("GET", "/metrics", user=None)
    assert response.status == 403
