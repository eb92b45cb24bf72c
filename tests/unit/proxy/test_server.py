"""When the proxy programs: not before both lists are there, the first change at once, those right after it together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.unit.proxy.build import NODE, endpoint, port, service, slice_of

from skerry.api.types import core, meta
from skerry.clock import FakeClock
from skerry.proxy.backend import Connections
from skerry.proxy.server import CHECK, RETRY_FIRST, WINDOW, Proxy
from skerry.proxy.table import Change, Frontend, Node, ServiceTable


class FakeInformer:
    """An informer whose events the test makes up."""

    def __init__(self) -> None:
        self.resource_version = ""
        self._items: dict[str, Any] = {}
        self._subscribers: list[Callable[[Any, Any], None]] = []
        self._synced = asyncio.Event()

    def subscribe(self, call: Callable[[Any, Any], None]) -> None:
        self._subscribers.append(call)

    async def synced(self) -> None:
        await self._synced.wait()

    def sync(self, revision: str = "1") -> None:
        self.resource_version = revision
        self._synced.set()

    def put(self, item: Any, revision: int = 0) -> None:
        item.metadata.resource_version = str(revision)
        old = self._items.get(item.metadata.name)
        self._items[item.metadata.name] = item
        for call in self._subscribers:
            call(old, item)

    def delete(self, name: str, revision: int) -> None:
        last = self._items.pop(name)
        last.metadata.resource_version = str(revision)
        for call in self._subscribers:
            call(last, None)


class FakeInformers:
    def __init__(self) -> None:
        self.services, self.slices, self.nodes = FakeInformer(), FakeInformer(), FakeInformer()

    def of(self, kind: Any, *, field_selector: str = "") -> FakeInformer:
        return {core.Service: self.services, core.Node: self.nodes}.get(kind, self.slices)


class Recording:
    """A back end that writes down what it is told."""

    mode = "nftables"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.refuse = self.refuse_changes = False
        self.free = asyncio.Event()
        self.free.set()
        self.damaged = False
        self.connected: list[Connections] = []

    async def take_over(self, table: ServiceTable) -> None:
        await self.free.wait()
        self._note("start", len(table.frontends))

    def program(self, table: ServiceTable, change: Change) -> None:
        assert change
        if self.refuse_changes:
            raise OSError(2, "damaged")
        self._note("program", len(change.frontends))

    async def intact(self, table: ServiceTable) -> bool:
        self._note("check", len(table.frontends))
        self.damaged, found = False, self.damaged
        return not found

    def connections(self) -> list[Connections]:
        return self.connected

    def misses(self) -> int:
        return 0

    def unswept(self) -> dict[str, int]:
        return {"IPv4": 3}

    def _note(self, what: str, size: int) -> None:
        if self.refuse:
            raise OSError(5, "no")
        self.calls.append((what, size))

    def close(self) -> None:
        self.calls.append(("close", 0))


class Rig:
    def __init__(self, flows: Any = None, node: Node = NODE) -> None:
        self.clock, self.informers, self.kernel = FakeClock(), FakeInformers(), Recording()
        self.repairs = 0
        self.applied: list[tuple[int, int]] = []  # EndpointSlices, Services
        made: Any = self.informers
        self.proxy = Proxy(
            made,
            node,
            self.kernel,
            self.clock,
            conntrack=flows,
            on_applied=lambda *both: self.applied.append(both),
            on_repair=self.repaired,
        )

    def repaired(self) -> None:
        self.repairs += 1

    async def start(self) -> None:
        self.informers.services.sync()
        self.informers.slices.sync("7")
        await self.proxy.start()
        self.kernel.calls.clear()


async def test_p2_nothing_is_programmed_before_both_lists_are_there() -> None:
    rig = Rig()
    starting = asyncio.create_task(rig.proxy.start())
    await rig.clock.settle()
    rig.informers.services.put(service())
    rig.informers.services.sync()
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1")), 9)
    await rig.clock.settle()
    assert rig.kernel.calls == []
    assert rig.proxy.applied_revision == 0
    rig.informers.slices.sync("11")
    await starting
    assert rig.kernel.calls == [("start", 1)]
    assert rig.proxy.applied_revision == 11


async def test_the_first_change_at_once_and_the_next_ones_together() -> None:
    rig = Rig()
    await rig.start()
    for number in range(1, 5):
        rig.informers.services.put(service(f"s{number}", f"10.96.0.{number}"))
    await rig.clock.advance(WINDOW)
    rig.kernel.calls.clear()

    def change(number: int) -> None:
        made = slice_of(endpoint(f"10.244.1.{number}"), of=f"s{number}", name=f"s{number}-1")
        rig.informers.slices.put(made, 10 + number)

    change(1)
    await rig.clock.settle()
    assert rig.kernel.calls == [("program", 1)]
    for number in range(2, 5):
        change(number)
        await rig.clock.settle()
    assert rig.kernel.calls == [("program", 1)]
    await rig.clock.advance(WINDOW)
    assert rig.kernel.calls == [("program", 1), ("program", 3)]
    await rig.clock.advance(WINDOW)
    rig.informers.slices.delete("s1-1", 20)
    await rig.clock.settle()
    assert len(rig.kernel.calls) == 3


async def test_a_new_service_is_in_the_kernel_before_anybody_else_hears_of_it() -> None:
    rig = Rig()
    await rig.start()
    rig.informers.services.put(service("a", "10.96.0.1"))
    assert rig.kernel.calls == [("program", 1)]
    rig.informers.services.put(service("b", "10.96.0.2"))
    assert rig.kernel.calls == [("program", 1), ("program", 1)]


async def test_revisions_are_acknowledged_when_they_are_in_the_kernel() -> None:
    rig = Rig()
    await rig.start()
    assert rig.applied == [(7, 1)]
    rig.informers.services.put(service(), 8)
    await rig.clock.settle()
    assert rig.proxy.applied_revision == 7  # that of the EndpointSlices
    assert rig.applied == [(7, 1), (7, 8)]
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1")), 9)
    rig.informers.slices.put(slice_of(endpoint("10.244.1.2")), 10)
    assert rig.proxy.applied_revision == 7
    await rig.clock.advance(WINDOW)
    assert rig.applied[2:] == [(10, 8)]
    rig.informers.slices.delete("web-1", 12)
    await rig.clock.advance(WINDOW)
    assert rig.applied[3:] == [(12, 8)]


async def test_a_change_that_changes_nothing_is_acknowledged_too() -> None:
    rig = Rig()
    await rig.start()
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1"), of="nobody"), 9)
    await rig.clock.settle()
    assert rig.kernel.calls == []
    assert rig.applied == [(7, 1), (9, 1)]


async def test_a_kernel_that_refuses_is_asked_again_for_everything() -> None:
    rig = Rig()
    await rig.start()
    rig.kernel.refuse = True
    rig.informers.services.put(service(), 8)
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1")), 9)
    await rig.clock.settle()
    assert rig.applied == [(7, 1)]
    rig.informers.services.put(service("b", "10.96.0.2"), 10)
    await rig.clock.advance(RETRY_FIRST)
    assert rig.proxy.statistics().failures == 2
    rig.kernel.refuse = False
    await rig.clock.advance(2 * RETRY_FIRST)
    assert rig.kernel.calls == [("start", 2)]
    assert rig.applied == [(7, 1), (9, 10)]
    rig.informers.services.put(service("c", "10.96.0.3"), 11)
    await rig.clock.advance(WINDOW)
    assert rig.kernel.calls[-1] == ("program", 1)


async def test_damage_is_looked_for_every_few_seconds_and_reported() -> None:
    rig = Rig()
    await rig.start()
    await rig.clock.advance(CHECK)
    assert rig.kernel.calls == [("check", 0)]
    assert rig.repairs == 0
    rig.kernel.damaged = True
    await rig.clock.advance(CHECK)
    assert rig.repairs == rig.proxy.statistics().repairs == 1
    rig.kernel.refuse = True
    await rig.clock.advance(CHECK)
    rig.kernel.refuse = False
    rig.kernel.calls.clear()
    await rig.clock.advance(RETRY_FIRST)
    assert rig.kernel.calls == [("start", 0)]


async def test_while_the_kernel_refuses_nothing_is_compared() -> None:
    rig = Rig()
    await rig.start()
    await rig.clock.advance(CHECK - WINDOW / 2)
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1"), of="web"), 9)
    rig.informers.services.put(service(), 8)
    rig.kernel.refuse = True
    rig.informers.slices.put(slice_of(endpoint("10.244.1.2"), of="web"), 10)
    await rig.clock.advance(WINDOW)
    assert ("check", 1) not in rig.kernel.calls


class Flows:
    """Conntrack that writes down what it is asked to look at."""

    def __init__(self) -> None:
        self.asked: list[set[Frontend] | None] = []
        self.refuse = False

    def heal(self, changed: set[Frontend], table: ServiceTable) -> int:
        return self._note(set(changed))

    def reconcile(self, table: ServiceTable, service_cidrs: Sequence[str]) -> int:
        return self._note(None)

    def _note(self, what: set[Frontend] | None) -> int:
        if self.refuse:
            raise OSError(5, "no")
        self.asked.append(what)
        return 0


async def test_p33_flows_are_looked_at_after_a_change_and_once_more_at_the_next_check() -> None:
    flows: Any = Flows()
    rig = Rig(flows)
    await rig.start()
    await rig.clock.advance(CHECK)
    assert flows.asked == [None, None]  # a restarted proxy looks at everything
    flows.asked.clear()
    dns = Frontend("10.96.0.9", "UDP", 53)
    rig.informers.services.put(service("dns", "10.96.0.9", port(53, "dns", "UDP"), port(53, "dns-tcp")))
    assert dns in flows.asked[0]
    await rig.clock.advance(3 * CHECK)
    assert flows.asked[1:] == [{dns}]
    flows.refuse = True
    rig.informers.services.delete("dns", 9)
    await rig.clock.advance(CHECK)
    flows.refuse = False
    flows.asked.clear()
    await rig.clock.advance(2 * CHECK)
    assert flows.asked == [None]  # what could not be looked at is made up for


async def test_p9_the_zone_is_that_of_the_node_and_may_change() -> None:
    rig = Rig()
    await rig.start()
    rig.informers.services.put(service(), 2)
    hinted = [endpoint("10.244.2.1", zones=["east"]), endpoint("10.244.2.2", zones=["west"])]
    rig.informers.slices.put(slice_of(*hinted), 3)

    async def goes_to(name: str, zone: str) -> set[str]:
        labels = {"topology.kubernetes.io/zone": zone} if zone else {}
        rig.informers.nodes.put(core.Node(metadata=meta.ObjectMeta(name=name, labels=labels)))
        await rig.clock.advance(WINDOW)
        table = rig.proxy.brain.table
        return {one.address for one in table.backends(Frontend("10.96.0.9", "TCP", 80))}

    assert await goes_to("a", "west") == {"10.244.2.2"}
    calls = len(rig.kernel.calls)
    assert await goes_to("b", "east") == {"10.244.2.2"}  # another node
    assert await goes_to("a", "west") == {"10.244.2.2"}
    assert len(rig.kernel.calls) == calls
    assert await goes_to("a", "") == {"10.244.2.1", "10.244.2.2"}
    assert rig.kernel.calls[-1] == ("program", 1)


async def test_after_stop_nothing_happens() -> None:
    rig = Rig()
    await rig.start()
    rig.informers.services.put(service())
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1")), 9)
    rig.proxy.stop()
    rig.informers.services.put(service("b", "10.96.0.2"))
    await rig.clock.advance(1)
    assert rig.kernel.calls == [("program", 1), ("close", 0)]


async def test_what_comes_in_while_a_table_is_taken_over_waits_and_is_acknowledged_only_then() -> None:
    rig = Rig()
    await rig.start()
    rig.kernel.damaged = True
    rig.kernel.free.clear()
    await rig.clock.advance(CHECK)
    before = list(rig.applied)
    rig.informers.services.put(service(), 20)
    rig.informers.slices.put(slice_of(endpoint("10.244.1.1")), 21)
    await rig.clock.advance(WINDOW * 5)
    assert rig.proxy.healthy()  # the event loop is served
    assert rig.kernel.calls == [("check", 0)]
    assert rig.applied == before
    rig.kernel.free.set()
    await rig.clock.settle()
    assert rig.kernel.calls == [("check", 0), ("start", 0), ("program", 1)]  # with the table as it was at first
    assert rig.applied[-1] == (21, 20)
    assert rig.repairs == 1


async def test_a_change_that_the_kernel_refuses_makes_the_whole_table_be_taken_over_at_once() -> None:
    rig = Rig()
    await rig.start()
    rig.kernel.refuse_changes = True
    rig.informers.services.put(service(), 20)
    await rig.clock.settle()
    assert rig.kernel.calls == [("start", 1)]
    assert rig.applied[-1] == (7, 20)
    assert rig.repairs == 1


async def test_p38_each_family_has_its_own_numbers() -> None:
    rig = Rig(node=replace(NODE, service_cidrs=("10.96.0.0/12", "fd00:10:96::/112")))
    await rig.start()
    rig.informers.services.put(service(), 8)
    for number, address in enumerate(("10.244.1.1", "fd00:10:244::1", "fd00:10:244::2"), 10):
        found = slice_of(endpoint(address), name=f"web-{number}")
        found.address_type = "IPv6" if ":" in address else "IPv4"
        found.metadata.annotations = {"endpoints.kubernetes.io/last-change-trigger-time": "2999-01-01T00:00:00Z"}
        rig.informers.slices.put(found, number)
    await rig.clock.advance(WINDOW * 3)
    lines = rig.proxy.scrape().splitlines()
    for name, four, six in (
        ("sync_proxy_rules_service_changes_total", 1, 1),
        ("sync_proxy_rules_endpoint_changes_total", 1, 2),
        ("sync_proxy_rules_endpoint_changes_pending", 0, 0),
        ("sync_full_proxy_rules_duration_seconds_count", 1, 1),
        ("network_programming_duration_seconds_count", 1, 2),
    ):
        assert f'kubeproxy_{name}{{ip_family="IPv4"}} {four}' in lines, name
        assert f'kubeproxy_{name}{{ip_family="IPv6"}} {six}' in lines, name
