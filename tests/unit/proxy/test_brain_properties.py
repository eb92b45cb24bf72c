"""Whatever happens in whatever order, the brain's table is what one would work out from nothing.

`full` is the rules once more, as plainly as they can be written: it looks at everything, keeps nothing, and shares no
code with the brain.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.proxy.build import NODE, endpoint, port, service, slice_of

from skerry.api.types import core, discovery
from skerry.proxy.brain import Brain
from skerry.proxy.table import Change, Frontend

NAMES = ("a", "b", "c")
POLICIES = st.sampled_from(["Cluster", "Local"])


@st.composite
def services(draw: st.DrawFn) -> core.Service:
    name = draw(st.sampled_from(NAMES))
    ports = [port(80, "web", node_port=draw(st.sampled_from([0, 30080]))), port(53, "dns", "UDP", 30053)]
    return service(
        name,
        draw(st.sampled_from(["10.96.0.1", "10.96.0.2", "None"])),
        *ports[: draw(st.integers(1, 2))],
        type=draw(st.sampled_from(["ClusterIP", "NodePort"])),
        internal_traffic_policy=draw(POLICIES),
        external_traffic_policy=draw(POLICIES),
        external_i_ps=draw(st.sampled_from([[], ["192.0.2.1"]])),
    )


@st.composite
def slices(draw: st.DrawFn) -> discovery.EndpointSlice:
    endpoints = [
        endpoint(
            f"10.244.1.{last}",
            ready=draw(st.sampled_from([True, True, False, None])),
            serving=draw(st.sampled_from([True, True, False, None])),
            terminating=draw(st.booleans()),
            node=draw(st.sampled_from(["a", "b", None])),
            zones=draw(st.sampled_from([[], ["east"], ["west"]])),
            nodes=draw(st.sampled_from([[], [], ["a"], ["b"]])),
        )
        for last in draw(st.lists(st.integers(1, 4), max_size=4, unique=True))
    ]
    ports = [
        discovery.EndpointPort(name="web", protocol="TCP", port=8080),
        discovery.EndpointPort(name="dns", protocol="UDP", port=5353),
    ]
    return slice_of(
        *endpoints,
        of=draw(st.sampled_from(NAMES)),
        name=draw(st.sampled_from(["x", "y"])),
        ports=ports[: draw(st.integers(1, 2))],
    )


EVENTS = st.lists(
    st.one_of(services(), slices(), st.tuples(st.just("service"), st.sampled_from(NAMES)), st.just(("slice", "x"))),
    max_size=12,
)


def full(found: dict[str, core.Service], parts: dict[str, discovery.EndpointSlice]) -> dict[Frontend, Any]:
    table: dict[Frontend, Any] = {}
    for key, one in sorted(found.items(), reverse=True):  # the first in the alphabet has the last word
        if one.spec.cluster_ip == "None":
            continue
        for each in one.spec.ports:
            endpoints: dict[tuple[str, int], discovery.Endpoint] = {}
            for _, part in sorted(parts.items()):
                if part.metadata.labels["kubernetes.io/service-name"] == one.metadata.name:
                    for its in part.ports:
                        if (its.name, its.protocol) == (each.name, each.protocol):
                            for e in part.endpoints:
                                place = (e.addresses[0], its.port or 0)
                                if place not in endpoints or e.node_name == "a":
                                    endpoints[place] = e
            ready = {p for p, e in endpoints.items() if e.conditions.ready in (True, None)}
            leaving = {
                p
                for p, e in endpoints.items()
                if p not in ready and e.conditions.serving in (True, None) and e.conditions.terminating
            }
            here = {p for p, e in endpoints.items() if e.node_name == "a"}

            def hinted(what: str, name: str, ready: set[Any] = ready, endpoints: Any = endpoints) -> set[Any]:
                hints = {p: {h.name for h in getattr(endpoints[p].hints, what, [])} for p in ready}
                return {p for p in ready if name in hints[p]} if all(hints.values()) else set()

            cluster = hinted("for_nodes", "a") or hinted("for_zones", "east") or ready or leaving
            local = (ready & here) or (leaving & here)
            does: Any
            for policy, masquerade, frontends in (
                (one.spec.internal_traffic_policy, False, [(one.spec.cluster_ip, each.port)]),
                (
                    one.spec.external_traffic_policy,
                    one.spec.external_traffic_policy == "Cluster",
                    [(ip, each.port) for ip in one.spec.external_i_ps]
                    + ([("10.243.0.2", each.node_port)] if one.spec.type == "NodePort" and each.node_port else []),
                ),
            ):
                chosen = local if policy == "Local" else cluster
                does = chosen or ("DROP" if policy == "Local" and ready | leaving else "REJECT")
                for ip, number in frontends:
                    table[Frontend(ip, each.protocol, number)] = (key, does, masquerade)
    return table


@settings(max_examples=300, deadline=None)
@given(EVENTS)
def test_the_table_is_what_one_would_work_out_from_nothing(events: list[Any]) -> None:
    brain = Brain(NODE)
    found: dict[str, core.Service] = {}
    parts: dict[str, discovery.EndpointSlice] = {}
    mirror: dict[Frontend, Any] = {}
    for event in events:
        change = Change()
        if isinstance(event, core.Service):
            key = f"default/{event.metadata.name}"
            found[key] = event
            change = brain.apply_service(key, event)
        elif isinstance(event, discovery.EndpointSlice):
            key = f"default/{event.metadata.name}"
            parts[key] = event
            change = brain.apply_slice(key, event)
        elif event[0] == "service":
            found.pop(f"default/{event[1]}", None)
            change = brain.apply_service(f"default/{event[1]}", None)
        else:
            parts.pop("default/x", None)
            change = brain.apply_slice("default/x", None)

        table = brain.table
        now = {
            one: (
                entry.list.service,
                {tuple(each) for each in table.lists[entry.list]} or entry.empty.name,
                entry.masquerade,
            )
            for one, entry in table.frontends.items()
        }
        assert now == full(found, parts)
        # and the change named everything that differs
        for one in change.frontends:
            mirror.pop(one, None)
            if one in now:
                mirror[one] = now[one]
        assert mirror == now
        used = {entry.list for entry in table.frontends.values()}
        assert used <= set(table.lists)
        assert set(table.addresses) == {one.spec.cluster_ip for one in found.values()} - {"None"}
