"""Which request goes where, as the Gateway API's conformance suite asks it; read from the tables that Envoy gets."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.gateway.routing import Tables, ask, gateway, listener, route, rule, said, to

from skerry.gateway.xds.routes import IDEMPOTENT, RETRY_POLICY


def filtered(kind: str, field: str, value: Any, *backends: str, **more: Any) -> dict[str, Any]:
    return rule(*backends, filters=[{"type": kind, field: value}], **more)


def test_a_route_without_matches_takes_everything() -> None:
    tables = Tables(ask(route(rule("web"))))
    assert tables("any.example/") == tables("other.example/a/b?c=d", "POST") == "web"


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("h/match", "web"),
        ("h/match/exact", "api"),
        ("h/match/prefix", "old"),
        ("h/match/prefix/", "old"),
        ("h/match/prefix/one/any", "api"),
        ("h/match/prefix/oneother", "old"),
        ("h/match/any", "web"),
        ("h/matchless", "404"),
        ("h/Match", "404"),
    ],
)
def test_exact_paths_go_before_the_longest_prefix(url: str, service: str) -> None:
    rules = [
        rule("web", path="/match/"),
        rule("old", path="/match/prefix/"),
        rule("api", path="/match/prefix/one"),
        rule("web", exact="/match"),
        rule("api", exact="/match/exact"),
    ]
    assert Tables(ask(route(*rules)))(url) == service


def test_then_the_method_then_more_headers_then_more_of_the_query() -> None:
    tables = Tables(
        ask(
            route(
                rule("web", path="/"),
                rule("api", path="/", query={"a": "1"}),
                rule("old", path="/", headers={"Version": "two"}),
                rule("api", path="/", headers={"version": "two", "color": "red"}),
                rule("old", path="/", method="PATCH"),
                rule("web", path="/long", query={"a": "1", "b": "2"}),
            )
        )
    )
    assert tables("h/") == "web"
    assert tables("h/?a=1") == "api"
    assert tables("h/?a=1", version="two") == "old"
    assert tables("h/", version="two", color="red") == "api"
    assert tables("h/", "PATCH", version="two", color="red") == "old"
    assert tables("h/long?a=1&b=2", version="two", color="red") == "web"
    assert tables("h/", version="three") == "web"


def test_of_equal_matches_the_older_route_wins_then_the_name_then_the_order() -> None:
    old, new = route(rule("old"), name="z", age=5), route(rule("web"), name="a")
    assert Tables(ask(new, old))("h/") == "old"
    assert Tables(ask(route(rule("web"), name="b"), route(rule("api"), name="a")))("h/") == "api"
    assert Tables(ask(route(rule("api"), rule("web"))))("h/") == "api"


def test_of_several_matches_of_one_header_the_first_counts() -> None:
    twice = [{"name": "Color", "value": "red"}, {"name": "color", "value": "blue"}]
    tables = Tables(ask(route({"matches": [{"headers": twice}], "backendRefs": [to()]})))
    assert tables("h/", color="red") == "web"
    assert tables("h/", color="blue") == "404"


def test_matches_of_a_rule_are_alternatives() -> None:
    either = {"matches": [{"path": {"value": "/a"}}, {"headers": [{"name": "v", "value": "2"}]}]}
    tables = Tables(ask(route({**either, "backendRefs": [to()]})))
    assert [tables("h/a"), tables("h/b", v="2"), tables("h/b")] == ["web", "web", "404"]


@pytest.mark.parametrize(
    ("own", "routes", "host", "service"),
    [
        ("", ["a.example"], "a.example", "web"),
        ("", ["a.example"], "b.example", "404"),
        ("", ["*.example"], "deep.a.example", "web"),
        ("", ["*.example"], "example", "404"),
        ("*.example", [], "a.example", "web"),
        ("*.example", [], "else", "404"),
        ("*.example", ["A.example"], "a.example", "web"),
        ("*.example", ["a.example"], "b.example", "404"),
        ("a.example", ["*.example"], "a.example", "web"),
        ("a.example", ["*.example"], "b.example", "404"),
        ("*.a.example", ["*.example"], "x.a.example", "web"),
        ("*.a.example", ["*.example"], "x.example", "404"),
        ("*.example", ["*.a.example"], "x.example", "404"),
        ("a.example", ["b.example", "a.example"], "a.example", "web"),
    ],
)
def test_a_host_is_one_that_listener_and_route_both_mean(own: str, routes: list[str], host: str, service: str) -> None:
    found = ask(gateway(listener(hostname=own)), route(rule("web"), hostnames=routes))
    assert Tables(found)(f"{host}/") == service
    assert said(found)["Accepted"].holds


def test_a_route_with_other_hosts_than_the_listener_is_not_accepted() -> None:
    found = ask(gateway(listener(hostname="a.example")), route(rule("web"), hostnames=["b.example", "*.a.example"]))
    assert said(found)["Accepted"].reason == "NoMatchingListenerHostname"
    assert found.gateways["shop/front"].listeners[0].attached == 0


def test_the_closest_host_wins_whatever_its_paths() -> None:
    tables = Tables(
        ask(
            route(rule("web", path="/long/path"), hostnames=["*.example"], age=9, name="wide"),
            route(rule("api", path="/short"), hostnames=["a.example"]),
        )
    )
    assert [tables("a.example/short"), tables("a.example/long/path"), tables("b.example/long/path")] == [
        "api",
        "404",
        "web",
    ]


def test_a_request_is_its_closest_listeners_and_no_others() -> None:
    listeners = [listener("any"), listener("wide", hostname="*.example"), listener("own", hostname="a.example")]
    tables = Tables(
        ask(
            gateway(*listeners),
            route(rule("web"), parent={"sectionName": "any"}, name="any"),
            route(rule("api"), parent={"sectionName": "wide"}, name="wide", hostnames=["a.example", "b.example"]),
        )
    )
    assert [tables("else/"), tables("b.example/"), tables("c.example/"), tables("a.example/")] == [
        "web",
        "api",
        "404",
        "404",
    ]


def test_ports_have_tables_of_their_own() -> None:
    found = ask(
        gateway(listener(), listener("more", 8080)),
        route(rule("web"), parent={"port": 80}, name="a"),
        route(rule("api"), parent={"sectionName": "more"}, name="b"),
    )
    assert Tables(found)("h/") == "web"
    assert Tables(found)("h/", port=8080) == "api"
    assert [(one.port, one.inside) for one in found.entrances] == [(80, 12000), (8080, 12001)]


def test_ports_inside_stay_what_they_were() -> None:
    found = ask(gateway(listener(), listener("b", 81)), inside={("shop/front", 81): 12000})
    assert [(one.port, one.inside) for one in found.entrances] == [(80, 12001), (81, 12000)]


def weights(found: Any) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in found["route"]["weighted_clusters"]["clusters"]}


def test_weights() -> None:
    found = ask(route(rule(to("web", weight=90), to("api", weight=10), to("old", weight=0))))
    assert weights(Tables(found).route("h/")) == {"shop/web:80": 90, "shop/api:80": 10}
    assert set(found.clusters) == {"shop/web:80", "shop/api:80"}


def test_a_backend_that_is_not_there_has_its_share_of_errors() -> None:
    found = ask(route(rule(to("web", weight=3), to("nobody", weight=1))))
    sent = Tables(found).route("h/")
    assert weights(sent) == {"shop/web:80": 3, "nowhere": 1}
    assert sent["route"]["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    assert said(found)["Accepted"].holds
    assert said(found)["ResolvedRefs"][1:] == (False, "BackendNotFound", "Service shop/nobody does not exist.")


@pytest.mark.parametrize("backends", [[], [to("web", weight=0)]])
def test_a_rule_that_leads_nowhere_answers_500(backends: list[dict[str, Any]]) -> None:
    assert Tables(ask(route(rule(*backends))))("h/") == "500"


def test_headers_are_set_added_and_removed() -> None:
    changes = {
        "set": [{"name": "A", "value": "100%"}],
        "add": [{"name": "B", "value": "b"}],
        "remove": ["C"],
    }
    sent = Tables(ask(route(filtered("RequestHeaderModifier", "requestHeaderModifier", changes, "web")))).route("h/")
    assert sent["request_headers_to_remove"] == ["C"]
    assert [(one["header"], one["append_action"]) for one in sent["request_headers_to_add"]] == [
        ({"key": "A", "value": "100%%"}, "OVERWRITE_IF_EXISTS_OR_ADD"),
        ({"key": "B", "value": "b"}, "APPEND_IF_EXISTS_OR_ADD"),
    ]
    sent = Tables(ask(route(filtered("ResponseHeaderModifier", "responseHeaderModifier", changes, "web")))).route("h/")
    assert "request_headers_to_add" not in sent
    assert sent["response_headers_to_remove"] == ["C"]


def test_filters_of_a_backend_are_its_own() -> None:
    own = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "A", "value": "1"}]}}
    sent = Tables(ask(route(rule(to("web", filters=[own]), "api")))).route("h/")
    first, second = sent["route"]["weighted_clusters"]["clusters"]
    assert first["request_headers_to_add"][0]["header"] == {"key": "A", "value": "1"}
    assert "request_headers_to_add" not in second


@pytest.mark.parametrize(
    ("asked", "port", "redirect"),
    [
        ({"hostname": "b.example"}, 80, {"host_redirect": "b.example", "response_code": "FOUND"}),
        ({"statusCode": 301}, 8080, {"port_redirect": 8080, "response_code": "MOVED_PERMANENTLY"}),
        ({"scheme": "https"}, 80, {"scheme_redirect": "https"}),
        ({"scheme": "https"}, 8080, {"scheme_redirect": "https", "port_redirect": 443}),
        ({"scheme": "https", "port": 8443}, 80, {"scheme_redirect": "https", "port_redirect": 8443}),
        ({"scheme": "http", "port": 80, "hostname": "b"}, 8080, {"scheme_redirect": "http", "host_redirect": "b"}),
        ({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}, 80, {"path_redirect": "/new"}),
        ({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}, 80, {"prefix_rewrite": "/new"}),
    ],
)
def test_redirects(asked: dict[str, Any], port: int, redirect: dict[str, Any]) -> None:
    sends = filtered("RequestRedirect", "requestRedirect", asked, path="/old")
    found = Tables(ask(gateway(listener(port=port)), route(sends))).route("h/old", port=port)
    assert found["redirect"] == {"response_code": "FOUND", **redirect}


def test_a_redirect_to_another_scheme_leaves_the_port_out_where_the_host_is_known() -> None:
    sends = route(filtered("RequestRedirect", "requestRedirect", {"scheme": "https"}), hostnames=["a.example"])
    found = Tables(ask(gateway(listener(port=8080)), sends)).route("a.example/", port=8080)["redirect"]
    assert found == {"response_code": "FOUND", "scheme_redirect": "https", "host_redirect": "a.example"}


@pytest.mark.parametrize(
    ("path", "new", "rewritten"),
    [
        ("/foo", "/xyz", {"prefix_rewrite": "/xyz"}),
        ("/foo/", "/xyz/", {"prefix_rewrite": "/xyz"}),
        ("/", "/xyz", {"prefix_rewrite": "/xyz/"}),
        ("/foo", "/", {"regex_rewrite": {"pattern": {"regex": "^/foo/*"}, "substitution": "/"}}),
        ("/f.o", "", {"regex_rewrite": {"pattern": {"regex": r"^/f\.o/*"}, "substitution": "/"}}),
        ("/", "/", {}),
    ],
)
def test_another_prefix(path: str, new: str, rewritten: dict[str, Any]) -> None:
    change = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": new}, "hostname": "inner.example"}
    sent = Tables(ask(route(filtered("URLRewrite", "urlRewrite", change, "web", path=path)))).route(f"h{path}")["route"]
    assert sent["host_rewrite_literal"] == "inner.example"
    assert {key: one for key, one in sent.items() if key.endswith("rewrite")} == rewritten


def test_copies_go_to_others_too() -> None:
    mirror = {"backendRef": to("api"), "fraction": {"numerator": 1, "denominator": 4}}
    sent = Tables(ask(route(filtered("RequestMirror", "requestMirror", mirror, "web")))).route("h/")["route"]
    (copy,) = sent["request_mirror_policies"]
    assert copy["cluster"] == "shop/api:80"
    assert copy["runtime_fraction"]["default_value"] == {"numerator": 250_000, "denominator": "MILLION"}


@pytest.mark.parametrize("own", [{}, {"method": "PUT"}, {"method": "POST"}])
def test_only_idempotent_requests_are_sent_again_after_a_reset(own: dict[str, str]) -> None:
    tables = Tables(ask(route(rule("web", headers={"a": "b"}, **own))))
    for method in own.values() or ("GET", "HEAD", "PUT", "POST", "PATCH"):
        found = tables.route("any.example/", method, a="b")["route"]
        again = found.get("retry_policy", RETRY_POLICY)["retry_on"].split(",")
        assert ("reset" in again) == (method in IDEMPOTENT), method
        assert "connect-failure" in again


def test_time_outs() -> None:
    sent = Tables(ask(route(rule("web", timeouts={"request": "1m30s", "backendRequest": "500ms"})))).route("h/")
    assert sent["route"]["timeout"] == "90s"
    assert sent["route"]["retry_policy"]["per_try_timeout"] == "0.5s"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (rule("web", filters=[{"type": "CORS", "cors": {}}]), "The filter CORS is not supported."),
        (rule("web", matches=[{"path": {"type": "RegularExpression", "value": "/a"}}]), "Paths of type"),
        (rule("web", headers={"a b": "c"}), "Headers cannot be"),
        (rule("web", path="/a?b"), "No request has the path"),
        (rule("web", method="FETCH"), "There is no method FETCH."),
        (rule("web", timeouts={"request": "soon"}), '"soon" is no duration.'),
        (rule(to("web", weight=10_000_000)), "A weight is at most"),
        (rule(to("web", weight="many")), "cannot be read"),
        (filtered("RequestHeaderModifier", "requestHeaderModifier", {"remove": [":path"]}, "web"), "cannot be changed"),
        (filtered("RequestHeaderModifier", "requestHeaderModifier", {"remove": ["Host"]}, "web"), "cannot be changed"),
        (filtered("RequestRedirect", "requestRedirect", {"statusCode": 200}), "cannot have the status 200"),
        (filtered("RequestRedirect", "requestRedirect", {"scheme": "gopher"}), "no redirect to the scheme gopher"),
        (filtered("URLRewrite", "urlRewrite", {"hostname": "a b"}, "web"), "is no host name"),
    ],
)
def test_a_route_that_is_wrong_says_why_and_breaks_no_other(wrong: dict[str, Any], sentence: str) -> None:
    found = ask(route(wrong), route(rule("api"), name="right"))
    assert said(found)["Accepted"][1:3] == (False, "UnsupportedValue")
    assert sentence in said(found)["Accepted"].message
    assert Tables(found)("h/") == "api"
