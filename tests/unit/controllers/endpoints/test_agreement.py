"""Endpoints and EndpointSlices of one Service say the same of the same pods, and both say what the reference says.

Pods, nodes and Services at random, in more kinds than the state machine has. The two differ where the rules say so, and
nowhere else: Endpoints has one family, and no pod that is being deleted (unless it is published); slices have no pod
whose Node is not there, and have pods that none of the ports resolves in.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.controllers.endpoints import build, reference

from skerry.api.types import core, meta
from skerry.controllers.endpoints import endpoints, placement, slices
from skerry.controllers.endpoints.plan import Plan

NODES = {
    "node-1": core.Node(metadata=meta.ObjectMeta(name="node-1", labels={slices.ZONE_LABEL: "a"})),
    "node-2": core.Node(metadata=meta.ObjectMeta(name="node-2")),
}
PORTS: list[list[core.ServicePort]] = [
    [build.port()],
    [build.port("web", target="http")],
    [build.port("web", target="http"), build.port("admin", number=81, target="admin")],
    [build.port("dns", number=53, target=53, protocol="UDP"), build.port("dns-tcp", number=53, target=53)],
    [],
]


@st.composite
def services(draw: st.DrawFn) -> core.Service:
    headless = draw(st.booleans())
    return build.service(
        ports=draw(st.sampled_from(PORTS if headless else PORTS[:-1])),
        cluster_ip="None" if headless else "10.96.0.20",
        ip_families=draw(st.sampled_from([["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"]])),
        publish_not_ready_addresses=draw(st.booleans()),
        traffic_distribution=draw(st.sampled_from([None, "PreferSameZone"])),
        labels=draw(st.sampled_from([{}, {"team": "a"}])),
    )


@st.composite
def pods(draw: st.DrawFn, number: int) -> core.Pod:
    own = (f"10.0.0.{number}", f"2001:db8::{number}")
    return build.pod(
        f"web-{number}",
        *own[: draw(st.integers(0, 2))],
        ready=draw(st.sampled_from([True, True, False, None])),
        deleting=draw(st.booleans()),
        phase=draw(st.sampled_from(["Pending", "Running", "Running", "Failed", "Succeeded", "Unknown"])),
        node=draw(st.sampled_from(["node-1", "node-2", "gone"])),
        ports=draw(st.sampled_from([{}, {"http": 8080}, {"http": 8081, "admin": 9}, {"admin": 9}])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[core.Service, list[core.Pod]]:
    return draw(services()), [draw(pods(number)) for number in range(1, draw(st.integers(1, 8)))]


def by_slices(service: core.Service, found: dict[reference.Entry, int], terminating: set[str]) -> set[reference.Entry]:
    """What the slices of the first family say, in the form in which Endpoints says it."""
    out: set[reference.Entry] = set()
    for (family, ports, ips, (ready, _, _), uid, node, _, _), count in found.items():
        assert count == 1, "no endpoint is in two slices"
        if family != service.spec.ip_families[0]:
            continue
        if uid in terminating and not service.spec.publish_not_ready_addresses:
            continue
        none: frozenset[Any] = frozenset([None]) if not service.spec.ports else frozenset()
        out |= {(ready, ips[0], uid, node or "", port) for port in (ports or none)}
    return out


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_both_say_the_same_of_the_same_pods(given: tuple[core.Service, list[core.Pod]]) -> None:
    service, some = given
    made = endpoints.decide(service, some, None)
    plan = placement.reconcile(service, some, NODES.get, [], max_endpoints=2)
    assert made is not None and plan.create
    told = reference.seen_addresses(made)
    sliced = reference.seen_endpoints(plan.create)
    assert told == reference.addresses(service, some)
    assert sliced == reference.endpoints(service, some, NODES)
    published = service.spec.publish_not_ready_addresses
    lost = {one.metadata.uid for one in some if one.spec.node_name not in NODES} if not published else set()
    terminating = {one.metadata.uid for one in some if one.metadata.deletion_timestamp}
    assert by_slices(service, sliced, terminating) == {entry for entry in told if entry[2] not in lost}
    assert {one.address_type for one in plan.create} == set(service.spec.ip_families), "a slice of each family (L29)"
    assert all(len(one.endpoints) <= 2 for one in plan.create)


@settings(max_examples=100, deadline=None)
@given(worlds(), worlds())
def test_no_order_of_writes_takes_a_good_endpoint_away(
    before: tuple[core.Service, list[core.Pod]], after: tuple[core.Service, list[core.Pod]]
) -> None:
    """One write after the other (L32), whoever is ready before and afterwards is in some slice all the time."""
    service, earlier = before
    later = after[1]
    store = build.Store()
    store.apply(placement.reconcile(service, earlier, NODES.get, [], max_endpoints=2))
    assert not placement.reconcile(service, earlier, NODES.get, list(store.slices.values()), max_endpoints=2)
    plan = placement.reconcile(service, later, NODES.get, list(store.slices.values()), max_endpoints=2)

    def ready() -> set[reference.Entry]:
        found = reference.seen_endpoints(list(store.slices.values()))
        return {(family, ports, ips, uid) for family, ports, ips, (good, _, _), uid, *_ in found if good}

    first = ready()
    last = reference.endpoints(service, later, NODES)
    safe = first & {(family, ports, ips, uid) for family, ports, ips, (good, _, _), uid, *_ in last if good}
    for one in plan.create:
        store.apply(Plan(create=[one]))
        assert safe <= ready()
    for one in plan.update:
        store.apply(Plan(update=[one]))
        assert safe <= ready()
    for one in plan.delete:
        store.apply(Plan(delete=[one]))
        assert safe <= ready()
    assert reference.seen_endpoints(list(store.slices.values())) == last
