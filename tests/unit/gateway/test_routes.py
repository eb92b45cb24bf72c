"""Which request goes where: hosts (I2), paths (I4), default backends, several Ingresses for one host."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.build import Table, ingress, path, rule, service, want

from skerry.api.types import networking
from skerry.gateway.xds.routes import IDEMPOTENT, RETRY_POLICY

WEB, API = "shop/web:80", "shop/api:80"


@pytest.mark.parametrize(
    ("kind", "text", "request_path", "fits"),
    [
        # The table of upstream's documentation of paths.
        ("Prefix", "/", "/anything/at/all", True),
        ("Exact", "/foo", "/foo", True),
        ("Exact", "/foo", "/bar", False),
        ("Exact", "/foo", "/foo/", False),
        ("Exact", "/foo/", "/foo", False),
        ("Prefix", "/foo", "/foo", True),
        ("Prefix", "/foo", "/foo/", True),
        ("Prefix", "/foo/", "/foo", True),
        ("Prefix", "/foo/", "/foo/", True),
        ("Prefix", "/aaa/bb", "/aaa/bbb", False),
        ("Prefix", "/aaa/bbb", "/aaa/bbb", True),
        ("Prefix", "/aaa/bbb/", "/aaa/bbb", True),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/", True),
        ("Prefix", "/aaa/bbb", "/aaa/bbb/ccc", True),
        ("Prefix", "/aaa/bbb", "/aaa/bbbxyz", False),
        ("Prefix", "/foo", "/foobar", False),
        ("Prefix", "/foo", "/FOO", False),
        ("ImplementationSpecific", "/foo", "/foo/bar", True),
        ("ImplementationSpecific", "", "/bar", True),
        # As requests have it when Envoy has brought it into its form.
        ("Prefix", "/caf\u00e9", "/caf%C3%A9/au-lait", True),
        ("Exact", "/a b", "/a%20b", True),
        ("Exact", "/%61%2d%c3", "/a-%c3", True),
    ],
)
def test_i4_path(kind: str, text: str, request_path: str, fits: bool) -> None:
    table = Table(want(ingress("web", rule("a.example", path(text, kind=kind)))))
    assert table("a.example", request_path) == (WEB if fits else "404")


@pytest.mark.parametrize(
    ("paths", "request_path", "wanted"),
    [
        ([("/aaa", "Prefix", "web"), ("/aaa/bbb", "Prefix", "api")], "/aaa/bbb/c", API),
        ([("/", "Prefix", "web"), ("/aaa", "Prefix", "api")], "/aaa/ccc", API),
        ([("/", "Prefix", "web"), ("/aaa", "Prefix", "api")], "/ccc", WEB),
        ([("/foo", "Prefix", "web"), ("/foo", "Exact", "api")], "/foo", API),
        ([("/foo/", "Prefix", "web"), ("/foo", "Exact", "api")], "/foo", API),
        ([("/foo", "Prefix", "web"), ("/foo", "Exact", "api")], "/foo/", WEB),
        ([("/foo", "ImplementationSpecific", "web"), ("/foo/bar", "Prefix", "api")], "/foo/bar", API),
    ],
)  # fmt: skip
def test_i4_the_longest_path_wins_then_exact(paths: list[tuple[str, str, str]], request_path: str, wanted: str) -> None:
    for order in (paths, paths[::-1]):
        one = ingress("web", rule("", *(path(text, to, kind) for text, kind, to in order)))
        assert Table(want(one))("any.example", request_path) == wanted


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("foo.bar.example", WEB),
        ("FOO.bar.example:8080", WEB),
        ("other.bar.example", API),
        ("OTHER.bar.example:80", API),
        ("deep.other.bar.example", "shop/rest:80"),
        ("deep.foo.bar.example", "shop/rest:80"),
        ("bar.example", "shop/rest:80"),
        ("xbar.example", "shop/rest:80"),
        ("192.0.2.1", "shop/rest:80"),
    ],
)
def test_i2_i4_hosts(host: str, wanted: str) -> None:
    one = ingress(
        "web",
        rule("*.bar.example", path(service="api")),
        rule("foo.bar.example", path()),
        rule("", path(service="rest")),
    )
    assert Table(want(one, services=[service(name) for name in ("web", "api", "rest")]))(host, "/") == wanted


def test_i2_a_wildcard_in_a_wildcard_is_another_host() -> None:
    one = ingress("web", rule("*.example", path()), rule("*.a.example", path("/only", "api")))
    table = Table(want(one))
    assert [table(host, "/only") for host in ("x.a.example", "a.example", "x.b.example")] == [API, WEB, "404"]
    # The host decides first: what it has no path for is not looked for in others.
    assert table("x.a.example", "/") == "404"


def test_a_default_backend_gets_what_its_rules_do_not_have_and_what_nobody_has() -> None:
    wanted = want(
        ingress("web", rule("a.example", path("/api", "api")), default="web", age=2),
        ingress("other", rule("b.example", path("/api", "api")), default="api", age=1),
        ingress("bare", rule("c.example", path("/api", "api"))),
    )
    table = Table(wanted)
    assert table("a.example", "/api") == API
    assert table("a.example", "/rest") == WEB
    assert table("b.example", "/rest") == API
    assert table("c.example", "/rest") == table("unknown.example", "/") == WEB


def test_i1_an_ingress_of_a_default_backend_alone_gets_everything() -> None:
    table = Table(want(ingress("web", default="web")))
    assert {table("a.example", "/"), table("b.example:80", "/x/y")} == {WEB}


def test_a_host_without_paths_is_the_default_backends() -> None:
    bare = {"host": "a.example"}
    assert Table(want(ingress("web", bare, default="web")))("a.example", "/x") == WEB
    assert Table(want(ingress("web", bare)))("a.example", "/x") == "404"


def test_nothing_matches_without_any_ingress() -> None:
    assert Table(want())("a.example", "/") == "404"


def test_ingresses_of_one_host_are_merged_and_the_older_one_keeps_its_path() -> None:
    young = ingress("a-young", rule("a.example", path("/same", "api"), path("/young", "api")), age=1)
    old = ingress("b-old", rule("a.example", path("/same/"), path("/old")), age=2)
    wanted = want(young, old)
    table = Table(wanted)
    assert [table("a.example", text) for text in ("/same", "/young", "/old")] == [WEB, API, WEB]
    (problem,) = wanted.problems["shop/a-young"]
    assert problem == ("PathConflict", "a.example/same already belongs to Ingress shop/b-old, which is older.")
    assert list(wanted.problems) == ["shop/a-young"]


def test_of_the_same_age_the_first_by_name_wins() -> None:
    one, two = (ingress(name, rule("", path("/", to))) for name, to in (("b", "web"), ("a", "api")))
    assert Table(want(one, two))("x", "/") == API


def test_only_idempotent_requests_are_sent_again_after_a_reset() -> None:
    table = Table(want(ingress("web", rule("*.a.example", path("/x")), default="api")))
    for host, text, cluster in (("b.a.example", "/x/y", WEB), ("b.a.example", "/", API), ("c.b.a.example", "/x", API)):
        for method in (*IDEMPOTENT, "POST", "PATCH", "CONNECT", "GETS", "get"):
            found = table.route(host, text, method)["route"]
            assert found["cluster"] == cluster
            again = found.get("retry_policy", RETRY_POLICY)["retry_on"].split(",")
            assert ("reset" in again) == (method in IDEMPOTENT), method
            assert "connect-failure" in again


# Against a reading of the rules that knows nothing of tables.

_labels = st.sampled_from(["a", "b", "c"])
_hosts = st.builds(
    lambda wild, labels: ".".join([*(["*"] if wild and labels else []), *labels]),
    st.booleans(),
    st.lists(_labels, max_size=3),
)
_elements = st.lists(st.sampled_from(["x", "y", "xy", ""]), max_size=3)
_requests = st.builds(lambda parts: "/" + "/".join(parts), _elements)
_paths = st.builds(
    lambda text, kind, to: path(text, to, kind),
    _requests.filter(lambda text: "//" not in text),
    st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"]),
    st.sampled_from("pqrs"),
)
_rules = st.builds(lambda host, paths: rule(host, *paths), _hosts, st.lists(_paths, min_size=1, max_size=3))
_ingresses = st.lists(
    st.builds(
        lambda rules, default, age: (rules, default, age),
        st.lists(_rules, max_size=3),
        st.sampled_from([None, "d", "e"]),
        st.integers(0, 2),
    ),
    max_size=4,
)


@given(_ingresses, st.lists(_labels, min_size=1, max_size=4), _requests)
def test_the_table_says_what_the_rules_say(asked: list[Any], labels: list[str], text: str) -> None:
    made = [
        ingress(f"i{i}", *rules, age=age, **({"default": default} if default else {}))
        for i, (rules, default, age) in enumerate(asked)
    ]
    table = Table(want(*made, services=[service(name) for name in "pqrsde"]))
    assert table(".".join(labels), text) == _oracle(made, labels, text)


def _oracle(made: list[networking.Ingress], labels: list[str], text: str) -> str:
    """The rules of Ingress, word by word."""
    ordered = sorted(made, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name))
    hosts = {each.host for one in ordered for each in one.spec.rules}
    whole, wild = ".".join(labels), ".".join(["*", *labels[1:]])
    host = whole if whole in hosts else wild if wild in hosts and len(labels) > 1 else ""
    best: tuple[int, bool] | None = None
    found, defaults = "", []
    for one in ordered:
        for each in one.spec.rules:
            for item in each.http.paths if each.host == host and each.http else ():
                exact = item.path_type == "Exact"
                parts, asked = item.path.split("/")[1:], text.split("/")[1:]
                while parts and parts[-1] == "" and not exact:
                    parts.pop()
                fits = item.path == text if exact else asked[: len(parts)] == parts
                rank = (len(item.path) if exact else sum(map(len, parts)) + len(parts), exact)
                if fits and (best is None or rank > best):
                    best, found = rank, item.backend.service.name if item.backend.service else ""
        if one.spec.default_backend is not None and one.spec.default_backend.service is not None:
            mine = any(each.host == host for each in one.spec.rules)
            defaults.append((not mine, one.spec.default_backend.service.name))
    if best is None and defaults:
        found = min(defaults, key=lambda one: one[0])[1]
    return f"shop/{found}:80" if found else "404"
