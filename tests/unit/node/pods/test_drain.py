"""When nobody sends a pod new connections any more, which open ones count, and what is told of it."""

from __future__ import annotations

import pytest

from skerry.api.types import core, discovery, meta
from skerry.node.pods.drain import Behind, Endpoints, Report, busy, pods_of

US = "uid-1"
MANAGED = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}


def endpoint(uid=US, node="node-1", **conditions):
    return discovery.Endpoint(
        addresses=["10.244.1.5"],
        node_name=node,
        conditions=discovery.EndpointConditions(**conditions),
        target_ref=core.ObjectReference(kind="Pod", uid=uid) if uid else None,
    )


READY = {"ready": True, "serving": True, "terminating": False}
LEAVING = {"ready": False, "serving": True, "terminating": True}
OTHER = {"uid": "uid-2", **READY}


def slices(revision, *endpoints, service="web", labels=MANAGED, ports=(("TCP", 80),)):
    return discovery.EndpointSlice(
        metadata=meta.ObjectMeta(
            name="s",
            namespace="default",
            labels={"kubernetes.io/service-name": service, **labels},
            resource_version=str(revision),
        ),
        address_type="IPv4",
        endpoints=[endpoint(**one) for one in endpoints],
        ports=[discovery.EndpointPort(name="", protocol=protocol, port=port) for protocol, port in ports],
    )


HEADLESS = {**MANAGED, "service.kubernetes.io/headless": ""}
A, B = "default/a", "default/b"
CASES = {
    "no slice": ([], set(), {}),
    "ready": ([(A, slices(5, READY), False)], {A}, {"proxy": 5}),
    "then terminating": ([(A, slices(5, READY), False), (A, slices(7, LEAVING), False)], set(), {"proxy": 7}),
    "terminating from the start": ([(A, slices(7, LEAVING, OTHER), False)], set(), {"proxy": 7}),
    "then out of the slice": ([(A, slices(5, READY), False), (A, slices(8, OTHER), False)], set(), {"proxy": 8}),
    "then no slice": ([(A, slices(5, READY), False), (A, slices(9, READY), True)], set(), {"proxy": 9}),
    "not ready before, not marked yet": ([(A, slices(5, {"ready": False}), False)], {A}, {"proxy": 5}),
    "published though not ready": ([(A, slices(5, {**LEAVING, "ready": True}), False)], set(), {"proxy": 5}),
    "moved to another slice": (
        [(A, slices(5, READY), False), (B, slices(6, LEAVING), False), (A, slices(8), False)],
        set(),
        {"proxy": 8},
    ),
    "one Service of two": (
        [(A, slices(5, LEAVING), False), (B, slices(6, READY, service="too"), False)],
        {B},
        {"proxy": 6},
    ),
    "headless": ([(A, slices(5, LEAVING, labels=HEADLESS), False)], set(), {"dns": 5}),
    "headless and not": (
        [(A, slices(5, LEAVING, labels=HEADLESS), False), (B, slices(4, LEAVING), False)],
        set(),
        {"dns": 5, "proxy": 4},
    ),
    "another pod's": ([(A, slices(5, OTHER), False)], set(), {}),
    "no pod named": ([(A, slices(5, {"uid": "", **READY}), False)], set(), {}),
    "written by hand": ([(A, slices(5, READY, labels={}), False)], set(), {}),
    "of no Service": ([(A, slices(5, READY, service=""), False)], set(), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_which_slices_hold_a_pod_up(name):
    events, sending, needed = CASES[name]
    found = Endpoints(US)
    for key, one, gone in events:
        found.on_slice(key, one, gone=gone)
    assert (found.sending, found.needed) == (sending, needed)


def test_only_what_concerns_the_pod_is_news():
    found = Endpoints(US)
    assert not found.on_slice(A, slices(5, OTHER))
    assert found.on_slice(A, slices(6, READY, OTHER))
    assert found.on_slice(A, slices(7, OTHER))


def test_the_ports_are_those_that_services_lead_to():
    found = Endpoints(US)
    found.on_slice(A, slices(5, LEAVING, ports=[("TCP", 80), ("UDP", 53), ("TCP", 443)]))
    found.on_slice(B, slices(6, LEAVING, ports=[("TCP", 8080), ("TCP", None)]))
    assert found.ports == {80, 443, 8080}


@pytest.mark.parametrize(
    ("applied", "behind"),
    [
        ({("node-1", "proxy"): 7, ("node-2", "proxy"): 9}, []),
        ({("node-1", "proxy"): 7, ("node-2", "proxy"): 6}, ["node-2"]),
        ({("node-1", "proxy"): 7}, ["node-2"]),
        ({("node-1", "proxy"): 7, ("node-2", "dns"): 7}, ["node-2"]),
        ({("node-1", "proxy"): 8, ("node-2", "proxy"): 8, ("node-3", "proxy"): 0}, []),
        ({}, ["node-1", "node-2"]),
    ],
)
def test_who_is_behind(applied, behind):
    found = Endpoints(US)
    found.on_slice(A, slices(7, LEAVING))
    told = {Behind(*who): revision for who, revision in applied.items()}
    assert found.behind(["node-1", "node-2"], told) == [Behind(node, "proxy") for node in behind]


@pytest.mark.parametrize(
    ("applied", "behind"),
    [
        ({}, []),
        ({("node-2", "gateway"): 7}, []),
        ({("node-2", "gateway"): 6}, [Behind("node-2", "gateway")]),
        ({("node-3", "gateway"): 6}, []),
    ],
    ids=["there is none", "has applied it", "has not", "is on a dead node"],
)
def test_the_gateway_is_waited_for_where_there_is_one(applied, behind):
    found = Endpoints(US)
    found.on_slice(A, slices(7, LEAVING))
    proxies = {Behind(node, "proxy"): 7 for node in ("node-1", "node-2")}
    told = proxies | {Behind(*who): revision for who, revision in applied.items()}
    assert found.behind(["node-1", "node-2"], told) == behind


@pytest.mark.parametrize(
    ("what", "sent_ago", "received_ago", "received", "waiting", "expected"),
    [
        ("a request that is worked at", 9.0, 3.0, 100, 0, True),
        ("its answer is out for a while", 2.0, 2.5, 100, 0, False),
        ("in one tick of the clock", 2.0, 2.0, 100, 0, False),
        ("answered just now", 0.01, 0.02, 100, 0, True),
        ("a large answer still on its way", 2.0, 2.5, 100, 70_000, True),
        ("connected just now", 0.001, 0.001, 0, 0, True),
        ("connected and silent", 2.0, 2.0, 0, 0, False),
        ("being made", 0.0, 0.0, 0, 0, True),
        ("the program has spoken first", 2.0, 5.0, 0, 0, False),
    ],
)
def test_which_connections_are_in_use(what, sent_ago, received_ago, received, waiting, expected):
    assert busy(sent_ago, received_ago, received, waiting) is expected, what


def test_the_index_knows_the_pods_of_its_node():
    found = slices(5, READY, {"uid": "uid-2", "node": "node-2"}, {"uid": ""})
    assert list(pods_of(found, "node-1")) == [US]
    assert list(pods_of(slices(5, READY, labels={}), "node-1")) == []


@pytest.mark.parametrize(
    ("report", "kind", "message"),
    [
        (
            Report(told=3, acknowledged_after=0.012, first=4, ended_after=0.23),
            ("Normal", "Drained"),
            "3 proxies stopped sending new connections after 12 ms; 4 open connections ended after 230 ms",
        ),
        (
            Report(told=1, acknowledged_after=0.0),
            ("Normal", "Drained"),
            "1 proxy stopped sending new connections after 0 ms; no connection was open",
        ),
        (
            Report(told=2, names=2, acknowledged_after=1.25, first=3, left=2, ended_after=1.0),
            ("Normal", "Drained"),
            (
                "2 proxies and 2 name servers stopped sending new connections after 1.2 s; "
                "3 open connections ended after 1.0 s, 2 of them idle and left to the program"
            ),
        ),
        (
            Report(told=2, acknowledged_after=5.0, late=(Behind("node-2", "proxy"),), first=1, ended_after=0.1),
            ("Warning", "DrainTimedOut"),
            (
                "after 5.0 s these had not acknowledged that it gets no new connections: proxy of node-2; "
                "1 open connection ended after 100 ms"
            ),
        ),
        (
            Report(told=1, acknowledged_after=0.02, first=5, busy=2, left=3, ended_after=9.98),
            ("Normal", "DrainTimedOut"),
            "1 proxy stopped sending new connections after 20 ms; 2 of 5 open connections still in use after 10.0 s",
        ),
        (
            Report(acknowledged_after=5.0, still_sending=True),
            ("Warning", "DrainTimedOut"),
            "after 5.0 s its EndpointSlices still led new connections to it; no connection was open",
        ),
    ],
)
def test_what_people_are_told(report, kind, message):
    event = report.event()
    assert (event.type, event.reason) == kind
    assert event.message == message
