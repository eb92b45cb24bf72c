"""Whatever is late, lost, doubled, refused or meddled with: it ends right, and what is good is never taken away.

E46, L12 and all rules that `reference` knows. Every step is a thing that happens to a cluster; after a while of quiet
the controllers' objects are compared with the reference. At every single write of the controllers, pods that have been
good endpoints since the last quiet moment must still be there.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.unit.controllers.endpoints import build, reference
from tests.unit.controllers.endpoints.lossy import KINDS, Cluster

from skerry.api import codec
from skerry.api.types import core, discovery, meta
from skerry.controllers.endpoints import mirroring, slices

SERVICES = {
    "plain": {},
    "dual": {"ip_families": ["IPv4", "IPv6"]},
    "named": {"ports": [build.port("web", target="http"), build.port("admin", number=81, target=9090)]},
    "publish": {"publish_not_ready_addresses": True},
    "headless": {"cluster_ip": "None", "ports": []},
    "zonal": {"traffic_distribution": "PreferSameZone"},
    "narrow": {"selector": {"app": "web", "tier": "x"}},
    "labelled": {"labels": {"team": "a"}},
    "by hand": {"selector": {}},
    "elsewhere": {"type": "ExternalName"},
}
KEYS = ("default/web", "default/db")
NODES = ("node-1", "node-2")
numbers = st.integers(0, 7)
kinds = st.sampled_from(KINDS)


def cleared(one: Any) -> Any:
    one.metadata.uid = one.metadata.resource_version = ""
    return one


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.store = self.cluster.store
        self.cluster.checks.append(self.nothing_good_goes)
        self.safe: dict[str, set[str]] = {}  # Service -> pods' uids
        self.edited: set[str] = set()  # keys of Endpoints
        self.quiet_at = dict.fromkeys(KINDS, 0)
        self.put(core.Node(metadata=meta.ObjectMeta(name="node-1", labels={slices.ZONE_LABEL: "a"})))
        self.put(cleared(build.service()))

    def teardown(self) -> None:
        try:
            self.quiet()
        finally:
            self.cluster.close()

    def put(self, one: Any) -> None:
        self.store.put(one)
        self.cluster.spread()

    def get(self, kind: type[Any]) -> list[Any]:
        return [one for _, one in sorted(self.store.objects[kind].items())]

    # What happens to a cluster.

    @rule(
        number=numbers,
        ready=st.sampled_from([True, True, True, False, None]),
        app=st.sampled_from(["web", "web", "db"]),
        more=st.sampled_from([{}, {"tier": "x"}]),
        deleting=st.sampled_from([False, False, False, True]),
        phase=st.sampled_from(["Running", "Running", "Running", "Failed"]),
        ips=st.sampled_from([1, 1, 2, 0]),
    )
    def pod(self, number: int, app: str, more: dict[str, str], ips: int, **what: Any) -> None:
        port = (8080, 8080, 8081, 0)[number % 4]  # a pod's ports and node are its own for life
        what["node"] = NODES[number // 4]
        own = (f"10.0.0.{number}", f"2001:db8::{number}")[:ips]
        one = build.pod(f"p{number}", *own, labels={"app": app, **more}, ports={"http": port} if port else {}, **what)
        self.unsafe_pod(f"default/p{number}")
        self.put(cleared(one))

    @rule(number=numbers)
    def pod_goes(self, number: int) -> None:
        found = self.store.get(core.Pod, f"default/p{number}")
        if found is not None:
            self.unsafe_pod(f"default/p{number}")
            self.store.delete(found)
            self.cluster.spread()

    @rule(name=st.sampled_from(["web", "db"]), kind=st.sampled_from(sorted(SERVICES)))
    def service(self, name: str, kind: str) -> None:
        self.safe.pop(f"default/{name}", None)
        made = build.service(name, **SERVICES[kind])
        self.put(cleared(made))

    @rule(name=st.sampled_from(["web", "db"]))
    def service_goes(self, name: str) -> None:
        found = self.store.get(core.Service, f"default/{name}")
        if found is not None:
            self.safe.pop(f"default/{name}", None)
            self.store.delete(found)
            self.cluster.spread()

    @rule(name=st.sampled_from(NODES), zone=st.sampled_from(["", "a", "b"]))
    def node(self, name: str, zone: str) -> None:
        labels = {slices.ZONE_LABEL: zone} if zone else {}
        self.put(core.Node(metadata=meta.ObjectMeta(name=name, labels=labels)))

    @rule(name=st.sampled_from(KEYS), what=st.sampled_from(["delete", "empty", "write"]))
    def somebody_edits_endpoints(self, name: str, what: str) -> None:
        found = self.store.get(core.Endpoints, name)
        self.safe.pop(name, None)
        self.edited.add(name)
        if what == "write":
            subset = core.EndpointSubset(
                addresses=[core.EndpointAddress(ip="192.0.2.1")],
                not_ready_addresses=[core.EndpointAddress(ip="192.0.2.2")],
                ports=[core.EndpointPort(name="x", port=1, protocol="TCP")],
            )
            if self.store.get(core.Service, name) is not None:
                metadata = meta.ObjectMeta(name=name.removeprefix("default/"), namespace="default")
                self.put(core.Endpoints(metadata=metadata, subsets=[subset]))
        elif found is not None and what == "empty":
            edited = codec.copy(found)
            edited.subsets = []
            self.put(edited)
        elif found is not None:
            self.store.delete(found)
            self.cluster.spread()

    @rule(which=numbers, what=st.sampled_from(["delete", "empty", "copy", "steal"]))
    def somebody_edits_slices(self, which: int, what: str) -> None:
        found = self.get(discovery.EndpointSlice)
        if not found:
            return
        one = codec.copy(found[which % len(found)])
        self.safe.pop(f"default/{one.metadata.labels[slices.SERVICE_NAME]}", None)
        if what == "delete":
            self.store.delete(one)
            self.cluster.spread()
            return
        if what == "empty":
            one.endpoints = []
        elif what == "copy":
            one.metadata.name = ""
            cleared(one)
        else:
            one.metadata.labels[slices.SERVICE_NAME] = "db"
        self.put(one)

    # What happens to its controllers.

    @precondition(lambda self: any(self.cluster.caches.pending.values()))
    @rule(kind=kinds, at=numbers, twice=st.booleans(), count=st.integers(1, 5))
    def events(self, kind: type[Any], at: int, twice: bool, count: int) -> None:
        for _ in range(count):
            if self.cluster.caches.pending[kind]:
                self.cluster.caches.deliver(kind, at, twice=twice)
        self.cluster.work()

    @rule(kind=kinds)
    def watch_breaks(self, kind: type[Any]) -> None:
        self.cluster.caches.lose(kind)

    @rule(kind=kinds)
    def relist(self, kind: type[Any]) -> None:
        self.cluster.spread()
        self.cluster.caches.relist(kind)
        self.cluster.work()

    @rule(faults=st.lists(st.sampled_from(["slow", "lost", "refused", "unheard"]), min_size=1, max_size=3))
    def writes_fail(self, faults: list[str]) -> None:
        self.cluster.client.faults += faults

    @rule(seconds=st.sampled_from([0.005, 0.03, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.work(seconds)

    @rule(behind=st.integers(0, 6))
    def restart(self, behind: int) -> None:
        """The new controller's caches may be old, but not older than the last quiet moment."""
        since = min(len(self.store.log[kind]) - self.quiet_at[kind] for kind in KINDS)
        self.cluster.restart(min(behind, since))

    @rule()
    def quiet(self) -> None:
        self.cluster.calm()
        for key in sorted(self.edited):  # E3: an edit of Endpoints lasts until their Service comes up again
            found = self.store.get(core.Service, key)
            if found is not None:
                again = codec.copy(found)
                again.metadata.annotations["edited"] = str(self.store.revision)
                self.put(again)
        self.edited = set()
        self.cluster.calm()
        self.safe = {}
        for key in KEYS:
            self.compare(key, self.store.get(core.Service, key))
        self.quiet_at = {kind: len(self.store.log[kind]) for kind in KINDS}

    # What must hold.

    def managed(self, key: str, manager: str) -> list[discovery.EndpointSlice]:
        labels = {slices.SERVICE_NAME: key.removeprefix("default/"), slices.MANAGED_BY: manager}
        return [one for one in self.get(discovery.EndpointSlice) if labels.items() <= one.metadata.labels.items()]

    def compare(self, key: str, service: core.Service | None) -> None:
        found: core.Endpoints | None = self.store.get(core.Endpoints, key)
        mine, mirrors = self.managed(key, slices.CONTROLLER), self.managed(key, mirroring.CONTROLLER)
        if service is None:
            assert found is None
            assert not mirrors
            return
        if not reference.is_served(service):
            by_hand = found is not None and not service.spec.selector
            assert reference.seen_endpoints(mirrors) == (reference.mirrored(found) if found and by_hand else {})
            return
        pods = self.get(core.Pod)
        assert found is not None
        assert not mirrors
        assert reference.seen_addresses(found) == reference.addresses(service, pods)
        nodes = {one.metadata.name: one for one in self.get(core.Node)}
        assert reference.seen_endpoints(mine) == reference.endpoints(service, pods, nodes)
        assert {one.address_type for one in mine} == set(service.spec.ip_families), "always a slice (L29)"
        for one in mine:
            assert len(one.endpoints) <= 2
            assert slices.is_owned(one, service)
            assert slices.same_labels(one.metadata.labels, service.metadata.labels)
        both = {entry[2] for entry in reference.addresses(service, pods) if entry[0]}
        both &= {entry[4] for entry in reference.endpoints(service, pods, nodes) if entry[3][0]}
        self.safe[key] = both

    def unsafe_pod(self, key: str) -> None:
        found = self.store.get(core.Pod, key)
        for uids in self.safe.values():
            uids.discard(found.metadata.uid if found else "")

    def nothing_good_goes(self) -> None:
        """After every write of the controllers."""
        for key, uids in self.safe.items():
            if not uids:
                continue
            ready = {entry[2] for entry in reference.seen_addresses(self.store.get(core.Endpoints, key)) if entry[0]}
            sliced = reference.seen_endpoints(self.managed(key, slices.CONTROLLER))
            assert uids <= ready, "a good address was removed from Endpoints"
            assert uids <= {entry[4] for entry in sliced if entry[3][0]}, "a good endpoint was removed from slices"

    @invariant()
    def the_controller_lives(self) -> None:
        assert self.cluster.task is not None
        assert not self.cluster.task.done()


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, suppress_health_check=list(HealthCheck), deadline=None
)
TestStaleCaches = Machine.TestCase
