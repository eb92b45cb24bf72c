"""What is kept from one change to the next says the same as what is made of everything at once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.controllers.endpoints import build

from skerry.api import codec
from skerry.api.subsets import repack
from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import endpoints, members, placement, slices
from skerry.controllers.endpoints.books import Books
from skerry.controllers.endpoints.placement import Placement
from skerry.controllers.endpoints.roster import Roster
from skerry.controllers.endpoints.select import PodIndex

NODES = {
    "node-1": core.Node(metadata=meta.ObjectMeta(name="node-1", labels={slices.ZONE_LABEL: "a"})),
    "node-2": core.Node(metadata=meta.ObjectMeta(name="node-2")),
}

services = st.builds(
    build.service,
    ports=st.sampled_from(
        [
            [build.port()],
            [build.port("web", target="http")],
            [build.port("web", target="http"), build.port("admin", number=81, target=9090)],
            [build.port("web", target="http"), build.port("admin", number=81, target="admin")],
            [],
        ]
    ),
    cluster_ip=st.sampled_from(["10.96.0.20", "None"]),
    ip_families=st.sampled_from([["IPv4"], ["IPv6", "IPv4"]]),
    publish_not_ready_addresses=st.booleans(),
    traffic_distribution=st.sampled_from([None, "PreferSameNode"]),
    labels=st.sampled_from([{}, {"team": "a"}]),
)


@st.composite
def pods(draw: st.DrawFn) -> core.Pod:
    number = draw(st.integers(0, 6))
    own = f"10.0.0.{number}"
    ips = draw(st.sampled_from([(), (own,), (own, f"2001:db8::{number}"), ("10.0.0.77",)]))
    return build.pod(
        f"web-{number}",
        *ips,
        ready=draw(st.sampled_from([True, False, None])),
        deleting=draw(st.sampled_from([False, False, True])),
        phase=draw(st.sampled_from(["Running", "Running", "Failed"])),
        node=draw(st.sampled_from(["node-1", "node-2", "gone"])),
        labels=draw(st.sampled_from([{"app": "web"}, {"app": "web"}, {"app": "other"}])),
        ports=draw(st.sampled_from([{}, {"http": 8080}, {"http": 8081, "admin": 9}])),
        hostname=draw(st.sampled_from(["", "h"])),
        subdomain=draw(st.sampled_from(["", "web"])),
        version=str(draw(st.integers(2, 9))),
    )


def naive(service: core.Service, given: list[core.Pod]) -> list[core.EndpointSubset]:
    """E27 as it is written: one subset for each pair of pod and port, and then all of them packed."""
    everyone, out = service.spec.publish_not_ready_addresses, []
    for pod in given:
        ip = members.endpoint_address(service, pod) if members.is_member(pod, include_terminating=everyone) else ""
        if not ip or (not service.spec.ports and service.spec.cluster_ip != "None"):
            continue
        address = core.EndpointAddress(
            ip=ip,
            hostname=members.hostname(service, pod),
            node_name=pod.spec.node_name,
            target_ref=members.reference(pod),
        )
        group = "addresses" if everyone or members.is_ready(pod) else "not_ready_addresses"
        ports: list[Any] = [
            [core.EndpointPort(name=one.name, port=number, protocol=one.protocol)]
            for one, number in members.resolved_ports(service, pod)
        ]
        given_ports = ports if service.spec.ports else [[]]
        out += [core.EndpointSubset(ports=port, **{group: [address]}) for port in given_ports]
    return repack(out)


@given(services, st.lists(pods(), max_size=12))
def test_e27_e28_a_roster_says_what_packing_everything_says(service: core.Service, given: list[core.Pod]) -> None:
    roster = Roster(service)
    now: dict[str, core.Pod] = {}
    for pod in given:
        if pod.metadata.labels == {"app": "web"}:
            roster.put(pod)
            now[members.key(pod)] = pod
        else:
            roster.remove(members.key(pod))
            now.pop(members.key(pod), None)
        assert roster.subsets() == (naive(service, list(now.values())), False)


changes = st.one_of(
    st.tuples(st.just("pods"), st.lists(pods(), min_size=1, max_size=4)),
    st.tuples(st.just("gone"), st.integers(0, 6)),
    st.tuples(st.just("service"), services),
    st.tuples(st.just("edit"), st.integers(0, 99)),
    st.tuples(st.just("cut"), st.integers(0, 99)),
    st.tuples(st.just("copy"), st.integers(0, 99)),
)


class _World:
    """Both ways of deciding, side by side, over the same pods and slices."""

    def __init__(self, limit: int) -> None:
        self.index, self.pods, self.service = PodIndex(), dict[str, core.Pod](), build.service()
        self.limit = limit
        self.slices: dict[str, discovery.EndpointSlice] = {}
        self.made = 0
        self.placements = Books(
            self.index,
            lambda service: Placement(service, limit),
            lambda kept, pod: kept.put(pod, NODES.get(pod.spec.node_name)),
        )
        self.rosters = Books(self.index, Roster, Roster.put)
        self.endpoints: core.Endpoints | None = None

    def change(self, what: str, value: Any) -> None:
        if what == "service":
            self.service = value
        elif what == "pods":
            for pod in value:
                self.pods[members.key(pod)] = pod
                self.index.put(pod)
                self._tell(members.key(pod))
        elif what == "gone":
            self.pods.pop(f"default/web-{value}", None)
            self.index.remove(f"default/web-{value}")
            self._tell(f"default/web-{value}")
        elif self.slices:
            self._meddle(what, self.slices[sorted(self.slices)[value % len(self.slices)]])

    def _tell(self, pod: str) -> None:
        self.placements.changed("default/web", pod)
        self.rosters.changed("default/web", pod)

    def _meddle(self, what: str, one: discovery.EndpointSlice) -> None:
        """A person edits a slice, deletes it, or makes a second one with the same endpoints."""
        edited = codec.copy(one)
        if what == "edit":
            edited.endpoints = edited.endpoints[:-1]
            self._store(edited)
        elif what == "cut":
            del self.slices[one.metadata.name]
        else:
            self.made += 1
            edited.metadata.name = f"copy-{self.made}"
            self._store(edited)

    def _store(self, one: discovery.EndpointSlice) -> None:
        self.made += 1
        if not one.metadata.name:
            one.metadata.name = f"{one.metadata.generate_name}{self.made}"
        one.metadata.resource_version = str(self.made)
        self.slices[one.metadata.name] = codec.copy(one)

    def sync(self, *, fails_after: int) -> int:
        """Decides both ways, compares, and writes the first few things of it; how many there were."""
        existing = [self.slices[name] for name in sorted(self.slices)]
        kept = self.placements.open(self.service).endpoints.plan(existing)
        mine = [one for one in self.pods.values() if one.metadata.labels == {"app": "web"}]
        whole = placement.reconcile(self.service, mine, NODES.get, existing, max_endpoints=self.limit)
        assert (kept.create, kept.update, kept.delete) == (whole.create, whole.update, whole.delete)
        assert kept.missing_nodes == whole.missing_nodes
        steps: list[Any] = [*kept.create, *kept.update, *[one.metadata.name for one in kept.delete]]
        for step in steps[:fails_after]:
            if isinstance(step, str):
                del self.slices[step]
            else:
                self._store(step)
        known = self.rosters.open(self.service).endpoints
        wanted = endpoints.decide_from(known, self.endpoints)
        assert wanted == endpoints.decide(self.service, mine, self.endpoints)
        if wanted is not None and fails_after > 1:
            self.endpoints = codec.copy(wanted)
        return len(steps)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.lists(changes, min_size=1, max_size=4), st.integers(0, 5)), max_size=6), st.integers(1, 4))
def test_one_change_after_another_leads_where_all_at_once_leads(steps: list[Any], limit: int) -> None:
    """Plans are equal, write for write, whatever happened before: edits by people and writes that failed included."""
    world = _World(limit)
    for several, fails_after in steps:
        for what, value in several:
            world.change(what, value)
        world.sync(fails_after=fails_after)
        if fails_after > 2:  # comes to rest, so that the next change meets slices that nobody suspects
            for _ in range(3):
                world.sync(fails_after=99)
    for _ in range(3):
        rest = world.sync(fails_after=99)
    assert rest == 0
