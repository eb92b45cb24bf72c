"""Gateways: classes, listeners, who may attach and refer, and the statuses that say so, with upstream's reasons."""

from __future__ import annotations

from typing import Any

import pytest
from tests.helpers.tls import pair
from tests.unit.gateway.build import secret, service
from tests.unit.gateway.routing import (
    Tables,
    ask,
    gateway,
    gateway_class,
    grant,
    listener,
    route,
    rule,
    said,
    to,
)

from skerry.gateway.routes import conditions, hosts
from skerry.gateway.routes.model import Wanted
from skerry.gateway.routes.objects import CONTROLLER, GROUP
from skerry.gateway.routes.publish import service as service_of
from skerry.gateway.routes.publish import service_name

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def https(*names: str, mode: str = "Terminate", **more: Any) -> dict[str, Any]:
    refs = more.pop("refs", None) or [{"name": name} for name in names]
    tls = {"mode": mode, "certificateRefs": refs}
    return listener(more.pop("name", "https"), 443, protocol="HTTPS", tls=tls, **more)


def verdict(found: Wanted, index: int = 0) -> dict[str, tuple[bool, str]]:
    """Of a listener of the Gateway front."""
    one = found.gateways["shop/front"].listeners[index]
    return {each.type: (each.holds, each.reason) for each in one.conditions}


def test_only_gateways_of_our_classes_are_ours() -> None:
    others = gateway(name="others", gatewayClassName="other")
    found = ask(gateway(), others, route(rule("web"), parents=[{"name": "others"}]))
    assert list(found.gateways) == ["shop/front"]
    assert found.routes == {}
    assert {name: one.reason for name, one in found.classes.items()} == {"skerry": "Accepted"}


def test_a_class_with_parameters_is_not_accepted() -> None:
    found = ask(gateway_class(parametersRef={"group": "", "kind": "ConfigMap", "name": "x"}), gateway())
    assert (found.classes["skerry"].holds, found.classes["skerry"].reason) == (False, "InvalidParameters")
    assert found.gateways == {}


def test_a_good_gateway_with_a_route() -> None:
    found = ask(route(rule("web")))
    one = found.gateways["shop/front"]
    assert one.accepted[1:3] == (True, "Accepted")
    assert verdict(found) == {
        "Accepted": (True, "Accepted"),
        "ResolvedRefs": (True, "ResolvedRefs"),
        "Conflicted": (False, "NoConflicts"),
    }
    assert (one.listeners[0].attached, one.listeners[0].kinds, one.ports) == (1, ("HTTPRoute",), ((80, False),))
    assert {name: each[1:3] for name, each in said(found).items()} == {
        "Accepted": (True, "Accepted"),
        "ResolvedRefs": (True, "ResolvedRefs"),
    }


@pytest.mark.parametrize(
    ("one", "condition", "reason"),
    [
        (listener(protocol="TCP"), "Accepted", "UnsupportedProtocol"),
        (listener(port=70000), "Accepted", "PortUnavailable"),
        (listener(hostname="a b"), "Accepted", "UnsupportedValue"),
        (https("a", mode="Passthrough"), "Accepted", "UnsupportedValue"),
        (https(), "ResolvedRefs", "InvalidCertificateRef"),
        (https("missing"), "ResolvedRefs", "InvalidCertificateRef"),
        (https(refs=[{"kind": "ConfigMap", "name": "a"}]), "ResolvedRefs", "InvalidCertificateRef"),
        (https(refs=[{"name": "a", "namespace": "other"}]), "ResolvedRefs", "RefNotPermitted"),
    ],
)
def test_a_listener_that_is_wrong_leaves_the_others(one: dict[str, Any], condition: str, reason: str) -> None:
    found = ask(gateway(listener("good", 8080), {**one, "name": "wrong"}), route(rule("web")))
    assert verdict(found, 1)[condition] == (False, reason)
    assert not found.gateways["shop/front"].listeners[1].valid
    assert found.gateways["shop/front"].accepted[1:3] == (True, "ListenersNotValid")
    assert found.gateways["shop/front"].ports == ((8080, False),)
    assert Tables(found)("h/", port=8080) == "web"


def test_a_gateway_without_a_good_listener_is_not_accepted() -> None:
    found = ask(gateway(listener(protocol="UDP")), route(rule("web")))
    assert found.gateways["shop/front"].accepted[1:3] == (False, "ListenersNotValid")
    assert found.entrances == ()


def test_a_gateway_cannot_choose_its_address() -> None:
    found = ask(gateway(addresses=[{"type": "IPAddress", "value": "192.0.2.1"}]))
    assert found.gateways["shop/front"].accepted[1:3] == (False, "UnsupportedAddress")


def test_a_gateway_that_cannot_be_read_breaks_no_other() -> None:
    found = ask(gateway(name="bad", listeners="none"), gateway(), route(rule("web")))
    assert found.gateways["shop/bad"].accepted[1:3] == (False, "Invalid")
    assert Tables(found)("h/") == "web"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (listener("b"), "HostnameConflict"),
        (listener("b", protocol="HTTPS", tls={"certificateRefs": [{"name": "a"}]}), "ProtocolConflict"),
    ],
)
def test_listeners_that_contradict_each_other_are_none(second: dict[str, Any], reason: str) -> None:
    found = ask(gateway(listener("a"), second, listener("c", 8080)))
    assert verdict(found, 0)["Conflicted"] == verdict(found, 1)["Conflicted"] == (True, reason)
    assert found.gateways["shop/front"].ports == ((8080, False),)


def test_kinds_of_routes() -> None:
    both, other = [{"kind": "HTTPRoute"}, {"kind": "TCPRoute"}], [{"kind": "TCPRoute"}]
    found = ask(gateway(listener(allowedRoutes={"kinds": both})), route(rule("web")))
    assert verdict(found)["ResolvedRefs"] == (False, "InvalidRouteKinds")
    assert found.gateways["shop/front"].listeners[0].kinds == ("HTTPRoute",)
    assert said(found)["Accepted"].holds
    found = ask(gateway(listener(allowedRoutes={"kinds": other})), route(rule("web")))
    assert found.gateways["shop/front"].listeners[0].kinds == ()
    assert said(found)["Accepted"].reason == "NotAllowedByListeners"


@pytest.mark.parametrize(
    ("parent", "reason"),
    [
        ({}, "Accepted"),
        ({"sectionName": "http"}, "Accepted"),
        ({"port": 80}, "Accepted"),
        ({"sectionName": "http", "port": 80}, "Accepted"),
        ({"sectionName": "none"}, "NoMatchingParent"),
        ({"port": 81}, "NoMatchingParent"),
        ({"sectionName": "http", "port": 8080}, "NoMatchingParent"),
    ],
)
def test_what_a_route_asks_for(parent: dict[str, Any], reason: str) -> None:
    found = ask(gateway(listener(), listener("more", 8080)), route(rule("web"), parent=parent))
    assert said(found)["Accepted"].reason == reason


@pytest.mark.parametrize(
    ("namespaces", "accepted"),
    [
        ({}, False),
        ({"from": "Same"}, False),
        ({"from": "All"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}, False),
        ({"from": "Selector"}, False),
    ],
)
def test_routes_of_other_namespaces(namespaces: dict[str, Any], accepted: bool) -> None:
    own = listener(allowedRoutes={"namespaces": namespaces})
    found = ask(gateway(own), route(rule("web"), namespace="other", parent={"namespace": "shop"}))
    condition = said(found, "other/route")["Accepted"]
    assert condition[1:3] == ((True, "Accepted") if accepted else (False, "NotAllowedByListeners"))
    assert found.gateways["shop/front"].listeners[0].attached == int(accepted)


def test_a_route_counts_once_however_often_it_names_a_gateway() -> None:
    parents = [{"name": "front"}, {"name": "front", "sectionName": "http"}, {"name": "nobody"}, {"kind": "Service"}]
    found = ask(route(rule("web"), parents=parents))
    assert found.gateways["shop/front"].listeners[0].attached == 1
    assert len(found.routes["shop/route"]) == 2


def test_services_of_other_namespaces_need_a_grant() -> None:
    there = [service("web", namespace="other")]
    asked = route(rule(to("web", namespace="other")))
    found = ask(asked, services=there)
    assert said(found)["ResolvedRefs"][1:3] == (False, "RefNotPermitted")
    assert Tables(found).route("h/")["route"]["cluster"] == "nowhere"
    assert said(ask(asked, grant("another", "other"), services=there))["ResolvedRefs"].reason == "RefNotPermitted"
    assert said(ask(asked, grant("shop", "shop"), services=there))["ResolvedRefs"].reason == "RefNotPermitted"
    found = ask(asked, grant("shop", "other"), services=there)
    assert said(found)["ResolvedRefs"].holds
    assert Tables(found).route("h/")["route"]["cluster"] == "other/web:80"


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (to("nobody"), "BackendNotFound"),
        (to("web", port=81), "BackendNotFound"),
        ({"name": "web"}, "BackendNotFound"),
        (to("web", kind="Bucket", group="example.com"), "InvalidKind"),
    ],
)
def test_a_backend_that_cannot_be_used(backend: dict[str, Any], reason: str) -> None:
    found = ask(route(rule(backend)))
    assert said(found)["ResolvedRefs"][1:3] == (False, reason)
    assert said(found)["Accepted"].holds


def test_certificates_are_shown_by_host() -> None:
    secrets = [secret("a", *pair("a.example")), secret("b", *pair("b.example"))]
    listeners = [https("a", "b", name="a", hostname="a.example"), https("b", name="b")]
    found = ask(gateway(*listeners), secrets=secrets)
    (entrance,) = found.entrances
    assert entrance.tls
    assert entrance.shown == (("", ("shop/b",)), ("a.example", ("shop/a", "shop/b")))
    assert found.secrets == {"shop/a", "shop/b"} == set(found.certificates)


def test_a_certificate_that_went_bad_stays() -> None:
    good = ask(gateway(https("a")), secrets=[secret("a", *pair("a.example"))])
    found = ask(gateway(https("a")), secrets=[secret("a", b"no", b"no")], last_good=good.certificates)
    assert verdict(found)["ResolvedRefs"] == (False, "InvalidCertificateRef")
    assert found.certificates == good.certificates
    assert found.gateways["shop/front"].listeners[0].valid


def test_more_ports_than_there_are_is_said() -> None:
    crowd = [gateway(*(listener(f"l{n}", 8000 + n) for n in range(33)), name="front")]
    found = ask(*crowd)
    assert len(found.entrances) == 32
    assert verdict(found, 32)["Accepted"] == (False, "PortUnavailable")


# Statuses.


def status(found: Wanted, one: Any, up: bool = True, addresses: bool = True, now: str = NOW) -> Any:
    places = [{"type": "IPAddress", "value": "127.1.0.1"}] if addresses else []
    return conditions.gateway_status(one, found.gateways["shop/front"], places, up=up, now=now)


def reasons(said: Any) -> dict[str, str]:
    return {one["type"]: one["reason"] for one in said["conditions"]}


def test_a_gateway_is_programmed_when_it_has_an_address_and_envoy_runs() -> None:
    one = gateway()
    found = ask(one)
    made = status(found, one)
    assert reasons(made) == {"Accepted": "Accepted", "Programmed": "Programmed"}
    assert reasons(made["listeners"][0])["Programmed"] == "Programmed"
    assert made["listeners"][0]["supportedKinds"] == [{"group": GROUP, "kind": "HTTPRoute"}]
    assert {each["observedGeneration"] for each in made["conditions"]} == {3}
    assert reasons(status(found, one, addresses=False))["Programmed"] == "AddressNotAssigned"
    assert reasons(status(found, one, up=False))["Programmed"] == "Pending"


def test_times_change_with_what_they_are_about() -> None:
    one = gateway()
    found = ask(one)
    one.content["status"] = status(found, one, up=False)
    assert status(found, one, up=False, now=LATER) == one.content["status"]
    times = {each["type"]: each["lastTransitionTime"] for each in status(found, one, now=LATER)["conditions"]}
    assert times == {"Accepted": NOW, "Programmed": LATER}


def test_conditions_and_parents_of_others_stay() -> None:
    one = route(rule("web"))
    theirs = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []}
    ours = {"parentRef": {"name": "gone"}, "controllerName": CONTROLLER, "conditions": []}
    one.content["status"] = {"parents": [ours, theirs]}
    made = conditions.route_status(one, ask(one).routes["shop/route"], NOW)["parents"]
    assert made[0] == theirs
    assert [each["parentRef"] for each in made[1:]] == [{"group": GROUP, "kind": "Gateway", "name": "front"}]
    assert conditions.speaks_of_us(one)
    assert conditions.route_status(one, (), NOW) == {"parents": [theirs]}
    made = conditions.class_status(gateway_class(), ask().classes["skerry"], NOW)
    assert reasons(made) == {"Accepted": "Accepted"}


def test_the_service_of_a_gateway() -> None:
    one = gateway(listener(), listener("b", 8081))
    made = service_of(one, ask(one).gateways["shop/front"])
    assert (made.metadata.name, made.metadata.namespace) == ("gateway-front", "shop")
    assert [(each.name, each.port) for each in made.spec.ports] == [("port-80", 80), ("port-8081", 8081)]
    assert len(service_name("long." * 40)) == 63


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("", "", ""),
        ("", "*.a", "*.a"),
        ("*.a", "*.b.a", "*.b.a"),
        ("*.a", "b.c.a", "b.c.a"),
        ("*.a", "a", None),
        ("b.a", "c.a", None),
        ("*.a", "*.b", None),
        ("*.a", "xa", None),
    ],
)
def test_common_hosts(one: str, other: str, common: str | None) -> None:
    assert hosts.both(one, other) == hosts.both(other, one) == common
