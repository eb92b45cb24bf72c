"""Envoy's files: the same from the same, and changed in an order in which no request meets half of a change."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers.tls import pair
from tests.unit.gateway.build import ingress, path, rule, secret, service, tls, want

from skerry.gateway.model import Desired
from skerry.gateway.xds import files
from skerry.gateway.xds.files import CLUSTERS, LISTENERS, ROUTES, Rendered, Settings

SETTINGS = Settings(
    "/run/envoy",
    (("0.0.0.0", 80), ("::", 80)),
    (("0.0.0.0", 443),),
    "/run/envoy/admin",
    "/run/envoy/stream",
    default_certificate=("chain", "key"),
)


def render(wanted: Desired, settings: Settings = SETTINGS) -> Rendered:
    return files.render(wanted, settings)


def resources(content: bytes | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(content or b"")["resources"]
    return found


def names(content: bytes | None) -> list[str]:
    return [one["name"] for one in resources(content)]


def test_the_same_in_any_order_is_the_same_bytes() -> None:
    made = [ingress(f"i{i}", rule(f"h{i % 3}.example", path(f"/{i}"))) for i in range(6)]
    one, two = render(want(*made)), render(want(*made[::-1], services=[service("api"), service("web")]))
    assert one == two
    assert files.changes(one, two) == ([], frozenset(), [], [])


def test_a_version_is_of_the_content() -> None:
    one, two = render(want(ingress("web", default="web"))), render(want(ingress("web", default="api")))
    for name in (CLUSTERS, ROUTES):
        assert json.loads(one.files[name])["version_info"] != json.loads(two.files[name])["version_info"]
    assert one.files[LISTENERS] == two.files[LISTENERS]


def test_everything_is_written_first_and_clusters_before_routes() -> None:
    rendered = render(want(ingress("web", default="web")))
    found = files.changes(None, rendered)
    assert [name for name, _ in found.now] == [files.BOOTSTRAP, CLUSTERS]
    assert [name for name, _ in found.then] == [ROUTES, LISTENERS]
    assert (dict(found.now + found.then), found.later) == (rendered.files, [])


def test_a_cluster_goes_only_after_the_routes_that_led_to_it() -> None:
    old, new = render(want(ingress("web", default="web"))), render(want(ingress("web", default="api")))
    now, awaits, then, later = files.changes(old, new)
    assert ([name for name, _ in now], [name for name, _ in then]) == ([CLUSTERS], [ROUTES])
    assert names(dict(now)[CLUSTERS]) == ["shop/web:80", "shop/api:80"]
    assert awaits == {"shop/api:80 http"}
    assert later == [(CLUSTERS, new.files[CLUSTERS])]
    assert names(new.files[CLUSTERS]) == ["shop/api:80"]


def test_a_change_of_paths_alone_is_a_change_of_routes_alone() -> None:
    old = render(want(ingress("web", rule("a", path("/x")))))
    new = render(want(ingress("web", rule("a", path("/y")))))
    found = files.changes(old, new)
    assert (found.now, [name for name, _ in found.then], found.awaits) == ([], [ROUTES], frozenset())


def test_listeners_have_a_chain_a_certificate_and_one_for_the_rest() -> None:
    asked = [*tls("one", "a.example", "*.w.example"), *tls("two", "b.example")]
    wanted = want(ingress("web", rule("a.example", path()), tls=asked),
                  secrets=[secret("one", *pair("one")), secret("two", *pair("two"))])  # fmt: skip
    plain, plain6, secure = resources(render(wanted).files[LISTENERS])
    assert [one["name"] for one in (plain, plain6, secure)] == ["http 0.0.0.0:80", "http :::80", "https 0.0.0.0:443"]
    assert [one["filter_chain_match"] for one in secure["filter_chains"]] == [
        {"server_names": ["*.w.example", "a.example"]},
        {"server_names": ["b.example"]},
    ]
    assert list(files.certificates(wanted, SETTINGS)) == ["default", "shop/one", "shop/two"]


def test_without_a_certificate_of_ones_own_there_is_no_https() -> None:
    settings = SETTINGS._replace(default_certificate=None)
    wanted = want(ingress("web", default="web"))
    assert [one["name"] for one in resources(render(wanted, settings).files[LISTENERS])] == [
        "http 0.0.0.0:80",
        "http :::80",
    ]
    assert files.certificates(wanted, settings) == {}
